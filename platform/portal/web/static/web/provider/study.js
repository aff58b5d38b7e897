// Several files of one study, joined on the primary key: one patient, one place in the shared table.
//
// Patients are numbered in the order in which they first appear, file by file. A patient without a row in some file is
// missing there. Which file a field reads follows from its header, or from the codebook's `file`.

import { closeMatches } from "./nearest.js";
import { casefold, normalForm, strip } from "./text.js";

/** A column as its distinct stripped texts; row r holds `distinct[index[r]]`. */
export function textsOf({ distinct, index }) {
  const places = new Map();
  const kept = distinct.map((text) => {
    const stripped = strip(text);
    if (!places.has(stripped)) places.set(stripped, places.size);
    return places.get(stripped);
  });
  if (places.size === distinct.length) return { distinct: [...places.keys()], index };
  return { distinct: [...places.keys()], index: index.map((u) => kept[u]) };
}

/** One file of the study; row r belongs to patient `patient[r]`, or to none (-1) if it has no key. */
export class Joined {
  constructor(table, patient, several) {
    Object.assign(this, { table, patient, several, cache: new Map() });
  }

  texts(header) {
    if (!this.cache.has(header)) this.cache.set(header, textsOf(this.table.columns.get(header)));
    return this.cache.get(header);
  }
}

/** Rows whose patient had a row before, in file order. */
export function repeatedRows(patient) {
  const seen = new Set();
  const several = [];
  patient.forEach((p, row) => {
    if (p < 0) return;
    if (seen.has(p)) several.push(row);
    seen.add(p);
  });
  return several;
}

/** Find every field's file and number the patients: { patients, place: Map of field name to Joined }. */
export function join(schema, tables, report) {
  const byName = new Map();
  for (const table of tables) {
    if (byName.has(table.name)) {
      const remedy = "rename one: the codebook tells files apart by name";
      report.error("same_file_name", "two files have the same name", remedy, { file: table.name });
    }
    byName.set(table.name, table);
  }
  const chosen = new Map();
  for (const item of schema.fields) {
    if (!item.derive) chosen.set(item.name, tableOf(item, [...byName.values()], report));
  }
  const used = [...byName.values()].filter((table) => [...chosen.values()].includes(table));
  for (const table of byName.values()) {
    if (used.includes(table)) continue;
    const remedy = 'leave it out, or name it in a field\'s "file"';
    report.warning("unused_file", "no field of the codebook reads this file", remedy, { file: table.name });
  }
  const numbers = new Map();
  const files = new Map();
  for (const table of used) {
    const patient = patientsOf(schema, table, numbers, report);
    if (patient) files.set(table.name, new Joined(table, patient, repeatedRows(patient)));
  }
  const patients = numbers.size;
  if (patients > schema.capacity) {
    report.error(
      "capacity_exceeded",
      `there are more patients (${patients}) than the codebook's capacity (${schema.capacity})`,
      'raise "capacity"; it is public, so choose a round number',
    );
  }
  const place = new Map();
  for (const [name, table] of chosen) if (table && files.has(table.name)) place.set(name, files.get(table.name));
  sayGaps(schema, files, place, patients, report);
  return { patients, place };
}

function nameOf(path) {
  return path.split("/").filter((part) => part && part !== ".").at(-1) ?? "";
}

function endingOf(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 && dot < name.length - 1 ? name.slice(dot) : "";
}

/** Whether a codebook's `file` means this one: by name, or in any case and form if it has no ending. */
export function isFile(named, file) {
  const wanted = nameOf(named);
  if (wanted === file) return true;
  const ending = endingOf(file);
  const stem = ending ? file.slice(0, -ending.length) : file;
  return !endingOf(wanted) && casefold(wanted) === casefold(stem);
}

/** The sheets of a file that the codebook names, in its order; null is the file itself. */
export function sheetsOf(schema, file) {
  const named = schema.fields.filter((item) => item.file !== null && isFile(item.file, file));
  const sheets = [...new Set(named.map((item) => item.sheet))];
  return sheets.length ? sheets : [null];
}

/** The header that a predicate's name means: itself, or the only one of the same normal form. */
export function findColumn(name, headers) {
  if (headers.includes(name)) return name;
  const same = headers.filter((header) => normalForm(header) === normalForm(name));
  return same.length === 1 ? same[0] : null;
}

/** Whether a field counts the rows of a file as such, without a column of its own. */
function countsRows(item) {
  return item.reduce?.how === "count" && item.source === item.name;
}

function tableOf(item, tables, report) {
  const place = { column: item.source };
  if (item.file !== null) return namedTable(item, tables, report, place);
  const having = tables.filter((table) => table.columns.has(item.source));
  if (having.length === 1) return having[0];
  if (!having.length && countsRows(item) && tables.length === 1) return tables[0];
  if (!having.length) columnMissing(item, tables, report, tables.length === 1 ? tables[0].name : null);
  else {
    report.error(
      "ambiguous_column",
      `field ${item.name} reads a column that ${having.length} files have`,
      `say which with "file": ${having.map((table) => table.name).join(" or ")}`,
      place,
    );
  }
  return null;
}

function namedTable(item, tables, report, place) {
  const sheet = item.sheet === null ? "" : `[${item.sheet}]`;
  const wanted = nameOf(item.file);
  const named = tables.filter(
    ({ name }) => name.endsWith(sheet) && isFile(wanted, sheet ? name.slice(0, -sheet.length) : name),
  );
  if (named.length > 1) {
    report.error(
      "ambiguous_file",
      `field ${item.name} reads the file ${wanted}, and ${named.length} files are called that`,
      `give one of them, or write "file": ${named.map((table) => table.name).join(" or ")}`,
      place,
    );
    return null;
  }
  if (!named.length) {
    report.error(
      "file_missing",
      `field ${item.name} reads the file ${wanted + sheet}, which was not given`,
      "give that file too, or correct the codebook",
      place,
    );
    return null;
  }
  if (named[0].columns.has(item.source) || countsRows(item)) return named[0];
  columnMissing(item, named, report, named[0].name);
  return null;
}

function columnMissing(item, tables, report, file) {
  const [near] = closeMatches(item.source, tables.flatMap((table) => table.header), 1, 0.8);
  let hint = near ? `; did you mean ${near}` : "";
  if (countsRows(item)) hint = ', or say with "file" whose rows it counts';
  report.error(
    "column_missing",
    `field ${item.name} reads a column that no header names`,
    `correct the header, or name the column in the field's "source"${hint}`,
    { column: item.source, file, line: file === null ? null : 1 },
  );
}

/** The patient of every row, numbered on in `numbers`; null if the file has no key column. */
function patientsOf(schema, table, numbers, report) {
  const name = schema.primaryKey;
  const place = { file: table.name, column: name };
  if (!table.columns.has(name)) {
    report.error(
      "key_column_missing",
      "the file has no column of the primary key",
      "add it: rows of several files are joined on it",
      { ...place, line: 1 },
    );
    return null;
  }
  const { distinct, index } = textsOf(table.columns.get(name));
  const empty = distinct.indexOf("");
  const without = empty < 0 ? [] : table.lines.filter((_, row) => index[row] === empty);
  report.lines("key_missing", "the row has no patient key", "give every row the key of its patient", without, place);
  const number = distinct.map((key) => {
    if (key === "") return -1; // belongs to no patient
    if (!numbers.has(key)) numbers.set(key, numbers.size);
    return numbers.get(key);
  });
  return index.map((u) => number[u]);
}

/** Warn where a file lacks patients that another file has: often a key written in two ways. */
function sayGaps(schema, files, place, patients, report) {
  const tells = (reduce) => reduce && (reduce.how === "count" || reduce.default !== null);
  const told = new Set(schema.fields.filter((item) => tells(item.reduce)).map((item) => item.name));
  for (const [file, joined] of files) {
    // Where every field says what a patient without rows has, the file is meant to lack some.
    if ([...place].every(([name, read]) => read !== joined || told.has(name))) continue;
    const there = new Set(joined.patient);
    there.delete(-1);
    const absent = patients - there.size;
    if (!absent) continue;
    report.warning(
      "patients_without_rows",
      `${absent} of ${patients} patients have no row in this file and are missing in its fields`,
      "check that the key is written alike in all files",
      { file },
    );
  }
}
