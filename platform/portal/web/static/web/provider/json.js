// JSON with exact numbers, and the one canonical text of a JSON value.
//
// A number with a point or an exponent is kept as it is written (`Written`): 1.0 and 1 are different texts, and what a
// float would make of 0.1 is nobody's business. Canonical: sorted keys, no spaces, UTF-8, no floats.

import { compare, isBroken } from "./text.js";

/** A number of a JSON text that is no whole number, as written. */
export class Written {
  constructor(text) {
    this.text = text;
  }
}

export class NotJson extends Error {}

const SPACES = /[ \t\n\r]*/y;
const NUMBER = /(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\x00-\x1f]*/y;
const HEX = /[0-9A-Fa-f]{4}/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const DEEPEST = 900;
const LONGEST_INTEGER = 4300;

/** The value of a JSON text; objects without prototype, a key at most once. Raises NotJson with the place. */
export function parseJson(text) {
  return new Parser(text).document();
}

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(message, at = this.at) {
    const before = this.text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - before.lastIndexOf("\n");
    throw new NotJson(`${message}: line ${line} column ${column} (char ${at})`);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  document() {
    this.match(SPACES);
    const value = this.value(0);
    this.match(SPACES);
    if (this.at < this.text.length) this.fail("Extra data");
    return value;
  }

  value(depth) {
    if (depth > DEEPEST) throw new NotJson("maximum recursion depth exceeded");
    const char = this.text[this.at];
    if (char === '"') return this.string();
    if (char === "{") return this.object(depth);
    if (char === "[") return this.array(depth);
    for (const [word, value] of [["null", null], ["true", true], ["false", false]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const number = this.match(NUMBER);
    if (number) return numberOf(number);
    for (const word of ["NaN", "Infinity", "-Infinity"]) {
      if (this.text.startsWith(word, this.at)) throw new NotJson(`${word} is no number`);
    }
    return this.fail("Expecting value");
  }

  string() {
    const begin = this.at;
    this.at += 1;
    let value = "";
    for (;;) {
      value += this.match(PLAIN)[0];
      const char = this.text[this.at];
      if (char === undefined) this.fail("Unterminated string starting at", begin);
      if (char === '"') {
        this.at += 1;
        return value;
      }
      if (char !== "\\") this.fail("Invalid control character at");
      value += this.escape(begin);
    }
  }

  escape(begin) {
    const char = this.text[this.at + 1];
    if (char === undefined) this.fail("Unterminated string starting at", begin);
    if (char !== "u") {
      if (ESCAPES[char] === undefined) this.fail("Invalid \\escape", this.at);
      this.at += 2;
      return ESCAPES[char];
    }
    this.at += 2;
    const hex = this.match(HEX);
    if (!hex) this.fail("Invalid \\uXXXX escape", this.at - 1);
    return String.fromCharCode(Number.parseInt(hex[0], 16));
  }

  array(depth) {
    const values = [];
    this.at += 1;
    this.match(SPACES);
    if (this.text[this.at] === "]") {
      this.at += 1;
      return values;
    }
    for (;;) {
      values.push(this.value(depth + 1));
      this.match(SPACES);
      const char = this.text[this.at];
      if (char !== "," && char !== "]") this.fail("Expecting ',' delimiter");
      this.at += 1;
      if (char === "]") return values;
      this.match(SPACES);
    }
  }

  object(depth) {
    const object = Object.create(null);
    let twice = null;
    this.at += 1;
    this.match(SPACES);
    if (this.text[this.at] === "}") {
      this.at += 1;
      return object;
    }
    for (;;) {
      if (this.text[this.at] !== '"') this.fail("Expecting property name enclosed in double quotes");
      const key = this.string();
      if (key in object && twice === null) twice = key;
      this.match(SPACES);
      if (this.text[this.at] !== ":") this.fail("Expecting ':' delimiter");
      this.at += 1;
      this.match(SPACES);
      object[key] = this.value(depth + 1);
      this.match(SPACES);
      const char = this.text[this.at];
      if (char !== "," && char !== "}") this.fail("Expecting ',' delimiter");
      this.at += 1;
      if (char === "}") break;
      this.match(SPACES);
    }
    if (twice !== null) throw new NotJson(`the key ${Array.from(twice).slice(0, 100).join("")} stands twice in one object`);
    return object;
  }
}

function numberOf([text, digits, point, exponent]) {
  if (exponent !== undefined && exponent.length > 19) throw new NotJson("a number has an exponent beyond all sense");
  if (point !== undefined || exponent !== undefined) return new Written(text);
  if (digits.length > LONGEST_INTEGER) throw new NotJson("a number has too many digits");
  return wholeNumber(digits);
}

/** A whole number as a JSON value: a number where that is exact, else a BigInt. */
export function wholeNumber(digits) {
  const value = Number(digits);
  return Number.isSafeInteger(value) ? value + 0 : BigInt(digits);
}

/** Whether a JSON value is a whole number. */
export function isInteger(value) {
  return typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
}

/** Whether a JSON value is an object. */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Written);
}

/** The canonical text of a JSON value. Raises TypeError for a float, RangeError for text that is no Unicode. */
export function canonical(value) {
  if (value === null || value === true || value === false) return String(value);
  if (typeof value === "string") {
    if (isBroken(value)) throw new RangeError("a text is no valid Unicode");
    return JSON.stringify(value);
  }
  if (isInteger(value)) return BigInt(value).toString();
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) throw new TypeError("a float has no canonical form");
  const keys = Object.keys(value).sort(compare);
  return `{${keys.map((key) => `${canonical(key)}:${canonical(value[key])}`).join(",")}}`;
}

const encoder = new TextEncoder();

/** The canonical bytes of a JSON value. */
export function canonicalBytes(value) {
  return encoder.encode(canonical(value));
}

/** SHA-256 of the canonical bytes, as hex. */
export async function digest(value) {
  return hex(await crypto.subtle.digest("SHA-256", canonicalBytes(value)));
}

export function hex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function unhex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
