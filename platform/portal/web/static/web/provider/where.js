// A codebook's `where` and `test`, decided on the raw texts of one file.
//
// Same rules as a question: a comparison with a missing value is false. A value that spells a number is compared as a
// number; any other is compared as text in normal form. Each distinct text is looked at once.

import { compareDecimals, equal } from "./decimal.js";
import { findColumn } from "./study.js";
import { compare, normalForm } from "./text.js";
import { readNumber, Unreadable } from "./values.js";

const HOLDS = {
  "==": (order) => order === 0,
  "!=": (order) => order !== 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};

class Undecidable extends Error {}

/**
 * Which rows satisfy a predicate, as a Uint8Array of 0 and 1; null if it cannot be decided, which is then reported.
 * `meaning(header, text)` is what a text says, null if nothing; `setting` is what the predicate is called in a message.
 */
export function rowsWhere(predicate, joined, meaning, report, setting) {
  if (predicate.kind === "not") {
    const part = rowsWhere(predicate.part, joined, meaning, report, setting);
    return part && part.map((truth) => 1 - truth);
  }
  if (predicate.kind === "and" || predicate.kind === "or") {
    const parts = predicate.parts.map((part) => rowsWhere(part, joined, meaning, report, setting));
    if (parts.includes(null)) return null;
    const both = predicate.kind === "and";
    return parts.reduce((all, part) => all.map((truth, row) => (both ? truth & part[row] : truth | part[row])));
  }
  return leafRows(predicate, joined, meaning, report, setting);
}

function leafRows(leaf, joined, meaning, report, setting) {
  const { table } = joined;
  const header = findColumn(leaf.name.text, table.header);
  if (header === null) {
    report.error(
      "where_column_missing",
      `${setting} names a column that this file does not have`,
      "correct the name; where and reduce read raw columns of the field's own file",
      { file: table.name, line: 1, column: leaf.name.text },
    );
    return null;
  }
  const { distinct, index } = joined.texts(header);
  const undecided = new Set();
  const truth = distinct.map((text, u) => {
    try {
      return holds(leaf, meaning(header, text)) ? 1 : 0;
    } catch (wrong) {
      if (!(wrong instanceof Undecidable)) throw wrong;
      undecided.add(u);
      return 0;
    }
  });
  if (undecided.size) {
    report.lines(
      "where_not_a_number",
      `${setting} compares with a number, and the text is none`,
      'correct it, or list it in the "missingValues" of a field that reads this column',
      table.lines.filter((_, row) => undecided.has(index[row])),
      { file: table.name, column: header },
    );
    return null;
  }
  return Uint8Array.from(index, (u) => truth[u]);
}

/** Whether a comparison is true of one text, null being missing. */
function holds(leaf, text) {
  if (leaf.kind === "missing") return (text === null) !== leaf.negated;
  if (text === null) return false;
  if (leaf.kind === "among") return leaf.values.some((value) => isEqual(text, value)) !== leaf.negated;
  if (leaf.operator === "==" || leaf.operator === "!=") return isEqual(text, leaf.value) === (leaf.operator === "==");
  if (leaf.value.number === null) return HOLDS[leaf.operator](compare(text, leaf.value.text));
  const number = readNumber(text);
  if (number instanceof Unreadable) throw new Undecidable();
  return HOLDS[leaf.operator](compareDecimals(number, leaf.value.number));
}

function isEqual(text, value) {
  if (text === value.text) return true;
  const number = readNumber(text);
  if (value.number !== null) return !(number instanceof Unreadable) && equal(number, value.number);
  // "-1" and "1" have one normal form: a number is never equal to a text that is none.
  return number instanceof Unreadable && normalForm(text) === value.form;
}
