// Columns of one table that cannot both be right: counted by patient, never shown.
//
// A death flag that says no beside a date of death, a flag named like a level that another column denies, two columns
// that agree but for a few patients, a time to an event beyond the time of follow-up, patients who are alike in
// everything but the key.

import { FOLLOW_UP, ofDeath, share, TIME, words } from "./headers.js";
import { normalForm } from "./text.js";

const MOST_COMPARED = 64; // categories: their pairs are few thousand
const ALIKE = 0.9; // Cohen's kappa from which on two columns are meant to say the same
const FEW = 0.5; // of the patients: more is no slip but another meaning
const [TWIN_FIELDS, TWINS, MANY_VALUES] = [6, 0.05, 30];

/** [rule, message, remedy, column] of every pair of columns that contradict each other, and of twins. */
export function* contradictions(fields, columns, numbers) {
  const read = fields.filter((item) => columns[item.name]);
  yield* deaths(read, columns);
  yield* denied(read, columns);
  yield* nearlyAlike(read, columns);
  yield* beyondFollowUp(read, numbers);
  yield* twins(read, columns);
}

/** The code that says yes of a flag; null of anything else. */
function yesLevel(item) {
  if (item.kind !== "category" || item.levels.length !== 2) return null;
  const values = item.levels.map((level) => level.value);
  if (item.yes !== null) return values.indexOf(item.yes);
  return values.includes("0") && values.includes("1") ? values.indexOf("1") : null;
}

function named(item) {
  return new Set([...words(item.name), ...words(item.source)]);
}

function count(size, holds) {
  let found = 0;
  for (let p = 0; p < size; p++) if (holds(p)) found += 1;
  return found;
}

function* deaths(read, columns) {
  for (const flag of read) {
    const yes = yesLevel(flag);
    if (yes === null || !ofDeath(named(flag))) continue;
    const told = columns[flag.name];
    for (const other of read) {
      if (other === flag || !ofDeath(named(other)) || yesLevel(other) !== null) continue;
      // A time to death or censoring is there for the living too.
      if (other.kind === "number" && other.since === null) continue;
      const { present } = columns[other.name];
      const found = count(present.length, (p) => told.present[p] && told.codes[p] !== yes && present[p]);
      if (!found) continue;
      yield [
        "death_contradicted",
        `${found} patients have ${other.name} though ${flag.name} says that they did not die`,
        "correct the flag, or the date or cause of death",
        flag.source,
      ];
    }
  }
}

/** A flag WEST beside a region with a level West. */
function* denied(read, columns) {
  const flags = new Map(read.filter((item) => yesLevel(item) !== null).map((item) => [normalForm(item.name), item]));
  for (const item of read) {
    if (item.kind !== "category") continue;
    for (const [code, level] of item.levels.entries()) {
      for (const form of new Set([normalForm(level.value), normalForm(level.label)])) {
        const flag = flags.get(form);
        if (!flag || flag === item) continue;
        const [one, other] = [columns[flag.name], columns[item.name]];
        const yes = yesLevel(flag);
        const differs = (p) => (one.codes[p] === yes) !== (other.codes[p] === code);
        const found = count(one.codes.length, (p) => one.present[p] && other.present[p] && differs(p));
        if (!found) continue;
        yield [
          "flag_contradicted",
          `${flag.name} and ${item.name} contradict each other for ${found} patients`,
          "find out which is right, and leave the other out",
          flag.source,
        ];
      }
    }
  }
}

function* nearlyAlike(read, columns) {
  const compared = read.filter((item) => item.kind === "category" && item.levels.length > 1).slice(0, MOST_COMPARED);
  for (const [n, first] of compared.entries()) {
    const values = first.levels.map((level) => level.value);
    for (const second of compared.slice(n + 1)) {
      const match = second.levels.map((level) => values.indexOf(level.value));
      const flags = yesLevel(first) !== null && yesLevel(second) !== null;
      // One column read twice, as for two visits, is meant to be much alike.
      if (first.source === second.source || (!flags && new Set(match.filter((m) => m >= 0)).size < 2)) continue;
      const [one, other] = [columns[first.name], columns[second.name]];
      const table = values.map(() => new Array(second.levels.length).fill(0));
      let both = 0;
      for (let p = 0; p < one.codes.length; p++) {
        if (!one.present[p] || !other.present[p]) continue;
        both += 1;
        table[one.codes[p]][other.codes[p]] += 1;
      }
      if (!both) continue;
      const [found, expected] = flags
        ? flagsDiffering(table, yesLevel(first) === yesLevel(second))
        : levelsDiffering(table, match);
      if (!(found > 0 && found < (1 - ALIKE) * expected)) continue;
      yield [
        "nearly_alike",
        `${first.name} and ${second.name} say the same of all but ${found} of ${both} patients`,
        "find out which is right, or leave one out",
        first.source,
      ];
    }
  }
}

function flagsDiffering(table, straight) {
  const turned = table.map((row) => row.toReversed());
  const [a, b] = (straight ? [table, turned] : [turned, table]).map(differing);
  return b[0] < a[0] ? b : a;
}

function levelsDiffering(table, match) {
  const size = table.length;
  const square = Array.from({ length: size + 1 }, () => new Array(size + 1).fill(0));
  match.forEach((row, column) => {
    const at = row < 0 ? size : row;
    for (let n = 0; n < size; n++) square[n][at] += table[n][column];
  });
  return differing(square);
}

/** How many patients lie off the diagonal, and how many would by chance: 1 - kappa is their ratio. */
function differing(square) {
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const rows = square.map(sum);
  const columns = square.map((_, n) => sum(square.map((row) => row[n])));
  const total = sum(rows);
  const off = total - sum(square.map((row, n) => row[n]));
  return [off, total - sum(rows.map((row, n) => row * columns[n])) / total];
}

function* beyondFollowUp(read, numbers) {
  const times = read.filter((item) => item.kind === "number" && item.since === null && numbers.has(item.name));
  const ends = times.filter((item) => share(named(item), FOLLOW_UP));
  for (const end of ends) {
    for (const item of times) {
      if (ends.includes(item) || item.unit !== end.unit) continue;
      if (item.role !== "time" && !share(named(item), TIME)) continue;
      const [one, last] = [numbers.get(item.name), numbers.get(end.name)];
      const both = count(one.length, (p) => !Number.isNaN(one[p]) && !Number.isNaN(last[p]));
      const found = count(one.length, (p) => one[p] > last[p]);
      if (!(found > 0 && found <= FEW * both)) continue;
      yield [
        "beyond_follow_up",
        `${item.name} is beyond ${end.name} for ${found} patients`,
        "check that both have one unit and one start, and correct what is beyond",
        item.source,
      ];
    }
  }
}

/** Patients with equal codes in every field; only where many fields make chance unlikely. */
function* twins(read, columns) {
  const telling = read.filter((item) => new Set(columns[item.name].codes).size >= MANY_VALUES);
  if (read.length < TWIN_FIELDS || telling.length < 2) return;
  const size = columns[read[0].name].codes.length;
  // Number the rows by their first fields, field by field: equal numbers are equal rows, and no row becomes a text.
  let number = new Float64Array(size);
  for (const { name } of read) {
    const { codes, present } = columns[name];
    const dense = new Map(); // codes renumbered, so that a pair of numbers is one exact number
    for (let p = 0; p < size; p++) if (present[p] && !dense.has(codes[p])) dense.set(codes[p], dense.size + 1);
    const seen = new Map();
    number = number.map((before, p) => {
      const pair = before * (dense.size + 1) + (present[p] ? dense.get(codes[p]) : 0);
      if (!seen.has(pair)) seen.set(pair, seen.size);
      return seen.get(pair);
    });
  }
  const held = new Map();
  for (const one of number) held.set(one, (held.get(one) ?? 0) + 1);
  const known = (p) => telling.filter((item) => columns[item.name].present[p]).length >= 2;
  const found = count(size, (p) => held.get(number[p]) > 1 && known(p));
  if (!(found > 0 && found <= TWINS * size)) return;
  yield [
    "alike_patients",
    `${found} patients are alike in every field: some may be in the table twice under two keys`,
    "look for one patient with two keys",
    "",
  ];
}
