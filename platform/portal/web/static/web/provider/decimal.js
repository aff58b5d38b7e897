// Exact decimals and fractions over BigInt: no float ever stands between a text and its code.
//
// A decimal is { n, e }: the number n * 10^e, with the exponent as it was written. A fraction is { p, q }, q > 0.

const NUMBER = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?$/;
const LONGEST = 60;
const MOST_DIGITS = 20; // on either side of the point

/** The decimal that a text of digits, point and exponent spells. */
export function decimal(text) {
  let mantissa = text;
  let e = 0;
  const exponent = text.search(/[eE]/);
  if (exponent >= 0) {
    mantissa = text.slice(0, exponent);
    e = Number(text.slice(exponent + 1));
  }
  const point = mantissa.indexOf(".");
  if (point >= 0) {
    e -= mantissa.length - point - 1;
    mantissa = mantissa.slice(0, point) + mantissa.slice(point + 1);
  }
  if (mantissa.startsWith("+")) mantissa = mantissa.slice(1);
  return { n: mantissa.startsWith("-") ? -BigInt(mantissa.slice(1)) : BigInt(mantissa), e };
}

/** A whole number as a decimal. */
export function whole(value) {
  return { n: BigInt(value), e: 0 };
}

/** The number a text spells (ASCII digits, at most 20 on either side of the point), or null. */
export function asNumber(text) {
  if (text.length > LONGEST || !NUMBER.test(text)) return null;
  const value = decimal(text);
  return value.e < -MOST_DIGITS || adjusted(value) >= MOST_DIGITS ? null : value;
}

/** The power of ten of the first digit. */
export function adjusted({ n, e }) {
  return e + (n < 0n ? -n : n).toString().length - 1;
}

function power(exponent) {
  return 10n ** BigInt(exponent);
}

/** Both as whole numbers of one power of ten: [a, b, exponent]. */
function aligned(x, y) {
  const e = Math.min(x.e, y.e);
  return [x.n * power(x.e - e), y.n * power(y.e - e), e];
}

export function compareDecimals(x, y) {
  if (x.e === y.e) return x.n < y.n ? -1 : x.n > y.n ? 1 : 0;
  const [a, b] = aligned(x, y);
  return a < b ? -1 : a > b ? 1 : 0;
}

export function equal(x, y) {
  return compareDecimals(x, y) === 0;
}

export function add(x, y) {
  const [a, b, e] = aligned(x, y);
  return { n: a + b, e };
}

export function subtract(x, y) {
  const [a, b, e] = aligned(x, y);
  return { n: a - b, e };
}

export function multiply(x, y) {
  return { n: x.n * y.n, e: x.e + y.e };
}

export function isWhole({ n, e }) {
  return e >= 0 || n % power(-e) === 0n;
}

/** Plain digits without trailing zeros: the same text for the same number. */
export function decimalText({ n, e }) {
  const sign = n < 0n ? "-" : "";
  let digits = (n < 0n ? -n : n).toString();
  if (n === 0n) return "0";
  if (e >= 0) return sign + digits + "0".repeat(e);
  digits = digits.padStart(1 - e, "0");
  const point = digits.length + e;
  const behind = digits.slice(point).replace(/0+$/, "");
  return sign + digits.slice(0, point) + (behind ? `.${behind}` : "");
}

/** As Python prints it: with the zeros that were written, and an exponent where that is far from the digits. */
export function shown(value) {
  const { n, e } = value;
  const sign = n < 0n ? "-" : "";
  const digits = (n < 0n ? -n : n).toString();
  const left = adjusted(value);
  if (e <= 0 && left >= -6) {
    if (e === 0) return sign + digits;
    const padded = digits.padStart(1 - e, "0");
    return `${sign}${padded.slice(0, padded.length + e)}.${padded.slice(padded.length + e)}`;
  }
  const mantissa = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
  return `${sign}${mantissa}E${left < 0 ? "-" : "+"}${Math.abs(left)}`;
}

/** One text for each number: equal numbers have the same. */
export function keyOf({ n, e }) {
  if (n === 0n) return "0";
  while (n % 10n === 0n) {
    n /= 10n;
    e += 1;
  }
  return `${n}e${e}`;
}

export function floorDivide(a, b) {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

// -- fractions -------------------------------------------------------------------------------------------------

export function fraction({ n, e }) {
  return e >= 0 ? { p: n * power(e), q: 1n } : { p: n, q: power(-e) };
}

export function isFraction(value) {
  return value.q !== undefined;
}

function gcd(a, b) {
  a = a < 0n ? -a : a;
  while (b) [a, b] = [b, a % b];
  return a;
}

function reduced(p, q) {
  if (q < 0n) [p, q] = [-p, -q];
  const common = gcd(p, q);
  return common > 1n ? { p: p / common, q: q / common } : { p, q };
}

export const fractions = {
  add: (x, y) => reduced(x.p * y.q + y.p * x.q, x.q * y.q),
  subtract: (x, y) => reduced(x.p * y.q - y.p * x.q, x.q * y.q),
  multiply: (x, y) => reduced(x.p * y.p, x.q * y.q),
  divide: (x, y) => reduced(x.p * y.q, x.q * y.p),
  compare: (x, y) => {
    const left = x.p * y.q;
    const right = y.p * x.q;
    return left < right ? -1 : left > right ? 1 : 0;
  },
};

/** The nearest float, for pictures and comparisons by eye only. */
export function toFloat({ n, e }) {
  return Number(`${n}e${e}`);
}
