// Codes confined to the declared range: an error, the nearest bound, or missing, as the field says.
//
// The last step for every field, read or derived. A field that others are derived from keeps its exact values beside its
// codes, bounded in the same way.

import { Unreadable } from "./values.js";

const OUT_OF_RANGE = new Unreadable(
  "out_of_range",
  "the value lies outside minimum and maximum",
  'correct it, widen the range, or set "outOfRange" to "clamp" or "missing"',
);
const OUTSIDE_CUT = new Unreadable(
  "out_of_range",
  "the value lies in no interval of the cut",
  'correct it, add an edge or an open end (null), or set "outOfRange" to "missing"',
);

/**
 * The column within its range; null if the field takes a value outside for an error.
 *
 * codes are -1 below and `codes` above the range; `place(outside)` names where the values of those patients stand;
 * `complain(outside, reason)` names every row of theirs, without it an error counts them.
 */
export function ranged(item, codes, present, exact, report, trace, place, complain = null) {
  const size = item.codes;
  const outside = [];
  let there = 0;
  let below = 0;
  for (let p = 0; p < codes.length; p++) {
    if (!present[p]) continue;
    there += 1;
    if (codes[p] < 0) below += 1;
    if (codes[p] < 0 || codes[p] >= size) outside.push(p);
  }
  Object.assign(trace, { present: there, below, above: outside.length - below });
  if (outside.length) {
    const beyond = item.cut.length ? "all intervals of the cut" : "minimum and maximum";
    const message = `${outside.length} values of ${item.name} lie outside ${beyond}`;
    if (item.outOfRange === "error") {
      const reason = item.cut.length ? OUTSIDE_CUT : OUT_OF_RANGE;
      if (complain) complain(outside, reason);
      else report.error(reason.rule, message, reason.remedy, { column: item.source });
      return null;
    }
    const clamped = item.outOfRange === "clamp";
    report.warning(
      clamped ? "clamped" : "out_of_range_missing",
      `${message} and are ${clamped ? "moved to the nearest bound" : "missing"}`,
      "check that these are not errors of units or codes for missing",
      place(outside),
    );
    for (const p of outside) {
      if (!clamped) present[p] = 0;
      else if (exact) exact[p] = codes[p] < 0 ? item.minimum : item.maximum;
    }
  }
  for (let p = 0; p < codes.length; p++) {
    if (!present[p]) {
      codes[p] = 0;
      if (exact) exact[p] = null;
    } else codes[p] = Math.min(Math.max(codes[p], 0), size - 1);
  }
  return { codes, present, exact };
}
