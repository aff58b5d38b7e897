// What is allowed and yet looks wrong: warnings for a person, who knows the study. Nothing here stops an upload.
//
// Fields one by one here; what no patient can have in `plausible`, what cannot both be right in `contradiction`.

import { contradictions } from "./contradiction.js";
import { keyOf, whole } from "./decimal.js";
import { isObject } from "./json.js";
import { implausible } from "./plausible.js";

const MOST_NAMED = 5;
export const SENTINELS = new Set([9, 99, 999, 9999, 99999].flatMap((n) => [keyOf(whole(n)), keyOf(whole(-n))]));

/** Warn of empty fields, of values that look like codes for "not known", of times without their event. */
export function suspectValues(schema, encoded, report) {
  const { columns, patients } = encoded;
  for (const item of schema.fields) {
    const column = columns[item.name];
    if (!column) continue;
    const place = { column: item.source };
    if (!column.present.includes(1)) {
      const remedy = 'check "where", "missingValues" and the key of the file';
      report.warning("all_missing", `no patient has a value of ${item.name}`, remedy, place);
    } else if (item.kind === "number" && hasSentinel(item, column)) {
      report.warning(
        "sentinel",
        `the extreme value of ${item.name} stands apart and looks like a code for "not known"`,
        'list it in "missingValues" if it is one',
        place,
      );
    }
    const event = item.role === "time" && columns[item.event];
    if (event) sayEventMissing(item, column, event, patients, report);
  }
  saySources(schema, report);
  const numbers = new Map();
  for (const item of schema.fields) if (columns[item.name]) numbers.set(item.name, numbersOf(item, columns[item.name]));
  for (const item of schema.fields) {
    const present = (numbers.get(item.name) ?? new Float64Array(0)).filter((value) => !Number.isNaN(value));
    for (const [rule, message, remedy] of implausible(item, present)) {
      report.warning(rule, message, remedy, { column: item.source });
    }
  }
  for (const [rule, message, remedy, source] of contradictions(schema.fields, columns, numbers)) {
    report.warning(rule, message, remedy, { column: source || null });
  }
}

function sayEventMissing(item, column, event, patients, report) {
  let without = 0;
  for (let p = 0; p < patients; p++) without += column.present[p] && !event.present[p] ? 1 : 0;
  if (!without) return;
  report.warning(
    "event_missing",
    `${without} of ${patients} patients have ${item.name} but no ${item.event}: no survival time`,
    "check the event's column, or recode what means no event",
    { column: item.source },
  );
}

function saySources(schema, report) {
  const { sources } = schema.facts;
  if (!isObject(sources)) return;
  const empty = Object.keys(sources).filter((name) => sources[name] === "");
  if (!empty.length) return;
  report.warning(
    "no_source",
    `facts.sources is empty for ${empty.slice(0, MOST_NAMED).join(", ")}${empty.length > MOST_NAMED ? " and more" : ""}`,
    "cite the protocol's section or the clinical convention that the bounds and levels come from",
  );
}

/** The values of a number, NaN where missing; all NaN for a category. Near enough to compare. */
export function numbersOf(item, { codes, present }) {
  if (item.kind !== "number") return new Float64Array(codes.length).fill(Number.NaN);
  const { minimum, resolution } = item.floats;
  return codes.map((code, p) => (present[p] ? minimum + resolution * code : Number.NaN));
}

/** Whether the largest or smallest value is 99 and the like, and far from all others. */
function hasSentinel(item, { codes, present }) {
  const distinct = [...new Set(codes.filter((_, p) => present[p]))].sort((a, b) => a - b);
  if (distinct.length < 5) return false;
  const spread = distinct.at(-2) - distinct[1] + 1;
  const ends = [[distinct.at(-1), distinct.at(-2)], [distinct[0], distinct[1]]];
  return ends.some(([end, near]) => SENTINELS.has(keyOf(item.value(end))) && Math.abs(end - near) > spread);
}
