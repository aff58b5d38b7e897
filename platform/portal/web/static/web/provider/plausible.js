// Numbers that no patient can have, and units that were mixed: known from a column's name, counted, never shown.
//
// Limits are wide: they are the limits of life, not of the normal.

import { PERCENT, share, TIME, words } from "./headers.js";
import { strip } from "./text.js";

const MEASURES = [
  { words: ["bmi"], low: 7, high: 120, unit: "kg/m2" },
  { words: ["height", "hgt", "stature"], low: 30, high: 260, unit: "cm", other: [0.3, 2.6, "m"] },
  { words: ["weight", "wgt", "wt", "bodyweight"], low: 0.3, high: 650, unit: "kg" },
  { words: ["temp", "temperature"], low: 25, high: 46, unit: "degrees Celsius", other: [77, 115, "degrees Fahrenheit"] },
  { words: ["pulse", "hr", "heartrate"], low: 10, high: 350, unit: "beats a minute" },
  { words: ["sbp", "sysbp", "systolic"], low: 30, high: 320, unit: "mmHg" },
  { words: ["dbp", "diabp", "diastolic"], low: 10, high: 220, unit: "mmHg" },
  { words: ["age"], low: 0, high: 130, unit: "years" },
];
const MADE_OF_IT = new Set(["cat", "group", "change", "loss"]);
const AGE = new Set(["age"]);

function measureOf(named) {
  return MEASURES.find((measure) => share(measure.words, named) && !share(named, MADE_OF_IT));
}

/** Whether zero can only mean that nothing was measured. */
export function neverZero(named) {
  const measure = measureOf(named);
  return measure !== undefined && measure.low > 0;
}

function count(numbers, holds) {
  let found = 0;
  for (const number of numbers) if (holds(number)) found += 1;
  return found;
}

/** [rule, message, remedy] of everything suspicious in the present values of a number. */
export function* implausible(item, numbers) {
  const named = new Set([...words(item.name), ...words(item.source), ...words(item.title)]);
  const measure = measureOf(named);
  if (measure) yield* ofMeasure(item, measure, numbers);
  else if (share(named, PERCENT) || strip(item.unit) === "%") {
    const small = count(numbers, (x) => x > 0 && x < 1);
    const large = count(numbers, (x) => x > 1);
    if (small > large || (small && small > 0.02 * numbers.length && large)) {
      yield [
        "fractions",
        `${small} of ${numbers.length} values of ${item.name} lie between 0 and 1: fractions among percentages`,
        "multiply them by 100 in the file, or correct the unit",
      ];
    }
  }
  const before = count(numbers, (x) => x < 0);
  if (before && (item.role === "time" || share(named, TIME) || share(named, AGE))) {
    yield [
      "negative_time",
      `${before} values of ${item.name} are negative: a time before its own start`,
      "check the two dates that it was made from",
    ];
  }
}

function* ofMeasure(item, measure, numbers) {
  const zeros = measure.low > 0 ? count(numbers, (x) => x === 0) : 0;
  if (zeros) {
    yield ["zero_value", `${zeros} values of ${item.name} are 0, which nobody has: not measured`, 'list "0" in "missingValues"'];
  }
  const isOwn = (x) => x >= measure.low && x <= measure.high;
  const own = count(numbers, isOwn);
  let isElsewhere = () => false;
  if (measure.other) {
    const [low, high, unit] = measure.other;
    const within = (x) => x >= low && x <= high;
    const elsewhere = count(numbers, (x) => within(x) && !isOwn(x));
    if (elsewhere && own) {
      yield [
        "mixed_units",
        `${elsewhere} values of ${item.name} look like ${unit}, the others like ${measure.unit}`,
        "bring all to one unit in the file",
      ];
    } else if (elsewhere === numbers.length && item.unit === measure.unit) {
      yield ["other_unit", `the values of ${item.name} look like ${unit}`, "correct the unit"];
    }
    isElsewhere = own ? (x) => within(x) && !isOwn(x) : within;
  }
  const impossible = count(numbers, (x) => !isOwn(x) && !isElsewhere(x) && x !== 0);
  if (impossible) {
    yield [
      "implausible",
      `${impossible} values of ${item.name} are outside ${measure.low} to ${measure.high} ${measure.unit}`,
      'check the unit and codes for missing; correct them, or set "outOfRange" to "missing"',
    ];
  }
}
