// Text cut into records: commas, semicolons or tabs, whichever the header line is cut by. RFC 4180.
//
// Cut exactly as Python's csv module does in its strict form, so that both sides see the same rows or the same fault.
// A file with semicolons was mostly written where a comma is the decimal point: it is taken at its word only where its
// numbers allow no other reading; else a field's "decimalChar" decides.

import { longer, SPACE } from "./text.js";

export const MAX_CELL = 131_072; // characters
const COMMA = new RegExp(`^${SPACE}*[+-]?[0-9]*,([0-9]+)${SPACE}*$`);
const POINT = new RegExp(`^${SPACE}*[+-]?[0-9]*\\.[0-9]+(?:[eE][+-]?[0-9]+)?${SPACE}*$`);
const DECLARED = /^sep=([,;\t])(?:\r\n|\n|\r)/i; // Excel writes and obeys such a first line
const [LF, CR, QUOTE] = [10, 13, 34];

/** What separates the cells of the header line: the most frequent of comma, semicolon and tab. */
export function delimiterOf(text) {
  const declared = DECLARED.exec(text.slice(0, 8));
  if (declared) return declared[1];
  const header = /^[\r\n]*([^\r\n]*)/.exec(text)[1].replace(/"[^"]*"/g, "");
  let [best, most] = [",", -1];
  for (const sign of [",", ";", "\t"]) {
    const count = header.split(sign).length;
    if (count > most) [best, most] = [sign, count];
  }
  return best;
}

/** Reads record after record; `line` is where the last one began, `at` how far it came in the text. */
export class Records {
  constructor(text, delimiter, file, report) {
    const declared = DECLARED.exec(text.slice(0, 8));
    Object.assign(this, { text, file, report, delimiter: delimiter.charCodeAt(0), line: 1 });
    this.at = declared ? declared[0].length : 0;
    this.next = declared ? 2 : 1; // the line that comes next
  }

  /** The cells of the next record; null after the last, or after a quoting error, which is reported where it begins. */
  read() {
    const { text } = this;
    while (this.at < text.length && this.isEnd(text.charCodeAt(this.at))) this.endLine();
    if (this.at >= text.length) return null;
    this.line = this.next;
    const cells = [];
    for (;;) {
      const cell = text.charCodeAt(this.at) === QUOTE ? this.quoted() : this.plain();
      if (cell === null) {
        this.at = text.length;
        return null;
      }
      cells.push(cell);
      if (text.charCodeAt(this.at) !== this.delimiter) break;
      this.at += 1;
    }
    if (this.at < text.length) this.endLine();
    return cells;
  }

  isEnd(code) {
    return code === LF || code === CR;
  }

  endLine() {
    const pair = this.text.charCodeAt(this.at) === CR && this.text.charCodeAt(this.at + 1) === LF;
    this.at += pair ? 2 : 1;
    this.next += 1;
  }

  plain() {
    const { text, delimiter } = this;
    const begin = this.at;
    let end = begin;
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (code === delimiter || code === LF || code === CR) break;
    }
    this.at = end;
    const cell = text.slice(begin, end);
    return longer(cell, MAX_CELL) ? this.tooLong() : cell;
  }

  quoted() {
    const { text } = this;
    const begin = this.at;
    let cell = "";
    for (;;) {
      const end = text.indexOf('"', this.at + 1);
      cell += text.slice(this.at + 1, end < 0 ? text.length : end);
      if (longer(cell, MAX_CELL)) return this.tooLong();
      if (end < 0) return this.fail("unclosed_quote", "a quote is opened and never closed", "close the quote");
      this.at = end + 1;
      if (text.charCodeAt(this.at) !== QUOTE) break;
      cell += '"';
    }
    const code = text.charCodeAt(this.at);
    if (this.at < text.length && code !== this.delimiter && !this.isEnd(code)) {
      return this.fail("quoting", "text follows a closing quote", "double the quotes inside a quoted cell");
    }
    this.next += text.slice(begin, this.at).match(/\r\n|\r|\n/g)?.length ?? 0;
    return cell;
  }

  tooLong() {
    return this.fail(
      "cell_too_long",
      `a cell has more than ${MAX_CELL} characters`,
      "look for a quote that is never closed, or leave that column out",
    );
  }

  fail(rule, message, remedy) {
    this.report.error(rule, message, remedy, { file: this.file, line: this.line });
    return null;
  }
}

/** "," for a file with semicolons whose numbers can only have decimal commas, else "."; the columns' distinct texts. */
export function decimalOf(delimiter, columns) {
  if (delimiter !== ";") return ".";
  let certain = false;
  for (const { distinct } of columns) {
    for (const text of distinct) {
      if (POINT.test(text)) return ".";
      const behind = COMMA.exec(text);
      // 1,234 alone may be a thousand and more: some number must have another length behind its comma.
      certain ||= behind !== null && behind[1].length !== 3;
    }
  }
  return certain ? "," : ".";
}
