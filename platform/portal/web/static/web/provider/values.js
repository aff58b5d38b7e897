// One text to one exact number, or why it is none. No float is ever made.
//
// A hospital's 27.405 must become the same code here and in `python -m providers`: the text is held exactly, and the
// code of a number is floor((x - minimum)/resolution + 1/2) without any rounding before the floor.

import { adjusted, decimal, whole } from "./decimal.js";

const NUMBER = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?$/;
const DECIMAL_COMMA = /^(?:[+-]?[0-9]{1,3}(?:[.' ]?[0-9]{3})*,[0-9]+|[+-]?[0-9]+,[0-9]*)$/;
const WITH_COMMA = /^[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]{1,6})?$/;
const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const SAS_DAY = new RegExp(`^([0-9]{1,2})(-?)(${MONTHS.join("|")})\\2([0-9]{4})$`, "iu"); // DATE9., DATE11.
const ISO_DAY = /^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T][0-9:.]+Z?)?$/;
const DATE =
  /^(?:[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?:[ T][^\n]*)?|[0-9]{1,2}[- ]?[A-Za-z]{3}[- ]?[0-9]{2,4})$/;
const NOT_FINITE = /^(?:[+-]?(?:nan|inf|infinity)|#num!|#div\/0!|#n\/a)$/iu;
const MAX_DIGITS = 100;
const MAX_EXPONENT = 308;
const ZERO = whole(0);

/** Why a text is no number: a rule with its message and remedy, without the text. */
export class Unreadable {
  constructor(rule, message, remedy) {
    Object.assign(this, { rule, message, remedy });
  }
}

const RECODE = 'or list it in "missingValues" or "recodes" if it means something else';
export const NOT_A_NUMBER = new Unreadable("not_a_number", "the text is not a number", `correct it, ${RECODE}`);
export const COMMA = new Unreadable(
  "decimal_comma",
  "the number has a decimal comma or thousands separators",
  'write it as 1234.5, or declare "decimalChar": "," in the field',
);
export const A_POINT = new Unreadable(
  "decimal_point",
  "the number has a decimal point where decimal commas are declared or found in this file",
  'write all numbers in one way, or say with the field\'s "decimalChar" which it is',
);
export const A_DATE = new Unreadable(
  "date_as_number",
  "the text looks like a date where a number is expected",
  'give days since a reference date, or dates as YYYY-MM-DD or 31JAN2020 and the unit "days since 2000-01-01"',
);
export const INFINITE = new Unreadable("not_finite", "the text stands for no finite number", `leave the cell empty, ${RECODE}`);
export const ENORMOUS = new Unreadable(
  "number_too_large",
  "the number has an exponent or a length beyond any measurement",
  `correct it, ${RECODE}`,
);
export const NOT_AN_INTEGER = new Unreadable(
  "not_an_integer",
  "the number is not whole",
  'correct it, or give the field the type "number"',
);

/** A number with a decimal comma, where `point` is one, as it is written with a point; else the text. */
export function withPoint(text, point) {
  return point === "," && WITH_COMMA.test(text) ? text.replaceAll(",", ".") : text;
}

/** The exact decimal that a stripped text writes, or why it is none. */
export function readNumber(text, point = ".") {
  if (point === ",") {
    if (text.includes(".") && NUMBER.test(text)) return A_POINT;
    text = withPoint(text, point);
  }
  if (NUMBER.test(text)) {
    const value = decimal(text);
    if (text.length > MAX_DIGITS + 10) return ENORMOUS;
    if (value.n === 0n) return ZERO;
    return Math.abs(adjusted(value)) > MAX_EXPONENT ? ENORMOUS : value;
  }
  if (NOT_FINITE.test(text)) return INFINITE;
  if (DATE.test(text)) return A_DATE;
  if (DECIMAL_COMMA.test(text)) return COMMA;
  return NOT_A_NUMBER;
}

/** Whole days from a reference day to a text YYYY-MM-DD, or 31JAN2020 as SAS writes it. */
export function readDays(text, since) {
  let day;
  let found;
  if ((found = ISO_DAY.exec(text))) day = isoDay(found[1]);
  else if ((found = SAS_DAY.exec(text))) {
    const month = MONTHS.indexOf(found[3].toUpperCase()) + 1;
    day = dayNumber(Number(found[4]), month, Number(found[1]));
  }
  return day === undefined ? A_DATE : whole(day - since);
}

/** The number of a day YYYY-MM-DD from 0001-01-01 (1) on; undefined if there is no such day. */
export function isoDay(text) {
  const [year, month, day] = text.split("-").map(Number);
  return dayNumber(year, month, day);
}

/** The number of a day of the Gregorian calendar; undefined if there is no such day. */
export function dayNumber(year, month, day) {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (!(year >= 1 && year <= 9999 && month >= 1 && month <= 12)) return undefined;
  if (day < 1 || day > lengths[month - 1]) return undefined;
  const before = year - 1;
  const years = 365 * before + Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  return years + lengths.slice(0, month - 1).reduce((sum, days) => sum + days, 0) + day;
}

/** YYYY-MM-DD of a day's number. */
export function dayText(number) {
  const date = new Date((number - 719163) * 86_400_000);
  return `${String(date.getUTCFullYear()).padStart(4, "0")}-${date.toISOString().slice(-19, -14)}`;
}
