// Reading a JSON object whose every fault is to be reported, not only the first.
//
// A Reader takes the parts of an object by name and type; what is wrong goes to one list as place (`where`), rule,
// message and remedy, and reading goes on with a harmless value.

import { asNumber } from "./decimal.js";
import { isInteger, isObject } from "./json.js";
import { nearest } from "./nearest.js";
import { ConditionRejected, Name, parsePredicate, parseTest } from "./predicate.js";
import { head, strip } from "./text.js";

export class Reader {
  constructor(obj, where, problems) {
    this.obj = obj;
    this.where = where;
    this.problems = problems;
  }

  /** A reader of `value`, or of nothing (and a problem) if it is no object. */
  static of(value, where, problems) {
    if (isObject(value)) return new Reader(value, where, problems);
    const reader = new Reader({}, where, problems);
    reader.report("", "not_an_object", "an object is needed here", "write { ... }");
    return reader;
  }

  has(key) {
    return Object.hasOwn(this.obj, key);
  }

  /** The value under a key, null if it is absent. */
  get(key) {
    return this.has(key) ? (this.obj[key] ?? null) : null;
  }

  report(key, rule, message, remedy) {
    const where = [this.where, key].filter(Boolean).join(".") || "codebook";
    this.problems.push({ where, rule, message, remedy });
  }

  /** Report every key that is not known. */
  only(known, hints = {}) {
    for (const key of Object.keys(this.obj)) {
      if (known.includes(key)) continue;
      const [near] = nearest(key, known);
      const remedy = near ? `write ${near}` : `remove it; known here: ${known.join(", ")}`;
      const hint = Object.hasOwn(hints, key) ? hints[key] : remedy;
      this.report(head(key, 100), "unknown_key", "this key has no meaning here", hint);
    }
  }

  /** A reader of the object under `key`; an empty one if it is absent. */
  at(key) {
    const where = this.where ? `${this.where}.${key}` : key;
    return Reader.of(this.has(key) ? this.obj[key] : {}, where, this.problems);
  }

  /** A text of 1 to 256 printable characters. */
  text(key, standard = "", needed = false) {
    const value = this.get(key);
    if (value === null) {
      if (needed) this.report(key, "required", `${key} is required`, `write "${key}": "..."`);
      return standard;
    }
    if (typeof value !== "string") {
      this.report(key, "not_text", `${key} is text`, 'put it in quotes: "..."');
      return standard;
    }
    return this.name(key, value) ? value : standard;
  }

  /** Whether a text may serve as a name, reported otherwise. */
  name(key, value) {
    try {
      new Name(value);
    } catch (wrong) {
      if (!(wrong instanceof ConditionRejected)) throw wrong;
      this.report(key, "bad_text", wrong.plain, "shorten it, or remove what does not print");
      return false;
    }
    if (strip(value) !== value) {
      this.report(key, "bad_text", "the text begins or ends with a space", "remove it");
      return false;
    }
    return true;
  }

  choice(key, among, standard) {
    const value = this.get(key);
    if (value === null) return standard;
    if (!among.includes(value)) {
      this.report(key, "unknown_choice", `${key} is one of ${among.join(", ")}`, `write "${among[0]}"`);
      return standard;
    }
    return value;
  }

  whole(key, standard, low, high) {
    const value = this.get(key);
    if (value === null) return standard;
    if (!isInteger(value) || value < low || value > high) {
      this.report(key, "not_whole", `${key} is a whole number from ${low} to ${high}`, `write ${standard}`);
      return standard;
    }
    return Number(value);
  }

  /** An exact decimal from a JSON number or its text; null if absent or (reported) wrong. */
  decimal(key) {
    const value = this.get(key);
    if (value === null) return null;
    const number = exact(value);
    if (number === null) {
      const remedy = "write plain digits, at most 20 on either side of the point";
      this.report(key, "not_a_number", `${key} is a number`, remedy);
    }
    return number;
  }

  /** A list of 1 to `most` entries; null if absent or (reported) wrong. */
  listed(key, most) {
    const value = this.get(key);
    if (value === null) return null;
    if (!Array.isArray(value) || value.length === 0 || value.length > most) {
      this.report(key, "not_a_list", `${key} is a list of 1 to ${most}`, "write [ ... ]");
      return null;
    }
    return value;
  }

  /** A condition in the query language; with a subject it may begin with the comparison. */
  predicate(key, subject = null) {
    const value = this.get(key);
    if (value === null) return null;
    try {
      if (typeof value !== "string") throw new ConditionRejected("syntax", "a condition is text");
      return subject === null ? parsePredicate(value) : parseTest(value, subject);
    } catch (wrong) {
      if (!(wrong instanceof ConditionRejected)) throw wrong;
      const remedy = 'write a condition such as "visit == 1 and grade >= 3"';
      this.report(key, "bad_condition", wrong.message, remedy);
      return null;
    }
  }
}

/** The decimal of a JSON integer or of a text; null if it is neither. */
export function exact(value) {
  if (typeof value === "string") return asNumber(value);
  if (!isInteger(value)) return null;
  const number = BigInt(value);
  return number < 10n ** 20n && number > -(10n ** 20n) ? { n: number, e: 0 } : null;
}
