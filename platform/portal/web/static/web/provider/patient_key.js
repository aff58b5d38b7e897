// Which column says whose a row is: in all files, never empty, and each patient's of its own in at least one file.
//
// Names help where values leave it open, as in a file with many rows of each patient.

import { isIdentifier, namesKey, PATIENT, share, words } from "./headers.js";
import { isName } from "./predicate.js";
import { Joined, repeatedRows } from "./study.js";

const FRACTION = /^[+-]?[0-9]*[.,][0-9]*$/;
const DAY = /^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[^\n]*|[0-9]{1,2}[-/.][^\n]*[-/.][0-9]{2,4})$/;
const MOST_PAIRED = 16;

/** No codebook can be proposed for these files. */
export class DraftRefused extends Error {
  constructor(message) {
    super(message);
    this.name = "DraftRefused";
  }
}

/** The key's column; `said` is what a person says it is, or null. Raises DraftRefused. */
export function findKey(files, said = null) {
  const common = files[0].table.header.filter((name) => files.every((file) => file.table.columns.has(name)));
  if (said !== null) {
    if (!common.includes(said)) {
      throw new DraftRefused(`not every file has a column ${said}: give the key's column the same name in all`);
    }
    if (!files.every((file) => isFilled(file, said))) {
      throw new DraftRefused(`the key ${said} is empty in some rows: give every row the key of its patient`);
    }
    return said;
  }
  let [best, key] = [0, null];
  for (const name of common) {
    const score = scoreOf(name, files);
    if (score > best) [best, key] = [score, name];
  }
  if (key !== null) return key;
  if (!common.length) {
    throw new DraftRefused("the files have no column in common: give the patient's key the same name in all");
  }
  const pair = pairOf(files, common);
  if (pair) {
    throw new DraftRefused(
      `no column alone tells patients apart, but ${pair[0]} and ${pair[1]} together do: join them into one column of the file`,
    );
  }
  throw new DraftRefused("no column tells patients apart: add one, or name it with --primary-key");
}

/** A table before anyone knows whose its rows are. */
export function unnumbered(table) {
  return new Joined(table, new Int32Array(table.rows).fill(-1), []);
}

/** The files with their rows' patients numbered. */
export function withPatients(files, key) {
  const numbers = new Map();
  return files.map((file) => {
    const { distinct, index } = file.texts(key);
    const number = distinct.map((text) => {
      if (!numbers.has(text)) numbers.set(text, numbers.size);
      return numbers.get(text);
    });
    const patient = index.map((u) => number[u]);
    const made = new Joined(file.table, patient, repeatedRows(patient));
    made.cache = file.cache;
    return made;
  });
}

/** 0 for what cannot be the key; a patient's word counts most, then being unique, then an identifier's word. */
function scoreOf(name, files) {
  if (!isName(name) || !files.every((file) => isFilled(file, name))) return 0;
  const isUnique = (file) => file.texts(name).distinct.length === file.table.rows;
  const unique = files.some(isUnique);
  const patient = share(words(name), PATIENT);
  const constant = files.every((file) => file.texts(name).distinct.length === 1);
  if (constant && files.some((file) => file.table.rows > 1)) return 0;
  if (!unique && !namesKey(name)) return 0;
  const sample = files.flatMap((file) => file.texts(name).distinct.slice(0, 100));
  if (!patient && sample.some((text) => FRACTION.test(text) || DAY.test(text))) return 0;
  return 8 * patient + 4 * unique + 2 * isIdentifier(name) + files.every(isUnique);
}

function isFilled(file, name) {
  return !file.texts(name).distinct.includes("");
}

function pairOf(files, common) {
  const likely = common.filter((name) => files.every((file) => isFilled(file, name))).slice(0, MOST_PAIRED);
  for (const [n, first] of likely.entries()) {
    for (const second of likely.slice(n + 1)) {
      for (const file of files) {
        const [one, other] = [file.texts(first), file.texts(second)];
        const seen = new Set();
        one.index.forEach((u, row) => seen.add(u * other.distinct.length + other.index[row]));
        if (seen.size === file.table.rows && file.table.rows > 1) return [first, second];
      }
    }
  }
  return null;
}
