// How many values every step of a codebook leaves, field by field, for the person who signs the codebook off.
//
// The steps are those of `encode`, in its order: text, missingValues, recodes, where, reduce, derive, cut or round, range.
// Counts, texts and ends of the values are shown on the provider's screen and go nowhere else. A median is the lower one
// where there are two.

import { compareDecimals, decimalText } from "./decimal.js";
import { levelOf, NO_ROW } from "./encode.js";
import { Unreadable } from "./values.js";

const MOST_TEXTS = 200; // of one column: the most frequent; the rest is a number

/** One object a field: its name, place and `steps` in order; `result` is null where it could not be read. */
export function countsOf(schema, encoded) {
  return schema.fields.map((item) => countsOfField(item, encoded, encoded.traces.get(item.name)));
}

function countsOfField(item, encoded, trace) {
  const column = encoded.columns[item.name];
  const steps = [];
  if (item.derive) steps.push(derivedStep(item, encoded, trace));
  else if (trace.joined) steps.push(...readSteps(item, trace.joined, trace, encoded.patients));
  if (column || trace.chosen) steps.push(...codedSteps(item, trace));
  return {
    field: item.name,
    source: item.derive ? null : item.source,
    file: trace.joined?.table.name ?? null,
    steps,
    result: column ? resultOf(item, column) : null,
  };
}

// -- rows ------------------------------------------------------------------------------------------------------

function* readSteps(item, joined, trace, patients) {
  if (joined.table.columns.has(item.source)) yield* textSteps(item, joined, trace);
  else yield { step: "text", rows: joined.table.rows }; // counts the rows of a file as such
  for (const [setting, before, after] of trace.kept) {
    yield { step: "where", setting, rows: before, dropped: before - after, left: after };
  }
  if (trace.rows && (item.reduce || trace.chosen)) yield reducedStep(item, joined, trace, patients);
}

/** The steps text, missingValues and recodes of every row with a patient. */
function* textSteps(item, joined, trace) {
  const { distinct, index } = joined.texts(item.source);
  const tally = (rows) => {
    const counts = new Float64Array(distinct.length);
    for (const row of rows) counts[index[row]] += 1;
    return counts;
  };
  const rows = new Float64Array(distinct.length);
  joined.patient.forEach((p, row) => p >= 0 && (rows[index[row]] += 1));
  const after = trace.rows && tally(trace.rows);
  const held = trace.chosen && tally(trace.chosen.filter((row) => row !== NO_ROW));
  const used = Array.from(distinct.keys()).filter((u) => rows[u]);
  const missingValues = new Set(item.missingValues);
  const missing = used.filter((u) => missingValues.has(distinct[u]));
  const given = used.filter((u) => !missingValues.has(distinct[u]));
  const sum = (texts) => texts.reduce((total, u) => total + rows[u], 0);
  const [total, without] = [sum(used), sum(missing)];
  yield { step: "text", rows: total, distinct: used.length };
  yield {
    step: "missingValues",
    missing: without,
    left: total - without,
    texts: frequent(missing, rows).map((u) => ({ text: distinct[u], rows: rows[u] })),
  };
  const recoded = given.filter((u) => item.recodes.has(distinct[u]));
  // Of a number only what is recoded is listed, of a category every text: that is what a person signs.
  const listed = item.readsNumber ? recoded : given;
  const shown = frequent(listed, rows);
  const step = { step: "recodes", recoded: sum(recoded) };
  if (!item.readsNumber && !answers(item)) step.unknown = sum(given.filter((u) => codedText(item, distinct[u]) === null));
  step.texts = shown.map((u) => ({
    text: distinct[u],
    coded: codedText(item, distinct[u]),
    rows: rows[u],
    after_where: after ? after[u] : null,
    patients: held ? held[u] : null,
  }));
  if (listed.length > shown.length) step.further_texts = listed.length - shown.length;
  yield step;
}

/** Rows to patients: those that count, and those that another row of their patient stands for. */
function reducedStep(item, joined, trace, patients) {
  const withRows = new Set(trace.rows.map((row) => joined.patient[row])).size;
  const step = {
    step: "reduce",
    how: item.reduce?.how ?? "none",
    rows: trace.rows.length,
    patients_with_rows: withRows,
    patients_without_rows: patients - withRows,
  };
  if (trace.passing !== null) step.rows_passing = trace.passing;
  if (trace.chosen) {
    const having = trace.chosen.filter((row) => row !== NO_ROW).length;
    Object.assign(step, {
      patients_with_value: having,
      patients_missing: patients - having,
      rows_not_chosen: trace.rows.length - having,
    });
  }
  return step;
}

/** What a text is recoded to: the level's value, or the number's text; null if it is no level. */
function codedText(item, text) {
  const meaning = item.recodes.get(text) ?? text;
  if (item.readsNumber || answers(item)) return meaning;
  const level = levelOf(item, meaning);
  return level instanceof Unreadable ? null : item.levels[Number(level.n)].value;
}

/** Whether the field's levels are answers to a test, and its texts no levels. */
function answers(item) {
  return ["any", "all"].includes(item.reduce?.how);
}

function frequent(texts, rows) {
  return texts.toSorted((a, b) => rows[b] - rows[a]).slice(0, MOST_TEXTS);
}

// -- patients --------------------------------------------------------------------------------------------------

function derivedStep(item, encoded, trace) {
  const step = { step: "derive", how: item.derive.how };
  for (const name of item.derive.fields) {
    const part = encoded.columns[name];
    step[`missing in ${name}`] = part ? part.present.filter((there) => !there).length : null;
  }
  if (trace.present !== null) {
    Object.assign(step, { patients_with_value: trace.present, patients_missing: encoded.patients - trace.present });
  }
  return step;
}

/** The steps cut or round, and range. */
function* codedSteps(item, trace) {
  if (item.cut.length || item.kind === "number") {
    const before = trace.chosen && trace.values && trace.joined ? beforeRounding(item, trace) : {};
    yield { step: item.cut.length ? "cut" : "round", ...before };
  }
  if (trace.present !== null) {
    const { present: patients, below, above } = trace;
    yield { step: "range", patients, below, above, outside_is: item.outOfRange };
  }
}

/** Minimum, median and maximum of the patients' values as they are written, and how many rounding moves. */
function beforeRounding(item, { joined, chosen, values }) {
  const { index } = joined.texts(item.source);
  const held = new Map();
  for (const row of chosen) if (row !== NO_ROW) held.set(index[row], (held.get(index[row]) ?? 0) + 1);
  const ordered = [...values].filter(([u]) => held.has(u)).sort(([, a], [, b]) => compareDecimals(a, b));
  if (!ordered.length) return {};
  const total = ordered.reduce((sum, [u]) => sum + held.get(u), 0);
  let sum = 0;
  const [, median] = ordered.find(([u]) => (sum += held.get(u)) >= total / 2);
  const found = {
    minimum: decimalText(ordered[0][1]),
    median: decimalText(median),
    maximum: decimalText(ordered.at(-1)[1]),
  };
  if (!item.cut.length) {
    found.rounded = ordered.reduce((moved, [u, value]) => moved + (moves(item, value) ? held.get(u) : 0), 0);
  }
  return found;
}

function moves(item, value) {
  const code = item.codeIn(value);
  return code >= 0 && code < item.codes && !item.holds(code, value);
}

/** Present and missing patients, and their levels, or minimum, median and maximum as they are shared. */
export function resultOf(item, { codes, present }) {
  const there = codes.filter((_, p) => present[p]).sort();
  const result = { present: there.length, missing: codes.length - there.length };
  if (item.kind === "category") {
    const held = new Array(item.levels.length).fill(0);
    for (const code of there) held[code] += 1;
    result.levels = item.levels.map(({ value, label }, n) => ({ value, label, patients: held[n] }));
  } else if (there.length) {
    const ends = { minimum: there[0], median: there[Math.floor((there.length - 1) / 2)], maximum: there.at(-1) };
    for (const [name, code] of Object.entries(ends)) result[name] = decimalText(item.value(code));
  }
  return result;
}
