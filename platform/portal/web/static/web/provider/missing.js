// Texts that stand for no value: "NA" and its kin by what they say, 99 and its kin by standing apart.
//
// A guess for a person to confirm. A code counts only where it is the largest or smallest value of its column and lies far
// from all others, or far more often at its place than its neighbours.

import { compareDecimals, fraction, fractions, keyOf, subtract, whole } from "./decimal.js";
import { SENTINELS } from "./suspicion.js";
import { casefold } from "./text.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const NOTHING = new Set(["", ".", "na", "n/a", "n.a.", "#n/a", "nan", "null", "<na>", "._", ...Array.from(LETTERS, (x) => `.${x}`)]);
const UNSAID = new Set([
  ...NOTHING, "none", "nil", "-", "--", "---", "?", "unknown", "unk", "missing", "not known", "not done", "not available", "nd",
  "n.d.", "nr",
]);
const NEAREST = 10;

/** The texts that say in words that there is no value; among numbers more words do than among levels. */
export function saysNothing(texts, number) {
  const known = number ? UNSAID : NOTHING;
  return new Set([...texts].filter((text) => known.has(casefold(text))));
}

/** Values like 99 and -9 that stand apart; `counts` is a Map of keyOf to { value, rows }. Returns their keys, ascending. */
export function standingApart(counts) {
  let left = [...counts.values()].sort((a, b) => compareDecimals(a.value, b.value));
  const found = [];
  while (left.length > 2) {
    const ends = [
      [left.at(-1), left.slice(0, -1).reverse()],
      [left[0], left.slice(1)],
    ];
    const apart = ends.find(([end, rest]) => SENTINELS.has(keyOf(end.value)) && isApart(end, rest));
    if (!apart) break;
    found.push(apart[0]);
    left = left.filter((one) => one !== apart[0]);
  }
  return found.sort((a, b) => compareDecimals(a.value, b.value)).map(({ value }) => keyOf(value));
}

/** Whether an extreme value stands apart from `rest`, which is sorted from the nearest on. */
function isApart({ value, rows }, rest) {
  const distance = (x, y) => {
    const { p, q } = fraction(subtract(x, y));
    return { p: p < 0n ? -p : p, q };
  };
  const gap = distance(value, rest[0].value);
  const spread = distance(rest.at(-1).value, rest[0].value);
  const above = (x, y) => fractions.compare(x, y) > 0;
  const number = (n) => fraction(whole(n));
  if (value.n < 0n && rest[0].value.n >= 0n) return true;
  if (above(gap, above(spread, number(1)) ? spread : number(1))) return true;
  const listed = fractions.compare(spread, number(rest.length - 1)) === 0 && rest.length <= 12; // 1, 2, 3, 4 and then 9
  if (listed && fractions.compare(gap, number(2)) >= 0) return true;
  const usual = Math.max(...rest.slice(0, NEAREST).map((other) => other.rows));
  const wide = above(fractions.multiply(gap, number(rest.length - 1)), fractions.multiply(spread, number(2)));
  return rest.length > 4 && wide && rows >= 3 * usual;
}
