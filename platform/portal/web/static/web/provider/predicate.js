// The conditions of a codebook (`where`, `test`): the predicates of the query language, from text to tree.
//
//     parsePredicate("visit == 1 and (grade >= 3 or grade is missing)")
//
// A tree's nodes are { kind: "compare" | "among" | "missing" | "not" | "and" | "or", ... }; nothing is looked up in a
// codebook here.

import { asNumber } from "./decimal.js";
import { casefold, head, length, longer, normalForm, SPACE } from "./text.js";

const KEYWORDS = new Set(
  "where by epsilon and or not in is missing primary align unstratified".split(" "),
);
const LONGEST_TEXT = 64 * 1024;
const LONGEST_NAME = 256;
const MOST_TOKENS = 5000;
const MOST_DIGITS = 20;
const DEEPEST = 100;

const WORD = "[\\p{L}\\p{N}_]";
const BARE_WORD = `[\\p{L}\\p{Nl}\\p{No}_](?:${WORD}|-(?=${WORD}))*`;
const BARE = new RegExp(`^${BARE_WORD}$`, "u");
const BARE_AT = new RegExp(BARE_WORD, "uy");
const DIGIT_AT = /\p{N}/uy;
const NUMBER_AT = /[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?/y;
const GAP_AT = new RegExp(`(?:${SPACE}+|#[^\\r\\n]*)+`, "uy");
const LINE = /\r\n|\r|\n/g;
const TEXT_AT = /"[^"\r\n]*(?:""[^"\r\n]*)*"|'[^'\r\n]*(?:''[^'\r\n]*)*'/y;
const SIGN_AT = /==|!=|<=|>=|=|<|>|\(|\)|,|;/y;
const SIGNS = { "(": "LPAR", ")": "RPAR", ",": "COMMA", ";": "SEP" };
const CONTROL = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;
const UNPRINTABLE = /[\p{C}\p{Z}]/u;
const HINTS = {
  "“": 'use straight quotes: "',
  "”": 'use straight quotes: "',
  "„": 'use straight quotes: "',
  "‘": "use straight quotes: '",
  "’": "use straight quotes: '",
  "≤": "write <=",
  "≥": "write >=",
  "≠": "write !=",
  "!": "write != or not",
  "&": "write and",
  "|": "write or",
  "[": "write parentheses ( )",
  "{": "write parentheses ( )",
};
const SPELLED = {
  NAME: "a name",
  TEXT: "a name in quotes",
  NUMBER: "a number",
  OP: "a comparison",
  LPAR: "(",
  RPAR: ")",
  COMMA: ",",
  SEP: "the end of the line",
  $END: "the end",
};
const AFTER = ["SEP", "BY", "UNSTRATIFIED", "EPSILON", "PRIMARY"]; // what follows a condition in a question
const NAMES = ["NAME", "TEXT", "NUMBER"];

/** The text is no condition: code, message, and the place (from 1) if it has one. */
export class ConditionRejected extends Error {
  constructor(code, message, at = null) {
    super(at ? `line ${at[0]}, column ${at[1]}: ${message}` : message);
    this.code = code;
    this.plain = message;
    this.at = at;
  }
}

/** A name, level or number as written, without its quotes. */
export class Name {
  constructor(text, at = null) {
    if (text === "" || longer(text, LONGEST_NAME)) {
      throw new ConditionRejected("syntax", `a name or value has 1 to ${LONGEST_NAME} characters`, at);
    }
    if (CONTROL.test(text)) {
      throw new ConditionRejected("syntax", "a name or value holds no control characters", at);
    }
    this.text = text;
    this.at = at;
    this.number = asNumber(text);
  }

  get form() {
    return normalForm(this.text);
  }

  toString() {
    const { text } = this;
    if ((BARE.test(text) && !KEYWORDS.has(casefold(text))) || this.number !== null) return text;
    return `"${text.replaceAll('"', '""')}"`;
  }
}

/** Whether a text may serve as a name. */
export function isName(text) {
  try {
    new Name(text);
  } catch {
    return false;
  }
  return true;
}

/** The predicate in a text, as after `where`. Raises ConditionRejected. */
export function parsePredicate(text) {
  if (typeof text !== "string") throw new ConditionRejected("syntax", "a predicate is text");
  const found = tokens(text);
  if (!found.length) throw new ConditionRejected("empty_program", "the predicate is empty");
  return new Parser(found).predicate();
}

/** The predicate in a text that may leave out its subject: ">= 3", "in (a, b)", or a whole one. */
export function parseTest(text, column) {
  if (typeof text !== "string") throw new ConditionRejected("syntax", "a test is text");
  const [first, second] = tokens(text);
  const headless =
    first && (["OP", "IN", "IS"].includes(first.type) || (first.type === "NOT" && second?.type === "IN"));
  return parsePredicate(headless ? `${new Name(column)} ${text}` : text);
}

// -- from text to tokens ---------------------------------------------------------------------------------------

function tokens(text) {
  if (text.length > LONGEST_TEXT || new TextEncoder().encode(text).length > LONGEST_TEXT) {
    throw new ConditionRejected("too_long", `a program has at most ${LONGEST_TEXT / 1024} KiB of text`);
  }
  const found = [];
  for (const token of scan(text)) {
    if (token.type === "SEP" && (!found.length || found.at(-1).type === "SEP")) continue;
    found.push(token);
    if (found.length > MOST_TOKENS) {
      throw new ConditionRejected("too_long", `a program has at most ${MOST_TOKENS} words and signs`, token.at);
    }
  }
  if (found.at(-1)?.type === "SEP") found.pop();
  return found;
}

function* scan(text) {
  let [position, line, lineStart] = [0, 1, 0];
  const opened = [];
  const match = (pattern, at) => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  while (position < text.length) {
    const at = [line, length(text.slice(lineStart, position)) + 1];
    let found;
    if ((found = match(GAP_AT, position))) {
      const ends = [...found.matchAll(LINE)];
      if (ends.length) {
        line += ends.length;
        lineStart = position + ends.at(-1).index + ends.at(-1)[0].length;
        if (!opened.length) yield { type: "SEP", text: "\n", at };
      }
    } else if ((found = match(BARE_AT, position))) {
      const word = casefold(found);
      yield { type: KEYWORDS.has(word) ? word.toUpperCase() : "NAME", text: found, at };
    } else if ((found = match(NUMBER_AT, position))) {
      const end = position + found.length;
      if (match(BARE_AT, end) || match(DIGIT_AT, end)) {
        const message = "a number ends where a word begins: put names with digits first in quotes";
        throw new ConditionRejected("syntax", message, at);
      }
      if (asNumber(found) === null) {
        const message = `a number has at most ${MOST_DIGITS} digits on either side of the point`;
        throw new ConditionRejected("syntax", message, at);
      }
      yield { type: "NUMBER", text: found, at };
    } else if ((found = match(TEXT_AT, position))) {
      const quote = found[0];
      yield { type: "TEXT", text: found.slice(1, -1).replaceAll(quote + quote, quote), at };
    } else if ((found = match(SIGN_AT, position))) {
      balance(found, opened, at);
      yield { type: SIGNS[found] ?? "OP", text: found === "=" ? "==" : found, at };
    } else {
      throw unreadable(String.fromCodePoint(text.codePointAt(position)), at);
    }
    position += found.length;
  }
  if (opened.length) throw new ConditionRejected("syntax", "this parenthesis is never closed", opened.at(-1));
}

function balance(sign, opened, at) {
  if (sign === "(") {
    opened.push(at);
    if (opened.length > DEEPEST) {
      throw new ConditionRejected("too_deep", `parentheses are nested at most ${DEEPEST} deep`, at);
    }
  } else if (sign === ")") {
    if (!opened.length) throw new ConditionRejected("syntax", "this parenthesis was never opened", at);
    opened.pop();
  } else if (sign === ";" && opened.length) {
    const message = "a statement ends inside parentheses: a ) is missing before this ;";
    throw new ConditionRejected("syntax", message, at);
  }
}

function unreadable(char, at) {
  if (char === '"' || char === "'") {
    return new ConditionRejected("syntax", `this text has no closing ${char} on its line`, at);
  }
  const hint = HINTS[char] ?? "put names with special characters in quotes";
  const code = char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  const shown = UNPRINTABLE.test(char) ? `U+${code}` : char;
  return new ConditionRejected("syntax", `unexpected character ${shown}: ${hint}`, at);
}

// -- from tokens to a tree -------------------------------------------------------------------------------------

class Parser {
  constructor(found) {
    this.tokens = found;
    this.at = 0;
    this.open = 0;
  }

  get type() {
    return this.tokens[this.at]?.type ?? "$END";
  }

  /** The next token, if it is one of these; else nothing else could follow here, which is said. */
  take(...types) {
    if (!types.includes(this.type)) throw this.unexpected(types);
    return this.tokens[this.at++];
  }

  unexpected(accepts) {
    const token = this.tokens[this.at];
    const expected = accepts.map((type) => SPELLED[type] ?? type.toLowerCase()).sort();
    const found = token
      ? `${token.type === "SEP" ? "the end of the line" : head(token.text, 40)} is unexpected here`
      : "the text ends here";
    const at = (token ?? this.tokens.at(-1)).at;
    return new ConditionRejected("syntax", `${found}: expected ${expected.join(" or ")}${hintOf(this.type)}`, at);
  }

  predicate() {
    const tree = this.either();
    this.ended();
    return tree;
  }

  /** After a whole comparison: a word that joins, or the end. */
  ended() {
    const end = this.open ? "RPAR" : "$END";
    if (this.type === end) return;
    throw this.unexpected(!this.open && AFTER.includes(this.type) ? [] : ["AND", "OR", end]);
  }

  either() {
    return this.joined("OR", "or", () => this.both());
  }

  both() {
    return this.joined("AND", "and", () => this.negation());
  }

  joined(word, kind, part) {
    const parts = [part()];
    while (this.type === word) {
      this.at += 1;
      parts.push(part());
    }
    return parts.length === 1 ? parts[0] : this.node({ kind, parts }, parts);
  }

  negation() {
    let nots = 0;
    while (this.type === "NOT") {
      this.at += 1;
      nots += 1;
    }
    let tree = this.operand();
    while (nots--) tree = this.node({ kind: "not", part: tree }, [tree]);
    return tree;
  }

  operand() {
    const token = this.take("LPAR", ...NAMES, "NOT");
    if (token.type !== "LPAR") return this.comparison(new Name(token.text, token.at));
    this.open += 1;
    const tree = this.either();
    this.ended();
    this.at += 1;
    this.open -= 1;
    return tree;
  }

  comparison(name) {
    const { type, text } = this.take("OP", "IN", "NOT", "IS");
    if (type === "OP") return { kind: "compare", name, operator: text, value: this.name(), depth: 1 };
    if (type === "IS") {
      const negated = this.take("MISSING", "NOT").type === "NOT";
      if (negated) this.take("MISSING");
      return { kind: "missing", name, negated, depth: 1 };
    }
    if (type === "NOT") this.take("IN");
    return { kind: "among", name, values: this.names(), negated: type === "NOT", depth: 1 };
  }

  names() {
    this.take("LPAR");
    const values = [this.name()];
    while (this.take("COMMA", "RPAR").type === "COMMA") values.push(this.name());
    return values;
  }

  name() {
    const { text, at } = this.take(...NAMES);
    return new Name(text, at);
  }

  node(tree, parts) {
    tree.depth = 1 + Math.max(...parts.map((part) => part.depth));
    if (tree.depth > DEEPEST) {
      const at = (this.tokens[this.at] ?? this.tokens.at(-1)).at;
      throw new ConditionRejected("too_deep", `a condition is nested at most ${DEEPEST} deep; split it`, at);
    }
    return tree;
  }
}

function hintOf(type) {
  if (type === "SEP") return "; a statement ends with its line, except inside parentheses";
  if (["WHERE", "BY", "UNSTRATIFIED", "EPSILON", "PRIMARY"].includes(type)) {
    return (
      "; the order is where, by, unstratified, epsilon, primary, each once;" +
      " a name that is also a keyword needs quotes"
    );
  }
  if (["MISSING", "IN", "IS", "AND", "OR", "NOT", "ALIGN"].includes(type)) {
    return "; a name that is also a keyword needs quotes, a missing value is found with: is missing";
  }
  return type === "NAME" || type === "NUMBER" ? "; a name of several words needs quotes" : "";
}
