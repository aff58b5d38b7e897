// Raw texts to one code per patient and field, as the codebook says, or a report of why not.
//
// The order is fixed: text, missingValues, recodes, where, reduce, derive, cut or rounding, range. Every distinct text is
// interpreted once and exactly; every complaint names file, line and column, the rule and a remedy, never the text.

import { compareDecimals, fraction, fractions, isFraction, isWhole, keyOf, whole } from "./decimal.js";
import { ranged } from "./ranging.js";
import { join } from "./study.js";
import { compare } from "./text.js";
import { A_DATE, NOT_AN_INTEGER, readDays, readNumber, Unreadable, withPoint } from "./values.js";
import { rowsWhere } from "./where.js";

const WHOLE = /^(-?(?:0|[1-9][0-9]*))\.0+$/;
const ISO = /^[^-]{4}-[^-]{2}-[^-]{2}$/u;
const DIGITS = /^[\p{Nd}-]*$/u;
export const NO_ROW = -1;
const UNKNOWN_LEVEL = new Unreadable(
  "unknown_level",
  "the text is no level of this field",
  'correct it, or add it to "categories", "recodes" or "missingValues"',
);
const UNKNOWN_MISSING = new Unreadable(
  "unknown_level_missing",
  "the text is no level of this field and counts as missing",
  'check that it is none; list it in "missingValues" to silence this',
);

/**
 * Codes of every field that could be read: { patients, columns: {name: {codes, present, exact}}, traces: Map }.
 *
 * codes    Float64Array, 0 where missing; present Uint8Array; exact [decimal or fraction or null] where another field
 *          is derived from this one, else null
 * Fit to be shared only if the report has no error. A trace is what became of a field's rows.
 */
export function encode(schema, tables, report, progress = () => {}) {
  const study = join(schema, tables, report);
  const columns = Object.create(null);
  const traces = new Map();
  const needed = new Set(schema.fields.flatMap((item) => item.derive?.fields ?? []));
  for (const item of schema.fields) {
    const trace = { joined: null, kept: [], rows: null, chosen: null, passing: null, values: null, present: null, below: 0, above: 0 };
    traces.set(item.name, trace);
    const keep = needed.has(item.name) && item.kind === "number";
    let column = null;
    if (item.derive) column = derived(item, schema, columns, report, keep, trace);
    else if (study.place.has(item.name)) {
      column = new Reading(schema, item, study.place.get(item.name), study, report, keep, trace).column();
    }
    if (column) columns[item.name] = column;
    progress(traces.size / schema.fields.length);
  }
  return { patients: study.patients, columns, traces };
}

/** The position of the level that a text writes; 2.0, as some programs write whole numbers, is level 2. */
export function levelOf(item, text) {
  for (const written of [text, text.replace(WHOLE, "$1")]) {
    const position = item.levels.findIndex((level) => level.value === written);
    if (position >= 0) return whole(position);
  }
  return UNKNOWN_LEVEL;
}

/** One field being read from its file. */
class Reading {
  constructor(schema, item, joined, study, report, keep, trace) {
    Object.assign(this, { schema, item, joined, study, report, keep, trace });
    this.decimal = item.decimalChar ?? joined.table.decimal;
    this.missing = new Set(item.missingValues);
  }

  get file() {
    return this.joined.table.name;
  }

  /** The field's codes, or null where the report says why there are none. */
  column() {
    this.trace.joined = this.joined;
    const rows = this.alive();
    if (rows === null) return null;
    this.trace.rows = rows;
    const how = this.item.reduce?.how ?? null;
    return ["any", "all", "count"].includes(how) ? this.made(rows, how) : this.chosen(rows, how);
  }

  /** The rows that take part: of a known patient, and not left out by a `where`. */
  alive() {
    const { item, joined } = this;
    const { patient, several } = joined;
    let rows = [];
    for (let row = 0; row < patient.length; row++) if (patient[row] >= 0) rows.push(row);
    if (!item.reduce && several.length) {
      this.saySeveral(
        several,
        "several rows of one patient, and the field does not say which counts",
        'remove duplicate rows, or add "reduce": {"how": "only"} with a "where" that leaves one, or ' +
          '"first" with "orderBy", "min", "max", "any", "all" or "count"',
      );
      this.everyValue(rows);
      return null;
    }
    for (const [setting, predicate] of [["where", item.where], ["reduce.where", item.reduce?.where]]) {
      if (!predicate) continue;
      const truth = this.where(predicate, (header, text) => this.rawMeaning(header, text), setting);
      const before = rows;
      rows = truth === null || rows === null ? null : rows.filter((row) => truth[row]);
      if (before !== null && rows !== null) this.trace.kept.push([setting, before.length, rows.length]);
    }
    return rows;
  }

  saySeveral(rows, message, remedy) {
    const { patient, table } = this.joined;
    const patients = new Set(rows.map((row) => patient[row])).size;
    const counted = `${message} (${rows.length} rows too many, of ${patients} patients; the first is named)`;
    const place = { file: this.file, line: table.lines[rows[0]], column: this.item.source };
    this.report.error("several_rows", counted, remedy, place);
  }

  where(predicate, meaning, setting) {
    return rowsWhere(predicate, this.joined, meaning, this.report, `${setting} of ${this.item.name}`);
  }

  /** By column of the file, the texts that mean no value to any field that reads it. */
  get missingIn() {
    if (this.tokens) return this.tokens;
    const { item, joined } = this;
    this.tokens = new Map(joined.table.header.map((header) => [header, new Set(["", ...item.missingValues])]));
    for (const other of this.schema.fields) {
      if (!this.tokens.has(other.source) || this.study.place.get(other.name) !== joined) continue;
      for (const text of other.missingValues) this.tokens.get(other.source).add(text);
    }
    return this.tokens;
  }

  /** What a `where` reads: the raw text, or nothing. */
  rawMeaning(header, text) {
    return this.missingIn.get(header).has(text) ? null : withPoint(text, this.decimal);
  }

  /** What a `test` reads: of the field's own column the recoded text, of any other the raw one. */
  testedMeaning(header, text) {
    if (header !== this.item.source || !this.item.recodes.has(text)) return this.rawMeaning(header, text);
    return this.meaning(text);
  }

  // -- the value of each distinct text -------------------------------------------------------------------------

  /** A text after missingValues and recodes; null is missing. */
  meaning(text) {
    if (this.missing.has(text)) return null;
    return this.item.recodes.get(text) ?? text;
  }

  /** A text as a number: the number itself, or the position of its level; null is missing. */
  value(text) {
    const { item } = this;
    const meaning = this.meaning(text);
    if (meaning === null) return null;
    if (!item.readsNumber) return levelOf(item, meaning);
    // What the codebook writes has a point, whatever the file's own numbers have.
    const number = readNumber(meaning, item.recodes.has(text) ? "." : this.decimal);
    if (number === A_DATE && item.since !== null) return readDays(meaning, item.since);
    if (item.type === "integer" && !(number instanceof Unreadable) && !isWhole(number)) return NOT_AN_INTEGER;
    return number;
  }

  complain(rows, wrong, severity = "error") {
    const { lines } = this.joined.table;
    const place = { file: this.file, column: this.item.source };
    const message = `${this.item.name}: ${wrong.message}`;
    this.report.lines(wrong.rule, message, wrong.remedy, rows.map((row) => lines[row]), place, severity);
  }

  // -- reduce: a row is chosen -----------------------------------------------------------------------------------

  chosen(rows, how) {
    const { item, joined, study } = this;
    const { patient } = joined;
    if (how === "only") {
      const extra = repeated(rows, patient);
      if (extra.length) {
        this.saySeveral(
          extra,
          '"reduce" is "only", and several rows of one patient remain',
          'narrow "where" or reduce.where, or choose another "how"',
        );
        this.everyValue(rows);
        return null;
      }
    }
    const { distinct, index } = joined.texts(item.source);
    const rowless = this.rowless(rows);
    const [values, wrong] = this.read(rows);
    rows = rows.filter((row) => values.has(index[row]));
    let rank = null;
    if (how === "min" || how === "max") {
      const sign = how === "min" ? 1 : -1;
      const position = ranksOf(values, distinct.length, compareDecimals, keyOf);
      rank = (row) => sign * position[index[row]];
    } else if (item.reduce && item.reduce.orderBy !== null) {
      rank = this.order(rows, item.reduce.orderBy);
      if (rank === null) return null;
    }
    const chosen = choose(rows, patient, study.patients, rank);
    Object.assign(this.trace, { chosen, values });
    const coded = this.coded(values);
    const present = Uint8Array.from(chosen, (row) => (row === NO_ROW ? 0 : 1));
    const codes = Float64Array.from(chosen, (row) => (row === NO_ROW ? 0 : coded[index[row]]));
    const exact = this.keep ? Array.from(chosen, (row) => (row === NO_ROW ? null : values.get(index[row]))) : null;
    for (const p of rowless) {
      codes[p] = item.codeIn(item.reduce.default);
      present[p] = 1;
      if (exact) exact[p] = item.reduce.default;
    }
    const column = this.ranged(codes, present, chosen, exact);
    return wrong ? null : column;
  }

  /** The patients of whom no row takes part, where the field says what they have; no value is a row too. */
  rowless(rows) {
    if (!this.item.reduce || this.item.reduce.default === null) return [];
    const counts = tally(rows, this.joined.patient, this.study.patients);
    const found = [];
    counts.forEach((count, p) => count || found.push(p));
    return found;
  }

  /** Complain of every row's value where it is unclear which row counts: all problems in one report. */
  everyValue(rows) {
    const { index } = this.joined.texts(this.item.source);
    const [values] = this.read(rows);
    rows = Int32Array.from(rows.filter((row) => values.has(index[row])));
    const coded = this.coded(values);
    const codes = Float64Array.from(rows, (row) => coded[index[row]]);
    this.ranged(codes, new Uint8Array(rows.length).fill(1), rows, null);
  }

  /** The code of each distinct text of the column that has a value. */
  coded(values) {
    const coded = new Float64Array(this.joined.texts(this.item.source).distinct.length);
    for (const [u, value] of values) coded[u] = this.item.codeIn(value);
    return coded;
  }

  /** The value of each distinct text at `rows`, and whether any was wrong: those are in the report. */
  read(rows) {
    const { item } = this;
    const { distinct, index } = this.joined.texts(item.source);
    const values = new Map();
    const wrong = new Map();
    for (const u of used(rows, index, distinct.length)) {
      const value = this.value(distinct[u]);
      if (value instanceof Unreadable) {
        if (!wrong.has(value)) wrong.set(value, new Set());
        wrong.get(value).add(u);
      } else if (value !== null) values.set(u, value);
    }
    const at = (bad) => rows.filter((row) => bad.has(index[row]));
    if (item.outOfRange === "missing" && wrong.has(UNKNOWN_LEVEL)) {
      this.complain(at(wrong.get(UNKNOWN_LEVEL)), UNKNOWN_MISSING, "warning");
      wrong.delete(UNKNOWN_LEVEL);
    }
    for (const [reason, bad] of wrong) this.complain(at(bad), reason);
    this.sayComma(values, distinct);
    return [values, wrong.size > 0];
  }

  sayComma(values, distinct) {
    const { item } = this;
    if (!item.readsNumber || item.decimalChar !== null || this.joined.table.decimal !== ",") return;
    if (![...values.keys()].some((u) => distinct[u].includes(","))) return;
    this.report.warning(
      "decimal_comma_read",
      `${item.name}: the file is separated by semicolons, and its commas are read as decimal points`,
      'declare "decimalChar": "," in the field to confirm it',
      { file: this.file, column: item.source },
    );
  }

  /** The rank of a row by an `orderBy` column, as a function; null where that is unclear, which is reported. */
  order(rows, header) {
    const place = { file: this.file, column: header };
    if (!this.joined.table.columns.has(header)) {
      this.report.error(
        "order_column_missing",
        `orderBy of ${this.item.name} names a column that this file does not have`,
        "correct the name; orderBy reads a raw column of the field's own file",
        { ...place, line: 1 },
      );
      return null;
    }
    const ranks = orderRanks(this.joined, header, rows, (text) => this.rawMeaning(header, text) === null, this.decimal);
    if (ranks === null) {
      this.report.error(
        "order_unclear",
        `orderBy of ${this.item.name}: the texts are neither all numbers nor all dates YYYY-MM-DD`,
        'order by a visit number or an ISO date, or list codes for missing in "missingValues"',
        place,
      );
    }
    return ranks;
  }

  // -- reduce: a value is made -----------------------------------------------------------------------------------

  made(rows, how) {
    const { item, joined, study } = this;
    const { patients } = study;
    const rowless = this.rowless(rows);
    if (joined.table.columns.has(item.source)) rows = this.withValue(rows);
    const having = tally(rows, joined.patient, patients);
    if (how === "count") {
      const codes = Float64Array.from(having, (number) => item.codeIn(whole(number)));
      const exact = this.keep ? Array.from(having, (number) => whole(number)) : null;
      return this.ranged(codes, new Uint8Array(patients).fill(1), null, exact);
    }
    const test = this.where(item.reduce.test, (header, text) => this.testedMeaning(header, text), "reduce.test");
    if (test === null) return null;
    const passed = rows.filter((row) => test[row]);
    this.trace.passing = passed.length;
    const passing = tally(passed, joined.patient, patients);
    const [yes, no] = ["yes", "no"].map((said) => item.levels.findIndex((level) => level.value === said));
    const truth = (p) => (how === "any" ? passing[p] > 0 : passing[p] === having[p]);
    const codes = Float64Array.from(having, (count, p) => (count ? (truth(p) ? yes : no) : 0));
    const present = Uint8Array.from(having, (count) => (count ? 1 : 0));
    for (const p of rowless) {
      codes[p] = item.codeIn(item.reduce.default);
      present[p] = 1;
    }
    return { codes, present, exact: null };
  }

  withValue(rows) {
    const { distinct, index } = this.joined.texts(this.item.source);
    const has = distinct.map((text) => this.meaning(text) !== null);
    return rows.filter((row) => has[index[row]]);
  }

  // -- rounding and range ----------------------------------------------------------------------------------------

  ranged(codes, present, chosen, exact) {
    const place = { file: this.file, column: this.item.source };
    if (chosen === null) return ranged(this.item, codes, present, exact, this.report, this.trace, () => place);
    const { lines } = this.joined.table;
    const first = (outside) => lines[outside.reduce((least, p) => Math.min(least, chosen[p]), Number.POSITIVE_INFINITY)];
    return ranged(
      this.item, codes, present, exact, this.report, this.trace,
      (outside) => ({ ...place, line: first(outside) }),
      (outside, reason) => this.complain(outside.map((p) => chosen[p]), reason),
    );
  }
}

/** The positions of the texts at `rows`, ascending. */
function used(rows, index, size) {
  const seen = new Uint8Array(size);
  for (const row of rows) seen[index[row]] = 1;
  const found = [];
  seen.forEach((there, u) => there && found.push(u));
  return found;
}

/** For each patient the row of lowest rank, file order last; NO_ROW for a patient without any. */
function choose(rows, patient, patients, rank) {
  const chosen = new Int32Array(patients).fill(NO_ROW);
  for (const row of rows) {
    const p = patient[row];
    if (chosen[p] === NO_ROW || (rank && rank(row) < rank(chosen[p]))) chosen[p] = row;
  }
  return chosen;
}

/** The rows, in file order, whose patient had an earlier one among `rows`. */
function repeated(rows, patient) {
  const seen = new Set();
  return rows.filter((row) => {
    const again = seen.has(patient[row]);
    seen.add(patient[row]);
    return again;
  });
}

/** How many of `rows` each patient has. */
function tally(rows, patient, patients) {
  const counts = new Int32Array(patients);
  for (const row of rows) counts[patient[row]] += 1;
  return counts;
}

/** The rank of each of `size` texts by its value in `values`; equal values have equal ranks, others come last. */
function ranksOf(values, size, order, key) {
  const sorted = [...values].sort(([, a], [, b]) => order(a, b));
  const ranks = new Float64Array(size);
  let rank = -1;
  let before = null;
  for (const [u, value] of sorted) {
    if (before === null || key(value) !== key(before)) rank += 1;
    before = value;
    ranks[u] = rank;
  }
  for (let u = 0; u < size; u++) if (!values.has(u)) ranks[u] = rank + 1;
  return ranks;
}

/** Ranks of an `orderBy` column: as numbers if all are, else as ISO dates or times; missing last; null if neither. */
export function orderRanks(joined, header, rows, isMissing, point) {
  const { distinct, index } = joined.texts(header);
  const present = used(rows, index, distinct.length).filter((u) => !isMissing(distinct[u]));
  const numbers = new Map(present.map((u) => [u, readNumber(distinct[u], point)]));
  let ranks;
  if (![...numbers.values()].some((value) => value instanceof Unreadable)) {
    ranks = ranksOf(numbers, distinct.length, compareDecimals, keyOf);
  } else if (present.every((u) => isIso(distinct[u]))) {
    ranks = ranksOf(new Map(present.map((u) => [u, distinct[u]])), distinct.length, compare, (text) => text);
  } else return null;
  return (row) => ranks[index[row]];
}

/** YYYY-MM-DD, with a time or without: such texts sort as the moments they name. */
function isIso(text) {
  const day = Array.from(text).slice(0, 10).join("");
  return ISO.test(day) && DIGITS.test(day);
}

// -- derived fields --------------------------------------------------------------------------------------------

/** The field's column; null where a field it names could not be read, which the report says already. */
function derived(item, schema, columns, report, keep, trace) {
  if (item.derive.fields.some((name) => !columns[name])) return null;
  if (item.derive.how === "any") return anyOf(item, schema, columns);
  const values = derivedValues(item, columns, report);
  const present = Uint8Array.from(values, (value) => (value === null ? 0 : 1));
  const codes = Float64Array.from(values, (value) => (value === null ? 0 : item.codeIn(value)));
  return ranged(item, codes, present, keep ? values : null, report, trace, () => ({ column: item.name }));
}

function derivedValues(item, columns, report) {
  const { how, fields } = item.derive;
  const asFraction = (value) => (value === null || isFraction(value) ? value : fraction(value));
  const [first, second] = fields.map((name) => columns[name].exact.map(asFraction));
  if (how === "scale") {
    const [factor, offset] = [fraction(item.derive.factor), fraction(item.derive.offset)];
    return first.map((x) => (x === null ? null : fractions.add(fractions.multiply(x, factor), offset)));
  }
  if (how === "difference") {
    return first.map((x, p) => (x === null || second[p] === null ? null : fractions.subtract(x, second[p])));
  }
  const zeros = first.filter((x, p) => x !== null && second[p]?.p === 0n).length;
  if (zeros) {
    report.warning(
      "ratio_by_zero",
      `${item.name} is missing for ${zeros} patients whose ${fields[1]} is 0`,
      'list 0 in the "missingValues" of that field if it means not known',
      { column: item.name },
    );
  }
  return first.map((x, p) => (x === null || !second[p]?.p ? null : fractions.divide(x, second[p])));
}

/** Yes where a flag says yes, else missing where a flag is missing, else no. */
function anyOf(item, schema, columns) {
  const size = columns[item.derive.fields[0]].present.length;
  const said = new Uint8Array(size);
  const known = new Uint8Array(size).fill(1);
  for (const name of item.derive.fields) {
    const flag = schema.field(name);
    const { codes, present } = columns[name];
    const yes = flag.levels.findIndex((level) => level.value === flag.yes);
    for (let p = 0; p < size; p++) {
      said[p] |= present[p] && codes[p] === yes ? 1 : 0;
      known[p] &= present[p];
    }
  }
  const [yes, no] = ["yes", "no"].map((answer) => item.levels.findIndex((level) => level.value === answer));
  const present = said.map((yes_, p) => yes_ | known[p]);
  const codes = Float64Array.from(present, (there, p) => (there ? (said[p] ? yes : no) : 0));
  return { codes, present, exact: null };
}
