// A codebook proposed for files that have none: every column a field, every guess marked for a person.
//
// What was read from values is named in `local` (of a field, and of the codebook for its capacity), and every reader of
// codebooks refuses a codebook with such a mark: nothing leaves before a person has compared each level list and bound with
// the protocol and removed it. The draft is then held against its own files: a field that does not hold is left out.

import { numeric, roundBounds } from "./bounds.js";
import { CodebookProblem, DEFAULT_CAPACITY, LARGEST_CAPACITY, MOST_FIELDS, parseCodebook } from "./codebook.js";
import { whole } from "./decimal.js";
import { encode } from "./encode.js";
import { SITE, share, words } from "./headers.js";
import { DraftRefused, findKey, unnumbered, withPatients } from "./patient_key.js";
import { isName } from "./predicate.js";
import { leftOut, Proposal, propose } from "./proposal.js";
import { CHOICES, MOST_FIELDS as MOST_OF_A_FILE, mostRows, ofThing, repeatsOf, toOne } from "./repeats.js";
import { Report } from "./report.js";
import { suspectValues } from "./suspicion.js";
import { compare, length, normalForm } from "./text.js";
import { dayNumber, dayText } from "./values.js";

export { DraftRefused };

const POLICY = { epsilon: "10", epsilon_per_query: "1", minimum_cohort: 11, modes: ["dp"], statistics: ["*"] };
const YEARS = 3; // until the proposed policy ends
const ORDERED = [
  "name", "source", "file", "type", "unit", "constraints", "resolution", "categories", "missingValues", "decimalChar",
  "recodes", "reduce",
];

/**
 * The draft of a codebook for the tables (of read.js) of one study.
 *
 * Returns { codebook, columns, notes, problems }: `columns` says of each column { file, column, field, kind, notes }, field
 * being "" where it is left out; `problems` are warnings as of check.js. Raises DraftRefused if there is no key, or nothing
 * that can be shared.
 */
export function draft(tables, { primaryKey = null, year = new Date().getFullYear() } = {}) {
  if (new Set(tables.map((table) => table.name)).size < tables.length) {
    throw new DraftRefused("two files have the same name: rename one, the codebook tells files apart by name");
  }
  const plain = tables.map(unnumbered);
  const key = findKey(plain, primaryKey);
  const files = withPatients(plain, key);
  const notes = [];
  const drafted = files.flatMap((file) => ofFile(file, key, notes));
  notes.push(...strangers(files));
  placeFiles(drafted, files);
  nameFields(drafted, key);
  const reference = dateFields(drafted);
  if (reference !== null) {
    notes.push(`all dates count from ${reference}, so that differences of two fields are days: any round day will do`);
  }
  const patients = 1 + Math.max(...files.map((file) => file.patient.reduce((most, p) => Math.max(most, p), -1)));
  const codebook = {
    primaryKey: key,
    local: ["capacity"],
    capacity: capacityFor(patients),
    fields: [],
    policy: { ...POLICY, expires: `${year + YEARS}-01-01` },
    facts: { sources: {} },
  };
  const report = new Report();
  hold(codebook, drafted, tables, report);
  const columns = drafted.map(({ file, column, name, made }) => ({ file, column, field: name, kind: made.kind, notes: made.notes }));
  return { codebook, columns, notes, problems: report.problems };
}

/** The codebook as a person leaves it who confirms everything: without its marks. */
export function confirmed({ local, fields, ...codebook }) {
  return { ...codebook, fields: fields.map(({ local: marks, ...field }) => field) };
}

// -- from columns to fields ------------------------------------------------------------------------------------

function ofFile(file, key, notes) {
  const repeats = repeatsOf(file, key);
  const { name, header: headers, rows: count } = file.table;
  if (repeats) {
    notes.push(saidOf(file, repeats));
    for (const header of headers) {
      if (!share(words(header), SITE) || repeats.constant.has(header)) continue;
      notes.push(
        `${name}: the same ${key} stands beside several values of ${header}: if numbers begin anew at each, join ` +
          "the two into one column of the file",
      );
    }
  }
  const made = [];
  const add = (column, one, field = "") => made.push({ file: name, column, made: one, name: field });
  if (repeats && repeats.thing === null && !repeats.slip) add("", counted(file));
  const rows = Array.from({ length: count }, (_, row) => row);
  const values = repeats && repeats.thing !== null ? valuesOf(file, key, repeats) : [];
  for (const header of headers) {
    if (header === key) continue;
    if (!isName(header)) add(header, leftOut("the header is no name: give the column a shorter, plain one"));
    else if (values.includes(header)) byThing(file, header, repeats, add);
    else if (repeats && !repeats.constant.has(header) && repeats.thing !== null) add(header, leftOut(whyLeft(header, repeats)));
    else add(header, ofColumn(file, header, rows, repeats));
  }
  return made;
}

function ofColumn(file, header, rows, repeats) {
  const texts = file.texts(header);
  const made = propose(header, texts, rows, file.table.decimal);
  if (repeats && made.kind !== "left out") {
    const counts = new Map(texts.distinct.map((text) => [text, 0]));
    for (const u of texts.index) counts.set(texts.distinct[u], counts.get(texts.distinct[u]) + 1);
    toOne(made, header, repeats, counts);
  }
  return made;
}

/** The columns of which every thing has its own value; none if that would be too many fields. */
function valuesOf(file, key, repeats) {
  const aside = new Set([key, repeats.thing, repeats.order, ...repeats.constant, ...repeats.told]);
  const values = file.table.header.filter((name) => !aside.has(name));
  return values.length * repeats.things.length <= MOST_OF_A_FILE ? values : [];
}

/** One field for each thing that the rows are of. */
function byThing(file, header, repeats, add) {
  const things = file.texts(repeats.thing);
  things.distinct.forEach((thing, number) => {
    const rows = [];
    things.index.forEach((u, row) => u === number && rows.push(row));
    const one = propose(header, file.texts(header), rows, file.table.decimal);
    if (one.kind !== "left out") {
      one.setting.reduce = ofThing(repeats, thing);
      one.local.push("reduce");
    }
    add(header, one, `${header} ${thing}`);
  });
}

/** How many rows each patient has. */
function counted(file) {
  const most = mostRows(file);
  const made = new Proposal("number", { local: ["constraints", "resolution"], distinct: most });
  made.setting = { ...numeric(roundBounds(whole(0), whole(most), 0), true), reduce: { how: "count" } };
  made.note("how many rows a patient has");
  return made;
}

function whyLeft(header, repeats) {
  if (header === repeats.thing) return 'tells the rows of a patient apart: each field\'s "reduce" names one of its values';
  if (header === repeats.order) return "sorts the rows of a patient";
  if (repeats.told.has(header)) return `follows from ${repeats.thing}: write it as the title or unit of the fields`;
  return `${repeats.things.length} values of ${repeats.thing} would make too many fields: list those that matter`;
}

/** Files with the same columns and no patient in common are two hospitals', not one study's. */
function strangers(files) {
  const found = [];
  files.forEach((one, n) => {
    const own = new Set(one.patient);
    for (const other of files.slice(n + 1)) {
      const headers = new Set(other.table.header);
      const same = one.table.header.length === headers.size && one.table.header.every((header) => headers.has(header));
      if (!same || other.patient.some((p) => own.has(p))) continue;
      found.push(
        `${one.table.name} and ${other.table.name} have the same columns and no patient in common: if they are two ` +
          "hospitals' tables, draft from one and check the other with the same codebook",
      );
    }
  });
  return found;
}

function saidOf(file, repeats) {
  const { name, rows, lines } = file.table;
  const said = `${name}: ${rows} rows of ${new Set(file.patient).size} patients`;
  if (repeats.slip) {
    const again = new Set(file.several.map((row) => file.patient[row])).size;
    return (
      `${said}: ${again} patient${again > 1 ? "s are" : " is"} in the table twice, first in line ${lines[file.several[0]]}; ` +
      "correct the file. The fields read the first row until then"
    );
  }
  if (repeats.thing !== null) return `${said}: ${repeats.thing} tells them apart, so each of its values makes fields of its own`;
  return `${said}: every column comes down to one value a patient as its "reduce" says; others are ${CHOICES}`;
}

// -- from fields to a codebook ---------------------------------------------------------------------------------

/** Say the file where a header is in several. */
function placeFiles(drafted, files) {
  for (const one of drafted) {
    const having = files.filter((file) => file.table.columns.has(one.column)).length;
    if (having > 1 || (!one.column && files.length > 1)) one.made.setting.file = one.file;
  }
}

/** A name for every field, unlike all others also to a reader who knows no case, spaces and hyphens. */
function nameFields(drafted, key) {
  const taken = new Set([normalForm(key), ""]);
  let given = 0;
  drafted.forEach((one, n) => {
    const number = n + 1;
    if (one.made.kind === "left out") {
      one.name = "";
      return;
    }
    if (given === MOST_FIELDS) {
      Object.assign(one, { made: leftOut(`a codebook has at most ${MOST_FIELDS} fields`), name: "" });
      return;
    }
    given += 1;
    const dot = one.file.lastIndexOf(".");
    const stem = dot > 0 && dot < one.file.length - 1 ? one.file.slice(0, dot) : one.file;
    const plain = one.name || one.column || "rows";
    const tries = [plain, `${plain} ${stem}`, `${one.column} ${number}`, `column ${number}`, `field ${number} of ${stem}`];
    for (let more = 2; more < 2 + drafted.length; more++) tries.push(`column ${number} ${more}`);
    one.name = tries.find((name) => !taken.has(normalForm(name)) && length(name) < 200 && isName(name));
    taken.add(normalForm(one.name));
    if (one.column && one.name !== one.column) one.made.setting.source = one.column;
  });
}

/** Give all dates one day to count from, at the start of a decade; null if there are no dates. */
function dateFields(drafted) {
  const dates = drafted.map((one) => one.made).filter((made) => made.kind === "days");
  if (!dates.length) return null;
  const first = Number(dayText(dates.reduce((least, made) => Math.min(least, made.low), Number.POSITIVE_INFINITY) + 1).slice(0, 4));
  const start = dayNumber(Math.max(1, Math.floor(first / 10) * 10), 1, 1);
  const reference = dayText(start);
  for (const made of dates) {
    const bounds = roundBounds(whole(made.low + 1 - start), whole(made.high + 1 - start), 0);
    Object.assign(made.setting, numeric(bounds, true), { unit: `days since ${reference}` });
  }
  return reference;
}

/** The usual capacity, or the next power of two that leaves a quarter free. */
function capacityFor(patients) {
  let capacity = DEFAULT_CAPACITY;
  while (3 * capacity < 4 * patients && capacity < LARGEST_CAPACITY) capacity *= 2;
  if (patients > capacity) throw new DraftRefused(`more patients than a dataset holds (${LARGEST_CAPACITY})`);
  return capacity;
}

/** Fill in the fields, and hold the confirmed codebook against the files until nothing is wrong. */
function hold(codebook, drafted, tables, report) {
  for (;;) {
    const fields = drafted.filter((one) => one.made.kind !== "left out");
    if (!fields.length) throw new DraftRefused(nothingLeft(drafted));
    codebook.fields = fields.map(settingOf);
    codebook.facts = { sources: Object.fromEntries(fields.map((one) => [one.name, ""])) };
    const own = new Report();
    let bad;
    try {
      const { schema } = parseCodebook(confirmed(codebook));
      const encoded = encode(schema, tables, own);
      bad = fields.filter((one) => !encoded.columns[one.name]);
      if (!bad.length && !own.errors.length) {
        report.problems.push(...own.problems);
        schema.facts = {}; // sources are a person's to write
        suspectValues(schema, encoded, report);
        return;
      }
    } catch (wrong) {
      if (!(wrong instanceof CodebookProblem)) throw wrong;
      const isIn = ({ place }, one, n) => place.startsWith(`fields[${n}]`) || place.startsWith(`fields.${one.name}.`);
      bad = fields.filter((one, n) => wrong.problems.some((problem) => isIn(problem, one, n)));
    }
    for (const one of bad.length ? bad : fields) {
      one.made = leftOut("what was proposed did not hold on these files: write this field by hand");
      one.name = "";
    }
  }
}

function settingOf(one) {
  const said = { name: one.name, ...one.made.setting };
  const field = {};
  for (const key of ORDERED) if (Object.hasOwn(said, key)) field[key] = said[key];
  return { ...field, local: [...new Set(one.made.local)].sort(compare) };
}

function nothingLeft(drafted) {
  if (!drafted.length) return "there is no column besides the key";
  return `no column can be shared: ${drafted[0].column}: ${drafted[0].made.notes[0]}`;
}
