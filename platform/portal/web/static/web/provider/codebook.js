// A codebook: the public columns of a dataset, the provider's policy, and the layout of shared planes.
//
//     const { schema, codebook } = parseCodebook(loadCodebook(text));
//     await schema.hash(); schema.field("bmi").bits; schema.planeNames
//
// A codebook is complete and right or it is rejected with every problem listed. Its numbers are exact and kept as
// decimal text, so that its hash is the same here, on the portal and at every party.

import { asNumber, decimalText } from "./decimal.js";
import { checkOperands, notConfirmed, readField, readKey } from "./fields.js";
import { canonical, digest, isInteger, isObject, NotJson, parseJson, Written } from "./json.js";
import { nearest } from "./nearest.js";
import { Reader } from "./problems.js";
import { SPELLINGS, STATISTICS } from "./statistics.js";
import { head, length, normalForm, strip } from "./text.js";
import { dayNumber, dayText } from "./values.js";

export const DEFAULT_CAPACITY = 4096;
export const LARGEST_CAPACITY = 2 ** 24;
export const MOST_FIELDS = 512;
const DEEPEST = 20;
const LONGEST_CODEBOOK = 4 * 2 ** 20;
const MICRO = 1_000_000n;
const LARGEST_BUDGET = 1000n * MICRO;

const TOP = ["primaryKey", "fields", "policy", "capacity", "facts", "name", "title", "description", "$schema", "local"];
const POLICY = ["epsilon", "epsilon_per_query", "minimum_cohort", "modes", "statistics", "expires"];

/** The codebook breaks rules; `problems` lists every one as {place, rule, message, remedy}. */
export class CodebookProblem extends Error {
  constructor(problems) {
    const [first] = problems;
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
    super(`${first.where}: ${first.message}: ${first.remedy}${more}`);
    this.name = "CodebookProblem";
    this.problems = problems.map(({ where, ...said }) => ({ place: where, ...said }));
    Object.assign(this, { place: first.where, rule: first.rule, remedy: first.remedy });
  }
}

/** A valid codebook. `codebook` is its canonical form; `policy` is as in a manifest; `warnings` do not reject. */
export class Schema {
  constructor(settings) {
    Object.assign(this, settings);
  }

  /** The field of exactly this name, or undefined. */
  field(name) {
    return this.fields.find((item) => item.name === name);
  }

  /** [column, part] of every plane in order: valid, then each field's bits (lowest first) and presence. */
  get planeNames() {
    const names = [["", "valid"]];
    for (const { name, bits } of this.fields) {
      for (let bit = 0; bit < bits; bit++) names.push([name, bit]);
      names.push([name, "present"]);
    }
    return names;
  }

  /** The object whose digest fixes which plane is which in a shared table. */
  get layout() {
    return { type: "fourfold/1/layout", planes: this.planeNames, capacity: this.capacity };
  }

  /** SHA-256 of the canonical codebook, hex. */
  hash() {
    return digest(this.codebook);
  }

  layoutHash() {
    return digest(this.layout);
  }
}

/** The JSON object in a text or its bytes: decimals exact, a key at most once. Raises CodebookProblem. */
export function loadCodebook(text) {
  try {
    if (typeof text !== "string") {
      if (text.byteLength > LONGEST_CODEBOOK) throw new NotJson("the codebook is larger than 4 MiB");
      text = decoded(text);
    } else if (text.length > LONGEST_CODEBOOK && length(text) > LONGEST_CODEBOOK) {
      throw new NotJson("the codebook is larger than 4 MiB");
    }
    const obj = parseJson(text.startsWith("\ufeff") ? text.slice(1) : text);
    if (isObject(obj)) return obj;
  } catch (wrong) {
    if (!(wrong instanceof NotJson)) throw wrong;
    throw rejected("json", `this is not JSON: ${wrong.message}`, "correct the text");
  }
  throw rejected("json", "a codebook is a JSON object", "write { ... }");
}

function decoded(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new NotJson("the text is not UTF-8");
  }
}

/** The codebook with every number that is no integer as its decimal text: no floats, one hash. */
export function canonicalCodebook(obj, depth = 0) {
  if (depth > DEEPEST) throw rejected("too_deep", `a codebook is nested at most ${DEEPEST} deep`, "flatten it");
  if (obj instanceof Written || (typeof obj === "number" && !isInteger(obj))) {
    const number = asNumber(obj instanceof Written ? obj.text : String(obj));
    if (number === null) {
      throw rejected("not_a_number", "a number has no finite decimal text of up to 20 digits", "correct it");
    }
    return decimalText(number);
  }
  if (Array.isArray(obj)) return obj.map((item) => canonicalCodebook(item, depth + 1));
  if (isObject(obj)) {
    const exact = Object.create(null);
    for (const [key, item] of Object.entries(obj)) {
      if (item !== undefined) exact[key] = canonicalCodebook(item, depth + 1);
    }
    return exact;
  }
  return obj;
}

/** The schema that a codebook declares, and its canonical form. Raises CodebookProblem with every problem. */
export function parseCodebook(obj) {
  if (!isObject(obj)) throw rejected("json", "a codebook is a JSON object", "write { ... }");
  const problems = [];
  const codebook = canonicalCodebook(obj);
  const reader = new Reader(codebook, "", problems);
  reader.only(TOP, { missingValues: "write missingValues in each field that needs it" });
  notConfirmed(reader);
  const [primaryKey, fields] = readFields(reader, readPrimaryKey(reader));
  const policy = readPolicy(reader);
  const facts = reader.has("facts") ? reader.obj.facts : {};
  if (!isObject(facts)) reader.report("facts", "not_an_object", "facts is an object", "write { ... }");
  const capacity = reader.whole("capacity", DEFAULT_CAPACITY, 1, LARGEST_CAPACITY);
  if (!problems.length) refuseBroken(codebook);
  const title = reader.text("title") || reader.text("name");
  if (problems.length) throw new CodebookProblem(problems);
  const description = reader.has("description") ? String(codebook.description) : "";
  const warnings = warningsOf(fields);
  const schema = new Schema({ fields, primaryKey, capacity, policy, facts, codebook, title, description, warnings });
  return { schema, codebook };
}

function refuseBroken(codebook) {
  try {
    canonical(codebook);
  } catch (wrong) {
    if (!(wrong instanceof RangeError)) throw wrong;
    throw rejected("bad_text", "a text is no valid Unicode", "remove unpaired surrogates");
  }
}

function rejected(rule, message, remedy) {
  return new CodebookProblem([{ where: "codebook", rule, message, remedy }]);
}

function readPrimaryKey(reader) {
  let value = reader.get("primaryKey");
  if (value === null) {
    reader.report("primaryKey", "required", "primaryKey is required", 'write "primaryKey": "patient_id"');
    return "";
  }
  if (Array.isArray(value) && value.length === 1) [value] = value;
  if (typeof value !== "string" || !value) {
    reader.report("primaryKey", "bad_key", "primaryKey is one column, as text or a list of one text", 'write "patient_id"');
    return "";
  }
  return reader.name("primaryKey", value) ? value : "";
}

/** The key's raw column, and the shared fields; names and titles are checked against each other. */
function readFields(reader, key) {
  const entries = reader.listed("fields", MOST_FIELDS);
  if (entries === null) {
    if (reader.get("fields") === null) reader.report("fields", "required", "fields is required", 'write "fields": [ ... ]');
    return [key, []];
  }
  const found = [];
  const taken = new Map();
  let source = key;
  entries.forEach((entry, number) => {
    const name = isObject(entry) ? entry.name : null;
    const short = typeof name === "string" && name && length(name) < 100;
    const one = Reader.of(entry, short ? `fields.${name}` : `fields[${number}]`, reader.problems);
    if (isObject(entry) && !Object.keys(one.obj).length) {
      one.report("", "required", "name and type are required", 'write {"name": ..., "type": ...}');
      return;
    }
    if (name === key && name) {
      source = readKey(one);
      return;
    }
    const item = readField(one);
    if (!item) return;
    for (const said of new Set([item.name, item.title])) {
      const form = normalForm(said);
      if (!taken.has(form)) taken.set(form, number);
      if (taken.get(form) !== number) {
        const message = `${said} is read like the name or title of fields[${taken.get(form)}]`;
        one.report("name", "ambiguous_name", message, "rename one of them");
      }
    }
    found.push(item);
  });
  if (!found.length && !reader.problems.length) {
    reader.report("fields", "required", "there is no column besides the key", "list at least one field");
  }
  checkEvents(reader, found);
  checkOperands(reader, found);
  return [source, found];
}

function checkEvents(reader, fields) {
  const categories = fields.filter((item) => item.kind === "category").map((item) => item.name);
  for (const item of fields) {
    if (item.event === null || categories.includes(item.event)) continue;
    const [near] = nearest(item.event, categories, normalForm);
    new Reader({}, `fields.${item.name}`, reader.problems).report(
      "event",
      "unknown_event",
      `${item.event} is no field with categories`,
      near ? `write ${near}` : "write the name of a field with categories",
    );
  }
}

// -- policy ----------------------------------------------------------------------------------------------------

function readPolicy(reader) {
  if (reader.get("policy") === null) {
    reader.report("policy", "required", "policy is required", 'write "policy": {"epsilon": "10", ...}');
    return {};
  }
  const inner = reader.at("policy");
  inner.only(POLICY);
  const modes = readWords(inner, "modes", ["dp"], ["dp", "exact"], {});
  const total = readEpsilon(inner, "epsilon", modes.includes("dp") ? null : 0);
  const each = readEpsilon(inner, "epsilon_per_query", Math.min(total ?? 0, Number(MICRO)));
  if (total !== null && each !== null && each > total) {
    inner.report("epsilon_per_query", "exceeds_budget", "one query may not have more than all together", "lower it");
  }
  return {
    micro_epsilon: total,
    micro_epsilon_per_query: each,
    minimum_cohort: inner.whole("minimum_cohort", 11, 1, LARGEST_CAPACITY),
    modes,
    statistics: readWords(inner, "statistics", ["*"], ["*", ...STATISTICS], SPELLINGS),
    expires: readExpires(inner),
  };
}

function readEpsilon(reader, key, standard) {
  const value = reader.get(key);
  if (value === null) {
    if (standard === null) reader.report(key, "required", `${key} is required in dp mode`, `write "${key}": "1"`);
    return standard;
  }
  const [micro, code, message] = microEpsilon(value);
  if (micro === null) reader.report(key, code, message, 'write a decimal text such as "1.5"');
  return micro;
}

/** [millionths of the epsilon that a text or a JSON integer spells], or [null, rule, message]. */
function microEpsilon(value) {
  const invalid = (message) => [null, "epsilon_invalid", message];
  let text = "?";
  if (typeof value === "string") text = length(value) <= 100 ? strip(value) : "?";
  else if (isInteger(value)) text = BigInt(value).toString();
  if (/^-[0-9.]+$/.test(text)) return invalid("epsilon must be positive");
  const found = /^(?:\+?([0-9]{1,20})(?:\.([0-9]{0,40}))?|\+?\.([0-9]{1,40}))$/.exec(text);
  if (!found) return invalid('epsilon is a plain decimal number, such as "0.5"');
  const places = (found[2] || found[3] || "").replace(/0+$/, "");
  if (places.length > 6) return invalid("epsilon has at most six decimal places");
  const micro = BigInt(found[1] ?? "0") * MICRO + BigInt(places.padEnd(6, "0"));
  if (micro === 0n) return invalid("epsilon must be positive");
  if (micro > LARGEST_BUDGET) {
    return [null, "epsilon_too_large", `epsilon is at most ${epsilonText(Number(LARGEST_BUDGET))}`];
  }
  return [Number(micro)];
}

/** The shortest decimal text of millionths: 1500000 is "1.5". */
export function epsilonText(micro) {
  return decimalText({ n: BigInt(micro), e: -6 });
}

function readWords(reader, key, standard, known, aliases) {
  const entries = reader.listed(key, 100);
  if (entries === null) return standard;
  const found = new Set();
  for (const entry of entries) {
    const word = typeof entry === "string" && Object.hasOwn(aliases, entry) ? aliases[entry] : entry;
    if (known.includes(word)) {
      found.add(word);
      continue;
    }
    const said = head(typeof entry === "string" ? entry : canonical(entry), 100);
    const [near] = nearest(said, known);
    const remedy = near ? `write ${near}` : `known are ${known.join(", ")}`;
    reader.report(key, "unknown_choice", `${said} is not known here`, remedy);
  }
  return found.has("*") ? ["*"] : [...found].sort();
}

function readExpires(reader) {
  const value = reader.text("expires", "", true);
  if (!value) return "";
  const day = anyIsoDay(value);
  if (day !== undefined) return dayText(day);
  reader.report("expires", "not_a_date", "expires is a day", 'write it as "2030-01-31"');
  return "";
}

/** The number of a day in any form of ISO 8601: 2030-01-31, 20300131, 2030-W05-4, 2030W05. */
function anyIsoDay(text) {
  let found = /^([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})$/.exec(text);
  if (found) return dayNumber(Number(found[1]), Number(found[3]), Number(found[4]));
  found = /^([0-9]{4})(-?)W([0-9]{2})(?:\2([0-9]))?$/.exec(text);
  if (!found) return undefined;
  const [year, week, weekday] = [Number(found[1]), Number(found[3]), Number(found[4] ?? 1)];
  const january4 = dayNumber(year, 1, 4);
  if (january4 === undefined || weekday < 1 || weekday > 7 || week < 1) return undefined;
  const monday = january4 - ((january4 + 6) % 7); // day 1 is a Monday
  const day = monday + 7 * (week - 1) + weekday - 1;
  const next = dayNumber(year + 1, 1, 4);
  const end = next === undefined ? Number.POSITIVE_INFINITY : next - ((next + 6) % 7);
  return day - weekday + 1 < end && day >= 1 && day <= 3652059 ? day : undefined;
}

// -- warnings --------------------------------------------------------------------------------------------------

function warningsOf(fields) {
  const found = [];
  const flags = new Set(fields.filter((item) => item.occurred !== null).map((item) => item.name));
  for (const item of fields) {
    const inner = new Reader({}, `fields.${item.name}`, found);
    if (item.kind === "number" && 4 * 2 ** item.bits > 5 * item.codes) {
      inner.report(
        "resolution",
        "unused_codes",
        `${item.codes} codes are declared, ${item.bits} bits hold ${2 ** item.bits}: noise grows with the bits`,
        "choose bounds and resolution so that the codes come close to a power of two",
      );
    }
    if (item.role === "time" && item.event === null) {
      inner.report("event", "no_event", "a time without its flag is never censored", 'write "event"');
    }
    if (item.role === "event" && item.occurred === null) {
      inner.report("occurred", "no_occurred", "no level is named that means the event", 'write "occurred"');
    }
    if (item.event !== null && !flags.has(item.event)) {
      inner.report("event", "no_occurred", `${item.event} names no level that means the event`, 'write "occurred" there');
    }
  }
  return found;
}
