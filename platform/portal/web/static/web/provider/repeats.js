// Files with many rows of a patient: what tells the rows apart, and how each column becomes one value a patient.
//
// Either a column says that each row is of one of a few things (a laboratory parameter, an endpoint's definition): each
// becomes fields of its own. Else every column comes down to one value as its kind suggests, and a person chooses another.

import { asNumber, shown } from "./decimal.js";
import { orderRanks } from "./encode.js";
import { ORDER, share, words } from "./headers.js";
import { isName, Name } from "./predicate.js";
import { casefold, normalForm } from "./text.js";

const MOST_THINGS = 30;
export const MOST_FIELDS = 90; // made of one file's things and columns
const OFTEN = 0.5; // of the patients have a row of each thing
const SLIP = 0.05; // of the patients: so few with several rows are in the table twice by mistake
export const CHOICES =
  '"only" (one row is left by "where"), "first" (with "orderBy"), "min", "max", "any" and "all" (with "test"), "count"';

/**
 * How a file repeats patients, null if it does not: { slip, thing, things, order, constant, told }.
 *
 * `thing` tells a patient's rows apart, `things` are its texts; `order` sorts what is left; `constant` columns say the
 * same in all rows of a patient; `told` follow from `thing`.
 */
export function repeatsOf(file, key) {
  if (!file.several.length) return null;
  const { patient, table } = file;
  const patients = new Set(patient).size;
  const others = table.header.filter((name) => name !== key);
  const constant = new Set(others.filter((name) => pairs(patient, file.texts(name)) === patients));
  const found = { slip: false, thing: null, things: [], order: null, constant, told: new Set() };
  if (new Set(file.several.map((row) => patient[row])).size <= SLIP * patients) return { ...found, slip: true };
  const varying = others.filter((name) => !constant.has(name));
  const order = varying.find((name) => share(words(name), ORDER) && orders(file, name)) ?? null;
  for (const name of [...varying.filter((one) => one !== order), ...(order === null ? [] : [order])]) {
    if (!tellsThings(file, name)) continue;
    const texts = file.texts(name);
    const held = pairs(patient, texts);
    if (held < OFTEN * patients * texts.distinct.length) continue;
    const apart = held === table.rows;
    const sorts = !apart && order !== null && name !== order && triples(file, name, order) === table.rows;
    if (!apart && !(sorts && pairs(patient, file.texts(order)) < table.rows)) continue;
    const follows = (other) => other !== name && pairs(texts.index, file.texts(other)) === texts.distinct.length;
    return { ...found, thing: name, things: [...texts.distinct], order: apart ? null : order, told: new Set(varying.filter(follows)) };
  }
  return { ...found, order };
}

/** The `reduce` of a field that reads the rows of one thing. */
export function ofThing(repeats, thing) {
  const where = `${new Name(repeats.thing)} == ${new Name(thing)}`;
  if (repeats.order === null) return { how: "only", where };
  return { how: "first", where, orderBy: repeats.order };
}

/** Give a column's proposal its `reduce`, and say what else there is; `counts` is how many rows hold each text. */
export function toOne(made, header, repeats, counts) {
  const { setting } = made;
  made.local.push("reduce");
  if (repeats.slip || repeats.constant.has(header)) {
    setting.reduce = { how: "first" };
    if (!repeats.slip) made.note("all rows of a patient say the same: the first is read");
  } else if (made.kind === "category") answerOf(made, counts);
  else if (repeats.order !== null && header !== repeats.order) {
    setting.reduce = { how: "first", orderBy: repeats.order };
    made.note(`the first value by ${repeats.order} is read`);
  } else if (made.kind === "days") {
    setting.reduce = { how: "min" };
    made.note("the earliest day is read");
  } else {
    setting.reduce = { how: "max" };
    made.note("the largest value is read");
  }
}

/** Whether any row of the patient holds one level: the last of a scale, yes of a flag, else the most frequent. */
function answerOf(made, counts) {
  const { categories: levels, recodes = {}, ...setting } = made.setting;
  const values = levels.map((level) => level.value);
  const yes = levels.find((level) => casefold(level.value) === "yes" || level.label === "yes")?.value;
  const scale = values.length > 2 && values.every((value) => asNumber(value) !== null);
  made.local = made.local.filter((key) => key !== "categories" && key !== "recodes");
  // A test knows no case: other spellings pass it too.
  const level = (text) => (Object.hasOwn(recodes, text) ? recodes[text] : text);
  const rows = (value) => [...counts].reduce((sum, [text, count]) => sum + (level(text) === value ? count : 0), 0);
  let test;
  if (yes !== undefined) {
    test = `== ${new Name(yes)}`;
    made.note("yes if any row of the patient says yes");
  } else if (scale) {
    const middle = values[Math.floor(values.length / 2)];
    test = `>= ${new Name(middle)}`;
    made.note(`levels look like a scale: yes if any row of the patient reaches ${middle}; choose the limit`);
  } else {
    const most = values.reduce((best, value) => (rows(value) > rows(best) ? value : best));
    test = `== ${new Name(most)}`;
    made.note("yes if any row of the patient holds the most frequent level; a field each for others that matter");
  }
  made.setting = { ...setting, reduce: { how: "any", test } };
}

/** The most rows of any patient. */
export function mostRows(file) {
  const counts = new Map();
  for (const p of file.patient) counts.set(p, (counts.get(p) ?? 0) + 1);
  return [...counts.values()].reduce((most, count) => Math.max(most, count), 0);
}

function tellsThings(file, name) {
  const texts = file.texts(name).distinct;
  if (texts.length < 2 || texts.length > MOST_THINGS || !texts.every(isName) || !isName(name)) return false;
  const forms = texts.map((text) => {
    const number = asNumber(text);
    return number === null ? `t${normalForm(text)}` : `n${shown(number)}`;
  });
  return new Set(forms).size === texts.length;
}

function orders(file, name) {
  const rows = Array.from({ length: file.table.rows }, (_, row) => row);
  return orderRanks(file, name, rows, (text) => text === "", file.table.decimal) !== null && isName(name);
}

/** How many different pairs there are of a number and a column's text. */
function pairs(first, { distinct, index }) {
  const seen = new Set();
  index.forEach((u, row) => seen.add(first[row] * distinct.length + u));
  return seen.size;
}

function triples(file, first, second) {
  const one = file.texts(first);
  const both = Float64Array.from(file.patient, (p, row) => p * one.distinct.length + one.index[row]);
  return pairs(both, file.texts(second));
}
