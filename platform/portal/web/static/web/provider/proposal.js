// One column, as it is, to one field of a codebook: its kind, levels, bounds, and texts without a value.
//
// What was read from values is named in the field's `local`, which every reader of codebooks refuses: a person compares it
// with the protocol first. Nothing here knows of patients; many rows of one are the matter of `repeats`.

import { numeric, placesOf, roundBounds } from "./bounds.js";
import { add, compareDecimals, isWhole, keyOf, multiply, shown, subtract, whole } from "./decimal.js";
import { BIRTH, IDENTIFIER, MEASURE, PATIENT, PERSONAL, share, words } from "./headers.js";
import { saysNothing, standingApart } from "./missing.js";
import { neverZero } from "./plausible.js";
import { isName } from "./predicate.js";
import { casefold, compare, length, longer, wordsOf } from "./text.js";
import { A_DATE, COMMA, readDays, readNumber, Unreadable } from "./values.js";

export const DAY_ZERO = 1; // 0001-01-01
const MOST_LEVELS = 64; // more are free text, or should be grouped first
const LISTED = 12; // whole numbers with this few values, none beyond LARGEST_LISTED, are codes of a list
const LARGEST_LISTED = 20;
const LONGEST_LEVEL = 100;
const STRAY = 0.1; // so many of a column's rows may hold texts among numbers
const MOST_STRAYS = 90;
const FAR = 8; // widths of the middle half
const MANY = 200;
const TELLING = 20; // rows from which on it means something that no text comes twice
const HELD_BY_FEW = 5;
const PADDED = /^[+-]?0[0-9]+$/;
const WHOLE = /^(-?(?:0|[1-9][0-9]*))\.0+$/;
const YES_NO = {
  0: "no", 1: "yes", n: "no", y: "yes", no: "no", yes: "yes", false: "no", true: "yes", nein: "no", ja: "yes", non: "no",
  oui: "yes",
};
const ANSWERS = [["0", "1"], ["n", "y"], ["no", "yes"], ["false", "true"], ["nein", "ja"], ["non", "oui"]];

/** A field as far as one column tells: kind (number, category, days, left out), setting, local, notes. */
export class Proposal {
  constructor(kind, { setting = {}, local = [], notes = [], distinct = 0 } = {}) {
    Object.assign(this, { kind, setting, local, notes, distinct, low: 0, high: 0 });
  }

  note(text) {
    this.notes.push(text);
  }
}

export function leftOut(why) {
  return new Proposal("left out", { notes: [why] });
}

/** What a column proposes on some rows; `decimal` is the decimal point of its file. */
export function propose(header, { distinct, index }, rows, decimal) {
  const counts = new Float64Array(distinct.length);
  for (const row of rows) counts[index[row]] += 1;
  const held = new Map(distinct.flatMap((text, u) => (counts[u] ? [[text, counts[u]]] : [])));
  return new Column(header, held, decimal).proposal();
}

const sum = (numbers) => [...numbers].reduce((total, number) => total + number, 0);
const union = (...sets) => new Set(sets.flatMap((set) => [...set]));
const rowsText = (count) => `${count} row${count === 1 ? "" : "s"}`;

class Column {
  constructor(header, counts, decimal) {
    Object.assign(this, { header, counts, decimal, words: words(header) });
  }

  proposal() {
    const nothing = saysNothing(this.counts.keys(), false);
    const given = new Map([...this.counts].filter(([text]) => !nothing.has(text)));
    if (!given.size) return leftOut("no row has a value");
    if (share(this.words, PERSONAL)) return leftOut("the header names something personal: it is never shared");
    return this.days(given, nothing) ?? this.numbers(given, nothing) ?? this.category(given, nothing);
  }

  // -- dates ---------------------------------------------------------------------------------------------------

  /** Days of a calendar; null if most texts are no dates. */
  days(given, nothing) {
    const found = [];
    const strays = [];
    let foreign = 0;
    for (const [text, count] of given) {
      if (readNumber(text, this.decimal) !== A_DATE) {
        strays.push(text);
        continue;
      }
      const day = readDays(text, DAY_ZERO);
      const unread = day instanceof Unreadable;
      if (unread || text.startsWith("9999")) {
        strays.push(text);
        foreign += unread ? count : 0;
      } else found.push(Number(day.n));
    }
    const total = sum(given.values());
    if (foreign > STRAY * total && !found.length) {
      return leftOut("dates in a form not read here: write them as YYYY-MM-DD to use them");
    }
    if (!found.length || !this.isFew(strays, given, total)) return null;
    const made = new Proposal("days", { setting: { type: "integer" }, local: ["unit", "constraints"], distinct: found.length });
    made.low = found.reduce((a, b) => Math.min(a, b));
    made.high = found.reduce((a, b) => Math.max(a, b));
    this.missing(made, union(nothing, strays), strays);
    made.note(
      'a calendar date: a duration from another date (another field\'s "derive": ' +
        '{"difference": [later, earlier]}) is what most questions need',
    );
    if (share(this.words, BIRTH)) made.note("a date of birth identifies: share the age instead");
    return made;
  }

  isFew(strays, given, total) {
    return strays.length <= MOST_STRAYS && sum(strays.map((text) => given.get(text))) <= STRAY * total;
  }

  // -- numbers -------------------------------------------------------------------------------------------------

  /** A number, or null where the texts are levels. */
  numbers(all, nothing) {
    if ([...all.keys()].some((text) => PADDED.test(text))) return null; // 007 is a code, not seven
    const said = saysNothing(all.keys(), true);
    const given = new Map([...all].filter(([text]) => !said.has(text)));
    const [decimal, read] = this.read(given);
    const values = new Map([...read].filter(([, value]) => !(value instanceof Unreadable)));
    const strays = [...given.keys()].filter((text) => !values.has(text));
    if (!values.size) return null;
    const counts = countsOf(values, given);
    if (strays.length && (counts.size <= LISTED || !this.isFew(strays, given, sum(given.values())))) return null;
    const codes = new Set(standingApart(counts));
    const least = [...counts.values()].filter(({ value }) => !codes.has(keyOf(value)));
    const zero = counts.has("0") && counts.size > 1 && least.every(({ value }) => value.n >= 0n);
    if (zero && neverZero(this.words)) codes.add("0");
    const kept = [...counts].filter(([key]) => !codes.has(key)).map(([, { value }]) => value);
    if (!kept.length || this.isListed(kept)) return null;
    if (this.runs(kept, counts)) return leftOut("no value comes twice: it numbers the rows, or is another identifier");
    const made = new Proposal("number", { distinct: kept.length });
    const coded = [...counts].filter(([key]) => codes.has(key)).sort(([, a], [, b]) => compareDecimals(a.value, b.value));
    for (const [key, { value, rows }] of coded) {
      const why = key === "0" ? "cannot be measured" : "stands apart and looks like a code";
      made.note(`${shown(value)} (${rowsText(rows)}) ${why}: proposed as missing; if it means something, recode it`);
    }
    const texts = [...values].filter(([, value]) => codes.has(keyOf(value))).map(([text]) => text);
    this.missing(made, union(nothing, said, texts, strays), strays);
    this.bounded(made, kept);
    if (made.kind === "number" && (decimal !== this.decimal || [...values.keys()].some((text) => text.includes(",")))) {
      made.setting.decimalChar = decimal;
      made.local.push("decimalChar");
      if (decimal === ",") made.note("commas are read as decimal points, not as thousands separators");
    }
    return made;
  }

  read(given) {
    const by = (point) => new Map([...given.keys()].map((text) => [text, readNumber(text, point)]));
    const unread = (read) => sum([...read].map(([text, value]) => (value instanceof Unreadable ? given.get(text) : 0)));
    const read = by(this.decimal);
    const other = this.decimal === "." ? "," : ".";
    if ([...read.values()].some((value) => value === COMMA || value instanceof Unreadable)) {
      const again = by(other);
      if (unread(again) < unread(read)) return [other, again];
    }
    return [this.decimal, read];
  }

  /** Whether whole numbers are codes of a list, as 1, 2, 3 for an arm. */
  isListed(kept) {
    const small = (value) => isWhole(value) && compareDecimals(absolute(value), whole(LARGEST_LISTED)) <= 0;
    return kept.length <= LISTED && kept.every(small) && (kept.length <= 2 || !share(this.words, MEASURE));
  }

  /** Whether the numbers only number the rows. */
  runs(kept, counts) {
    if (kept.length < TELLING || share(this.words, MEASURE)) return false;
    if (kept.some((value) => counts.get(keyOf(value)).rows > 1 || !isWhole(value))) return false;
    const [low, high] = [ends(kept, -1), ends(kept, 1)];
    const gapless = compareDecimals(add(subtract(high, low), whole(1)), whole(kept.length)) === 0;
    const named = share(this.words, IDENTIFIER) || share(this.words, PATIENT);
    return named || (gapless && (compareDecimals(low, whole(1)) <= 0 || kept.length >= MANY));
  }

  bounded(made, kept) {
    const isInteger = kept.every(isWhole);
    const places = isInteger ? 0 : placesOf(kept);
    const bounds = roundBounds(ends(kept, -1), ends(kept, 1), places);
    if (bounds === null) {
      Object.assign(made, { kind: "left out", setting: {}, local: [] });
      made.note("numbers too large or too small for a codebook: give them in another unit");
      return;
    }
    Object.assign(made.setting, numeric(bounds, isInteger));
    made.local.push("constraints", "resolution");
    if (compareDecimals(bounds.resolution, { n: 1n, e: -places }) > 0) {
      made.note("the resolution is coarser than the data: a finer one costs more noise");
    }
    if (isFar(kept)) {
      made.note("the largest or smallest value lies far from all others: an error of units, or a code for missing?");
    }
    if (isInteger && kept.length <= LARGEST_LISTED && !share(this.words, MEASURE)) {
      made.note('few whole numbers: if they are codes of a list, write "string" with "categories"');
    }
  }

  missing(made, texts, strays) {
    const others = [...texts].filter((text) => text !== "").sort(compare);
    if (others.length) {
      made.setting.missingValues = ["", ...others];
      made.local.push("missingValues");
    }
    if (!strays.length) return;
    const rows = sum(strays.map((text) => this.counts.get(text)));
    made.note(
      `${strays.length} other texts in ${rows} rows are proposed as missing: "recodes" can give ` +
        "them a value, as half the limit to one below a limit of detection",
    );
  }

  // -- categories ----------------------------------------------------------------------------------------------

  category(given, nothing) {
    const codes = given.size > 2 ? new Set(standingApart(this.wholeCounts(given))) : new Set();
    const isCode = (text) => {
      const value = codes.size ? readNumber(text) : null;
      return value !== null && !(value instanceof Unreadable) && codes.has(keyOf(value));
    };
    const coded = [...given.keys()].filter(isCode);
    const kept = new Map([...given].filter(([text]) => !coded.includes(text)));
    const total = sum(kept.values());
    const spelled = spellings(kept);
    const levels = spelled.map(([level]) => level);
    const refused = notLevels(levels, spelled, kept, total);
    if (refused) return leftOut(refused);
    const made = new Proposal("category", { setting: { type: "string" }, local: ["categories"], distinct: levels.length });
    made.setting.categories = categoriesOf(levels);
    const recodes = spelled.flatMap(([level, same]) => same.filter((other) => other !== level).map((other) => [other, level]));
    if (recodes.length) {
      made.setting.recodes = Object.fromEntries(recodes.sort(([a], [b]) => compare(a, b)));
      made.local.push("recodes");
      made.note(`other spellings of a level (${recodes.length}) are recoded to the most frequent one`);
    }
    for (const key of codes) {
      const texts = coded.filter((text) => keyOf(readNumber(text)) === key);
      const rows = sum(texts.map((text) => given.get(text)));
      made.note(
        `${shown(readNumber(texts[0]))} (${rowsText(rows)}) stands apart and looks like a code: proposed as missing; ` +
          "if it means something, list it as a level or recode it",
      );
    }
    this.missing(made, union(nothing, coded), []);
    if (levels.length === 1) made.note("one level only: leave the column out if it says nothing");
    return made;
  }

  /** Rows of each number, if all texts are numbers; else nothing stands apart. */
  wholeCounts(given) {
    const values = new Map([...given.keys()].map((text) => [text, PADDED.test(text) ? null : readNumber(text)]));
    if ([...values.values()].some((value) => value === null || value instanceof Unreadable)) return new Map();
    return countsOf(values, given);
  }
}

/** By keyOf, each number and how many rows hold it. */
function countsOf(values, given) {
  const counts = new Map();
  for (const [text, value] of values) {
    const key = keyOf(value);
    if (!counts.has(key)) counts.set(key, { value, rows: 0 });
    counts.get(key).rows += given.get(text);
  }
  return counts;
}

function absolute({ n, e }) {
  return { n: n < 0n ? -n : n, e };
}

/** The smallest (-1) or largest (1) of some values. */
function ends(values, side) {
  return values.reduce((end, value) => (compareDecimals(value, end) * side > 0 ? value : end));
}

/** Whether an end of the values is much further out than the middle half of the distinct ones is wide. */
function isFar(kept) {
  if (kept.length <= LISTED) return false;
  const ordered = [...kept].sort(compareDecimals);
  const [low, high] = [ordered[Math.floor(ordered.length / 4)], ordered[Math.floor((3 * ordered.length) / 4)]];
  const reach = multiply(whole(FAR), subtract(high, low));
  return compareDecimals(ordered.at(-1), add(high, reach)) > 0 || compareDecimals(ordered[0], subtract(low, reach)) < 0;
}

/** Why some texts are no levels, or null. */
function notLevels(levels, spelled, kept, total) {
  if (levels.some((text) => longer(text, LONGEST_LEVEL) || !isName(text))) {
    return "free text is never shared: recode it to levels first";
  }
  if (total >= TELLING && levels.length > total / 2) {
    return "hardly any text comes twice: free text or an identifier, which are never shared";
  }
  if (levels.length > MOST_LEVELS) {
    return `${levels.length} different texts: group them first, or name the levels that matter`;
  }
  const few = spelled.filter(([, same]) => sum(same.map((text) => kept.get(text))) < HELD_BY_FEW).length;
  const long = levels.some((text) => length(text) > 30);
  return long && total && few > levels.length / 2 ? "long texts that few rows share: free text is never shared" : null;
}

/**
 * [[most frequent spelling, all spellings]] of each level, in natural order.
 *
 * Texts that differ only in case and inner spaces are one level; so are 1 and 1.0. Hyphens count: -1 is not 1.
 */
function spellings(counts) {
  const groups = new Map();
  for (const text of counts.keys()) {
    const form = WHOLE.exec(text)?.[1] ?? wordsOf(casefold(text)).join(" ");
    if (!groups.has(form)) groups.set(form, []);
    groups.get(form).push(text);
  }
  const best = (same) =>
    [...same].sort((a, b) => length(a) - length(b)).reduce((most, text) => (counts.get(text) > counts.get(most) ? text : most));
  const number = (text) => {
    const value = readNumber(text);
    return value instanceof Unreadable ? null : value;
  };
  const named = new Map([...groups.values()].map((same) => [best(same), same]));
  return [...named].sort(([a], [b]) => {
    const [x, y] = [number(a), number(b)];
    if (x && y) return compareDecimals(x, y) || compare(a, b);
    return x ? -1 : y ? 1 : compare(a, b);
  });
}

function categoriesOf(levels) {
  const folded = new Map(levels.map((level) => [casefold(level), level]));
  if (!ANSWERS.some((answers) => folded.size === 2 && answers.every((answer) => folded.has(answer)))) {
    return levels.map((value) => ({ value }));
  }
  return [...folded].map(([form, value]) => (value === YES_NO[form] ? { value } : { value, label: YES_NO[form] }));
}
