// Bounds and a step for numbers of which only the ends are known: outward to round figures, then to whole bits.
//
// The minimum goes down to a multiple of a round part of the spread, the maximum up; then the maximum goes on to the last
// code that the same number of bits holds. Of the round steps the one is taken whose codes reach least beyond the range.

import { add, adjusted, compareDecimals, decimalText, floorDivide, isWhole, multiply, subtract, toFloat, whole } from "./decimal.js";

const MOST_STEPS = 5000; // of a number with a fraction: more bits are more noise
const FEWEST_STEPS = 250;
const MOST_WHOLE_STEPS = 2 ** 16;
const LARGEST = 17; // powers of ten that a codebook can write with room to spare
const SMALLEST = -17;

const negative = ({ n, e }) => ({ n: -n, e });
const absolute = ({ n, e }) => ({ n: n < 0n ? -n : n, e });
/** Of two, as whole numbers of one power of ten. */
const aligned = (x, y) => {
  const e = Math.min(x.e, y.e);
  return [x.n * 10n ** BigInt(x.e - e), y.n * 10n ** BigInt(y.e - e)];
};

/** { minimum, maximum, resolution } around low..high for values with that many decimal places; null if beyond all sense. */
export function roundBounds(low, high, places) {
  const ends = [low, high].filter((x) => x.n !== 0n).map(adjusted);
  if (ends.some((end) => end <= SMALLEST || end >= LARGEST)) return null;
  let spread = subtract(high, low);
  if (spread.n === 0n) spread = high.n === 0n ? whole(1) : absolute(high);
  const unit = unitOf(spread, !places);
  if (adjusted(unit) <= SMALLEST) return null;
  const minimum = multiply(whole(floored(low, unit)), unit);
  let top = negative(multiply(whole(floored(negative(high), unit)), unit));
  if (compareDecimals(top, minimum) === 0) top = add(top, unit);
  const width = subtract(top, minimum);
  let [best, least] = [null, null];
  for (const step of stepsOf(width, places)) {
    const reach = multiply(whole(held(width, step)), step);
    if (best === null || compareDecimals(reach, least) < 0 || (compareDecimals(reach, least) === 0 && compareDecimals(step, best) < 0)) {
      [best, least] = [step, reach];
    }
  }
  return { minimum, maximum: add(minimum, multiply(whole(held(width, best) - 1n), best)), resolution: best };
}

function floored(value, unit) {
  return floorDivide(...aligned(value, unit));
}

/** The round figure of which bounds are multiples: a tenth to a fifth of the spread or so. */
function unitOf(spread, isWholeNumber) {
  const e = adjusted(spread);
  const below = (n) => compareDecimals(spread, { n, e }) < 0;
  const unit = below(2n) ? { n: 2n, e: e - 1 } : below(5n) ? { n: 5n, e: e - 1 } : { n: 1n, e };
  if (!isWholeNumber || isWhole(unit)) return unit;
  return whole(1); // a fifth or a half of a number below ten, rounded up
}

/** The steps to choose from: as fine as the data, or as the most steps allow, and coarser ones. */
function stepsOf(width, places) {
  let step = { n: 1n, e: Math.max(-places, adjusted(width) - 8) };
  const most = whole(places ? MOST_STEPS : MOST_WHOLE_STEPS);
  while (compareDecimals(width, multiply(most, step)) > 0) step = coarser(step);
  const found = [step];
  while (places && compareDecimals(width, multiply(whole(FEWEST_STEPS), coarser(found.at(-1)))) >= 0) {
    found.push(coarser(found.at(-1)));
  }
  return found;
}

/** The codes of the fewest bits that reach over the width: noise grows with codes by step. */
function held(width, step) {
  const [a, b] = aligned(width, step);
  const steps = -floorDivide(-a, b);
  return 2n ** BigInt(steps === 0n ? 0 : steps.toString(2).length);
}

/** 1, 2, 5, 10, 20 and so on. */
function coarser({ n, e }) {
  if (n === 1n) return { n: 2n, e };
  if (n === 2n) return { n: 5n, e };
  return { n: 1n, e: e + 1 };
}

/** The most decimal places of any value: 0 where all are whole. */
export function placesOf(values) {
  return values.reduce((most, value) => Math.max(most, (decimalText(value).split(".")[1] ?? "").length), 0);
}

/** Type, constraints and resolution of a field, as JSON writes them. */
export function numeric({ minimum, maximum, resolution }, isInteger) {
  return {
    type: isInteger ? "integer" : "number",
    constraints: { minimum: written(minimum), maximum: written(maximum) },
    resolution: written(resolution),
  };
}

/** A JSON number where it is short and exact in any reader, else the decimal text. */
export function written(value) {
  const text = decimalText(value);
  const number = toFloat(value);
  if (isWhole(value)) return Number.isSafeInteger(number) ? number : text;
  // Smaller ones have an exponent in some programs' JSON.
  return String(number) === text && Math.abs(number) >= 1e-4 ? number : text;
}
