// Tables held against a codebook: everything that is wrong, a profile of each column, and the codes to be shared.
//
//     const { problems, profile, counts, codes } = check(schema, tables);
//
// The same rules in the same order as `python -m providers check`. Problems, profile and counts are for the person in
// front of this screen: nothing of them is sent.

import { countsOf, resultOf } from "./counts.js";
import { encode } from "./encode.js";
import { Report } from "./report.js";
import { sheetsOf } from "./study.js";
import { suspectValues } from "./suspicion.js";

const CELLS = 12;

/**
 * Hold tables (of read.js) against a schema (of codebook.js).
 *
 * problems  [{file, line, column, rule, message, remedy, severity}]; an error stops an upload
 * profile   [{field, kind, n, missing, levels | minimum, median, maximum, histogram}] of every field that could be read
 * counts    [{field, step, before, after, detail}]: rows, or from `reduce` on patients, before and after each step
 * progress  is called with 0 to 1
 * codes     { patients, columns: {name: {codes: Uint32Array, present: Uint8Array}} }, null while there is an error
 */
export function check(schema, tables, { progress = () => {} } = {}) {
  const { report, encoded } = encodeStudy(schema, tables, progress);
  const fit = encoded !== null && !report.errors.length;
  return {
    problems: report.problems,
    patients: encoded?.patients ?? 0,
    profile: encoded ? profileOf(schema, encoded) : [],
    counts: encoded ? countsOf(schema, encoded).flatMap(flattened) : [],
    codes: fit ? codesOf(encoded) : null,
  };
}

/** The report, and what `encode` made of the tables; null if a file could not be read. */
export function encodeStudy(schema, tables, progress = () => {}) {
  const report = new Report(schema.warnings.map((warning) => problemOf(warning, "warning")));
  let unread = false;
  for (const table of tables) {
    for (const sheet of sheetsOf(schema, table.name)) {
      if (sheet === null) report.problems.push(...table.problems);
      else {
        const message = "the file is no workbook: it has no sheets";
        report.error("sheet_missing", message, 'remove "sheet"', { file: table.name });
      }
      unread ||= sheet !== null || table.columns === null;
    }
  }
  // With a file less, all further complaints would be about its absence.
  if (unread) return { report, encoded: null };
  const encoded = encode(schema, tables, report, (part) => progress(0.6 * part));
  suspectValues(schema, encoded, report);
  progress(0.8);
  return { report, encoded };
}

/** A problem of a codebook as a problem of the codebook's file. */
export function problemOf({ where, place = where, rule, message, remedy }, severity = "error", file = "codebook") {
  return { file, line: null, column: null, rule, message: `${place}: ${message}`, remedy, severity };
}

function codesOf({ patients, columns }) {
  const made = Object.create(null);
  for (const [name, { codes, present }] of Object.entries(columns)) {
    made[name] = { codes: Uint32Array.from(codes), present };
  }
  return { patients, columns: made };
}

function profileOf(schema, { columns }) {
  return schema.fields.flatMap((item) => {
    const column = columns[item.name];
    if (!column) return [];
    const { present: n, missing, ...rest } = resultOf(item, column);
    const said = { field: item.name, kind: item.kind, unit: item.unit, n, missing, ...rest };
    return [item.kind === "number" && n ? { ...said, histogram: histogramOf(item, column) } : said];
  });
}

/** The patients in cells of equal width over the declared range: [{from, to, patients}], ends as floats. */
function histogramOf(item, { codes, present }) {
  const { minimum, resolution } = item.floats;
  const cells = Math.min(CELLS, item.codes);
  const width = item.codes / cells;
  const held = new Array(cells).fill(0);
  codes.forEach((code, p) => present[p] && (held[Math.min(cells - 1, Math.floor(code / width))] += 1));
  const at = (n) => minimum + resolution * Math.ceil(n * width);
  return held.map((patients, n) => ({ from: at(n), to: at(n + 1), patients }));
}

/** The steps of a field one by one, each with what came in and what went on. */
function flattened({ field, steps, result }) {
  let before = null;
  const made = [];
  for (const detail of steps) {
    const [into, out] = passed(detail, before);
    made.push({ field, step: detail.step, before: into, after: out, detail });
    before = out;
  }
  if (result) made.push({ field, step: "result", before, after: result.present, detail: result });
  return made;
}

function passed(detail, before) {
  switch (detail.step) {
    case "text":
      return [detail.rows, detail.rows];
    case "missingValues":
      return [before, detail.left];
    case "recodes":
      return [before, before === null ? null : before - (detail.unknown ?? 0)];
    case "where":
      return [detail.rows, detail.left];
    case "reduce":
      return [detail.rows, detail.patients_with_value ?? detail.patients_with_rows];
    case "derive":
      return [before, detail.patients_with_value ?? null];
    case "range":
      return [detail.patients, detail.outside_is === "clamp" ? detail.patients : detail.patients - detail.below - detail.above];
    default:
      return [before, before];
  }
}
