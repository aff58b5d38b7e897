// One field of a codebook, from JSON to a Field, with every fault reported.
//
// A number lives on the public lattice minimum + k * resolution and is shared as the bits of k; a category is shared
// as the position of its level. Names are Frictionless Table Schema v2 where they exist.

import {
  add, adjusted, asNumber, compareDecimals, decimal, decimalText, equal, floorDivide, fraction, isFraction, isWhole,
  multiply, shown, subtract, toFloat, whole,
} from "./decimal.js";
import { isInteger, isObject } from "./json.js";
import { nearest } from "./nearest.js";
import { exact, Reader } from "./problems.js";
import { head, longer, normalForm } from "./text.js";
import { dayNumber, isoDay } from "./values.js";

const HOWS = ["only", "first", "min", "max", "any", "all", "count"];
const DERIVES = ["difference", "ratio", "scale", "any"];
const MOST_LEVELS = 1024;
const MOST_BITS = 32;
const MOST_EDGES = 256;
const MOST_OPERANDS = 64;
const YES_NO = [{ value: "no", label: "no" }, { value: "yes", label: "yes" }];
const EXAMPLES = {
  difference: '{"difference": ["end", "start"]}',
  ratio: '{"ratio": ["weight", "height"]}',
  scale: '{"scale": ["weight_lb", "0.45359237"]}',
  any: '{"any": ["diabetes", "hypertension"]}',
};

const READ = ["source", "file", "sheet", "missingValues", "recodes", "where", "reduce"];
const COMMON = ["name", "title", "description", "type", "derive", "cut", "outOfRange", "role", ...READ];
const NUMBER = ["unit", "constraints", "resolution", "grid", "event", "decimalChar"];
const CATEGORY = ["categories", "occurred"];
const LOCAL = ["local"];
const KEY = ["name", "title", "description", "type", "source", "constraints"];
const DAYS_SINCE = /^days since ([0-9]{4}-[0-9]{2}-[0-9]{2})$/;

const ZERO = whole(0);

/** One shared column. `kind` is number or category; `type` is number, integer or category. */
export class Field {
  constructor(settings) {
    Object.assign(
      this,
      {
        unit: "", minimum: null, maximum: null, resolution: null, levels: [], description: "", file: null, sheet: null,
        decimalChar: null, missingValues: [""], recodes: new Map(), where: null, reduce: null, derive: null, cut: [],
        grid: [], outOfRange: "error", role: null, event: null, occurred: null,
      },
      settings,
    );
  }

  /** Whether a text of its column is read as a number: a number's own, or one that is then cut. */
  get readsNumber() {
    return this.kind === "number" || this.cut.length > 0;
  }

  /** The number of the day from which a unit such as "days since 2020-01-31" counts; null for any other unit. */
  get since() {
    const found = DAYS_SINCE.exec(this.unit);
    return found ? isoDay(found[1]) : null;
  }

  /** The level value of a flag that says yes: `occurred`, else the level written or labelled yes. */
  get yes() {
    const said = this.levels.find((x) => [normalForm(x.value), normalForm(x.label)].includes("yes"));
    return this.occurred ?? said?.value ?? null;
  }

  /** How many codes are declared: 0 to codes - 1. */
  get codes() {
    if (this.kind === "category") return this.levels.length;
    this.counted ??= Number(this.code(this.maximum)) + 1;
    return this.counted;
  }

  /** Planes that a code takes: the least b >= 1 with 2**b >= codes. */
  get bits() {
    return Math.max(1, BigInt(this.codes - 1).toString(2).length);
  }

  /** floor((value - minimum) / resolution + 1/2), a BigInt; the value is a decimal or a fraction. */
  code(value) {
    this.lattice ??= { minimum: fraction(this.minimum), resolution: fraction(this.resolution) };
    const { p, q } = isFraction(value) ? value : fraction(value);
    const { minimum, resolution } = this.lattice;
    // (p/q - a/b) / (r/s) + 1/2 over one denominator.
    const above = 2n * (p * minimum.q - minimum.p * q) * resolution.q + q * minimum.q * resolution.p;
    return floorDivide(above, 2n * q * minimum.q * resolution.p);
  }

  /** The number that a code stands for, exactly. */
  value(code) {
    return add(this.minimum, multiply(whole(code), this.resolution));
  }

  /** Whether a code stands for exactly this decimal. */
  holds(code, value) {
    const scaled = this.scaledTo(value.e);
    const [own, other] = [scaled.minimum + code * scaled.resolution, Number(value.n) * scaled.value];
    if (Math.abs(own) < 2 ** 51 && Math.abs(other) < 2 ** 51) return own === other;
    return equal(this.value(code), value);
  }

  /** The level of a number that is cut; -1 below all edges, the number of levels at or above the last. */
  interval(value) {
    const exactValue = isFraction(value) ? value : fraction(value);
    const inner = this.cut.filter((edge) => edge !== null);
    let below = 0;
    for (const edge of inner) {
      const { p, q } = fraction(edge);
      if (p * exactValue.q <= exactValue.p * q) below += 1;
    }
    return below - (this.cut[0] !== null ? 1 : 0);
  }

  /** The code confined to -1 below and `codes` above the declared range. A category's value is its position. */
  codeIn(value) {
    if (this.cut.length) return this.interval(value);
    if (this.kind === "category") return Number(value.n);
    const quick = this.quickCode(value);
    if (quick !== null) return Math.max(-1, Math.min(quick, this.codes));
    const code = this.code(value);
    return code < 0n ? -1 : code > BigInt(this.codes) ? this.codes : Number(code);
  }

  /** `code` in whole numbers that a float holds exactly; null where they would be too large. A column has many values. */
  quickCode({ n, e, q }) {
    if (q !== undefined) return null;
    const scaled = this.scaledTo(e);
    const above = 2 * (Number(n) * scaled.value - scaled.minimum) + scaled.resolution;
    if (!(Math.abs(above) < 2 ** 51)) return null;
    const step = 2 * scaled.resolution;
    const quotient = Math.floor(above / step);
    const rest = above - quotient * step; // the division may have been rounded up to a whole number, or down from one
    return rest < 0 ? quotient - 1 : rest >= step ? quotient + 1 : quotient;
  }

  /** What a value of exponent e, the minimum and the resolution are multiplied to: one power of ten for all; NaN if large. */
  scaledTo(e) {
    this.scales ??= new Map();
    if (!this.scales.has(e)) {
      const least = Math.min(e, this.minimum.e, this.resolution.e);
      const number = ({ n, e: own }) => {
        const product = own - least > 20 ? Number.NaN : Number(n * 10n ** BigInt(own - least));
        return Number.isSafeInteger(product) ? product : Number.NaN;
      };
      this.scales.set(e, {
        value: number({ n: 1n, e }),
        minimum: number(this.minimum),
        resolution: number(this.resolution),
      });
    }
    return this.scales.get(e);
  }

  /** Minimum and resolution as floats, for pictures and warnings only. */
  get floats() {
    return { minimum: toFloat(this.minimum), resolution: toFloat(this.resolution) };
  }
}

/** The raw column of a primary key that is listed as a field; it is never shared. */
export function readKey(reader) {
  reader.only(KEY, { categories: "a key is not a category: remove it from primaryKey or from here" });
  reader.at("constraints").only(["required", "unique"]);
  const name = reader.text("name");
  return reader.text("source", name);
}

/** The field, or null if it lacks what any column needs; everything wrong is reported. */
export function readField(reader) {
  const name = reader.text("name", "", true);
  const kind = kindOf(reader);
  notConfirmed(reader);
  if (kind === null || !name) {
    reader.only([...COMMON, ...NUMBER, ...CATEGORY, ...LOCAL]);
    return null;
  }
  onlyKnown(reader, kind);
  if (!normalForm(name)) reader.report("name", "bad_text", "a name needs a letter or digit", "choose another name");
  const source = reader.text("source", name);
  const derive = readDerive(reader, kind);
  const cut = readCut(reader, kind);
  const reduce = readReduce(reader, cut ? "number" : kind, source);
  const made = cut ? cut.levels : answers(reader) ? YES_NO : null;
  const shape = kind === "number" ? readNumber(reader, name) : readCategory(reader, made);
  if (shape === null) return null;
  if (cut && shape.levels.length !== cut.levels.length) {
    reader.report(
      "categories",
      "cut_levels",
      `cut makes ${cut.levels.length} levels, categories names ${shape.levels.length}`,
      "name one category for each interval, in order, or leave categories out",
    );
  }
  if (reader.get("sheet") !== null && !reader.get("file")) {
    reader.report("sheet", "sheet_without_file", "sheet says nothing without its file", 'write "file"');
  }
  const ranges = kind === "number" ? ["error", "clamp", "missing"] : ["error", "missing"];
  const item = new Field({
    name,
    title: reader.text("title", name),
    description: prose(reader, "description"),
    kind,
    source,
    file: reader.text("file") || null,
    sheet: reader.text("sheet") || null,
    decimalChar: reader.choice("decimalChar", [".", ","], null),
    missingValues: readMissingValues(reader),
    recodes: readRecodes(reader, cut ? {} : shape),
    where: reader.predicate("where"),
    reduce,
    derive,
    cut: cut ? cut.edges : [],
    outOfRange: reader.choice("outOfRange", ranges, "error"),
    role: reader.choice("role", kind === "number" ? ["time"] : ["event"], null),
    event: (kind === "number" && reader.text("event")) || null,
    occurred: readOccurred(reader, shape),
    ...shape,
  });
  if (reduce) reduce.default = readDefault(reader.at("reduce"), item);
  return item;
}

function onlyKnown(reader, kind) {
  const hints = {};
  if (reader.has("derive")) for (const key of READ) hints[key] = "a derived field reads fields, no column: remove it";
  for (const key of [...NUMBER, ...CATEGORY]) hints[key] = `${key} is not for a ${kind}: remove it`;
  let known = [...COMMON, ...(kind === "number" ? NUMBER : CATEGORY), ...LOCAL];
  if (kind === "category" && reader.has("cut")) known.push("decimalChar");
  if (reader.has("derive")) known = known.filter((key) => !READ.includes(key) && key !== "decimalChar");
  reader.only(known, hints);
}

/** What a draft read from values stays local until a person has looked at it. */
export function notConfirmed(reader) {
  if (!reader.has("local")) return;
  const named = reader.obj.local;
  const said = Array.isArray(named) ? named.map((key) => head(String(key), 100)) : [];
  reader.report(
    "local",
    "not_confirmed",
    `confirm each level and bound: ${said.join(", ") || "something"} was read from the data`,
    'compare with the protocol, correct what differs, then remove "local"',
  );
}

function kindOf(reader) {
  const said = reader.text("type", "", true);
  const answered = answers(reader) !== null || reader.has("cut");
  if (said === "string" || said === "category") {
    if (!reader.has("categories") && !answered) {
      reader.report(
        "categories",
        "required",
        "a text column needs its list of levels: free text is never shared",
        'write "categories": [{"value": "...", "label": "..."}]',
      );
      return null;
    }
    return "category";
  }
  if (said === "integer" && (reader.has("categories") || answers(reader))) return "category";
  if (said === "number" || said === "integer") return "number";
  if (said) {
    reader.report(
      "type",
      "unknown_type",
      "a shared column is number, integer, string or category",
      "for dates write days since a reference date; for yes and no write string with categories",
    );
  }
  return null;
}

// -- numbers ---------------------------------------------------------------------------------------------------

function readNumber(reader, name) {
  const bounds = reader.at("constraints");
  bounds.only(["minimum", "maximum"]);
  const said = String(reader.obj.type);
  const found = {};
  for (const key of ["minimum", "maximum"]) {
    const value = bounds.decimal(key);
    if (value !== null) found[key] = value;
    else if (bounds.get(key) === null) {
      bounds.report(
        key,
        "required",
        `a ${said} needs its ${key}: bounds are public and come from the protocol, never from the data`,
        `write "constraints": {"${key}": ...}`,
      );
    }
  }
  let step = reader.decimal("resolution");
  if (!found.minimum || !found.maximum || (step === null && reader.get("resolution") !== null)) return null;
  const { minimum, maximum } = found;
  if (compareDecimals(minimum, maximum) >= 0) {
    bounds.report("", "empty_range", "minimum is not below maximum", "correct the bounds");
    return null;
  }
  const width = subtract(maximum, minimum);
  step ??= said === "integer" ? whole(1) : { n: 1n, e: adjusted(width) - 3 };
  if (step.n <= 0n || compareDecimals(step, width) > 0) {
    reader.report("resolution", "bad_resolution", "resolution is not above 0 and within the range", "write a smaller step");
    return null;
  }
  if (said === "integer" && ![minimum, maximum, step].every(isWhole)) {
    reader.report("type", "not_whole", "bounds and resolution of an integer are whole numbers", 'write "type": "number"');
  }
  const field = new Field({ name, kind: "number", type: said, minimum, maximum, resolution: step });
  if (field.bits > MOST_BITS) {
    reader.report("resolution", "too_fine", `a column has at most ${MOST_BITS} bits, this has ${field.bits}`, "use a coarser one");
    return null;
  }
  const unit = reader.text("unit");
  if (new Field({ unit }).since === undefined) {
    reader.report("unit", "not_a_date", "the unit names no day", 'write "days since 2020-01-31"');
  }
  return { grid: readGrid(reader, field), type: said, unit: reader.text("unit"), minimum, maximum, resolution: step };
}

/** The edges between the cells; the bounds themselves may be listed at the ends and say nothing new. */
function readGrid(reader, field) {
  const entries = reader.listed("grid", MOST_EDGES);
  if (entries === null) return [];
  const edges = entries.map(exact).filter((edge) => edge !== null);
  const { minimum: low, maximum: high } = field;
  const said = `${decimalText(low)} to ${decimalText(high)}${` ${reader.text("unit")}`.trimEnd()}`;
  const inner = edges.filter((edge) => !equal(edge, low) && !equal(edge, high));
  const outside = inner.filter((edge) => compareDecimals(edge, low) <= 0 || compareDecimals(edge, high) >= 0);
  const nearestValue = (edge) => field.value(field.code(edge));
  const between = inner.filter((edge) => !equal(nearestValue(edge), edge));
  let message = "";
  let remedy = `list edges such as [${decimalText(field.value(Math.floor(field.codes / 2)))}]`;
  if (edges.length < entries.length) message = "a grid lists numbers";
  else if (edges.some((edge, n) => n && compareDecimals(edge, edges[n - 1]) <= 0)) {
    [message, remedy] = ["the edges of a grid ascend", "sort them, and list each once"];
  } else if (outside.length) {
    message = `${decimalText(outside[0])} is outside the range of ${said}`;
    remedy = "remove it, or correct the bounds";
  } else if (between.length) {
    message = `${decimalText(between[0])} is between two values of this column: its step is ${shown(field.resolution)}`;
    remedy = `write ${decimalText(nearestValue(between[0]))}`;
  } else if (!inner.length) message = `no edge lies between the ends of ${said}`;
  if (!message) return inner;
  reader.report("grid", "bad_grid", message, remedy);
  return [];
}

// -- categories ------------------------------------------------------------------------------------------------

/** The levels that are listed, or else `made`: those that the field's own computation gives. */
function readCategory(reader, made) {
  if (made !== null && !reader.has("categories")) return { type: "category", levels: made };
  const entries = reader.listed("categories", MOST_LEVELS);
  if (entries === null) {
    if (reader.get("categories") === null) {
      reader.report("categories", "not_a_list", "categories is a list", "write [ ... ]");
    }
    return null;
  }
  const levels = entries.map((entry, n) => readLevel(reader, n, entry)).filter((level) => level !== null);
  if (levels.length < entries.length) return null;
  const seen = new Map();
  levels.forEach((level, n) => {
    for (const text of new Set([level.value, level.label])) {
      if (seen.has(text)) {
        reader.report(
          `categories[${n}]`,
          "duplicate_level",
          `${text} stands for level ${seen.get(text)} already`,
          "give each level its own value and label",
        );
      } else seen.set(text, n);
    }
  });
  const values = levels.map((level) => level.value);
  if (answers(reader) && !(values.includes("yes") && values.includes("no"))) {
    reader.report("categories", "yes_or_no", "any and all give the levels yes and no", 'list "yes" and "no", or leave it out');
  }
  return { type: "category", levels };
}

/** "any" or "all" if the field's values are answers, yes or no, to a question about several values. */
function answers(reader) {
  const { reduce, derive } = { reduce: reader.get("reduce"), derive: reader.get("derive") };
  const how = isObject(reduce) && Object.hasOwn(reduce, "how") ? reduce.how : null;
  if (how === "any" || how === "all") return how;
  return isObject(derive) && Object.hasOwn(derive, "any") ? "any" : null;
}

function readLevel(reader, number, entry) {
  const where = `categories[${number}]`;
  let [value, label] = [entry, null];
  if (isObject(entry)) {
    const extra = Object.keys(entry).filter((key) => key !== "value" && key !== "label").sort();
    if (extra.length) reader.report(where, "unknown_key", `${extra[0]} has no meaning here`, "a level has value and label");
    [value, label] = [entry.value ?? null, entry.label ?? null];
  }
  const texts = [scalar(value), scalar(label ?? value)];
  if (texts.includes(null)) {
    reader.report(where, "bad_level", "a level's value is text or a whole number", 'write {"value": "..."}');
    return null;
  }
  if (!texts.every((text) => reader.name(where, text))) return null;
  return { value: texts[0], label: texts[1] };
}

function scalar(value) {
  if (typeof value === "string") return value === "" ? null : value;
  if (!isInteger(value)) return null;
  const number = BigInt(value);
  return number < 10n ** 18n && number > -(10n ** 18n) ? number.toString() : null;
}

function readOccurred(reader, shape) {
  const said = reader.get("occurred");
  if (said === null || !shape.levels) return null;
  const text = scalar(said);
  const level = shape.levels.find(({ value, label }) => text === value || text === label);
  if (level) return level.value;
  reader.report("occurred", "unknown_level", "occurred is none of the categories", "write the value of one");
  return null;
}

// -- how a column is read --------------------------------------------------------------------------------------

function readMissingValues(reader) {
  const value = reader.get("missingValues");
  if (value === null) return [""];
  if (!Array.isArray(value) || value.length > 100 || !value.every((text) => typeof text === "string")) {
    reader.report("missingValues", "not_a_list", "missingValues is a list of texts", 'write ["", "NA"]');
    return [""];
  }
  return [...new Set(value)];
}

function readRecodes(reader, shape) {
  const found = new Map();
  const given = reader.has("recodes") ? reader.obj.recodes : {};
  const { obj } = Reader.of(given, `${reader.where}.recodes`, reader.problems);
  for (const [raw, target] of Object.entries(obj)) {
    const match = shape.levels ? levelNamed(shape.levels, scalar(target)) : decimalNamed(target);
    if (match === null) {
      const remedy = shape.levels
        ? "write the value of one of the categories"
        : "write a number, or list the raw text in missingValues";
      reader.report(`recodes.${head(raw, 100)}`, "bad_recode", "the new value is none of this column", remedy);
    } else found.set(raw, match);
  }
  return found;
}

function levelNamed(levels, text) {
  return levels.find(({ value, label }) => text === value || text === label)?.value ?? null;
}

function decimalNamed(target) {
  const number = exact(target);
  return number === null ? null : decimalText(number);
}

function readReduce(reader, kind, source) {
  if (reader.get("reduce") === null) return null;
  const inner = reader.at("reduce");
  inner.only(["how", "where", "test", "orderBy", "default"]);
  const how = inner.choice("how", HOWS, null);
  if (how === null) {
    if (inner.get("how") === null) inner.report("how", "required", "how is required", `write one of ${HOWS.join(", ")}`);
    return null;
  }
  const test = inner.predicate("test", source);
  const orderBy = inner.text("orderBy") || null;
  const answer = how === "any" || how === "all";
  const needs = [
    [answer && kind === "number", "how", `${how} gives yes or no: the type is string`],
    [["min", "max", "count"].includes(how) && kind === "category", "how", `${how} gives a number: the type is integer`],
    [answer && !inner.has("test"), "test", `${how} needs a test, such as ">= 3"`],
    [!answer && inner.has("test"), "test", `test is for any and all, not for ${how}`],
    [how !== "first" && orderBy !== null, "orderBy", `orderBy is for first, not for ${how}`],
    [how === "count" && inner.has("default"), "default", "count is 0 without rows"],
  ];
  for (const [broken, key, message] of needs) {
    if (broken) inner.report(key, "bad_reduce", message, "change it or remove it");
  }
  return { how, where: inner.predicate("where"), test, orderBy, default: null };
}

/** What a patient without a row has: a number within range, or a level's position as a decimal. */
function readDefault(inner, item) {
  const said = inner.get("default");
  if (said === null) return null;
  let remedy = "write the value of one of the categories";
  if (item.readsNumber) {
    const number = exact(said);
    const code = number === null ? -1n : item.cut.length ? BigInt(item.interval(number)) : item.code(number);
    if (code >= 0n && code < BigInt(item.codes)) return number;
    remedy = "write a number that the cut or the bounds admit";
  } else {
    const text = scalar(said);
    const position = item.levels.findIndex(({ value, label }) => text === value || text === label);
    if (position >= 0) return whole(position);
  }
  inner.report("default", "bad_default", "the default is no value of this field", remedy);
  return null;
}

function prose(reader, key) {
  const value = reader.has(key) ? reader.obj[key] : "";
  if (typeof value !== "string" || longer(value, 4096)) {
    reader.report(key, "not_text", `${key} is text of at most 4096 characters`, "shorten it");
    return "";
  }
  return value;
}

// -- cut and derive --------------------------------------------------------------------------------------------

/** Edges in rising order, the first and the last possibly open (null), and the levels between them. */
function readCut(reader, kind) {
  const entries = reader.listed("cut", MOST_EDGES);
  if (entries === null) return null;
  if (kind !== "category") {
    reader.report("cut", "bad_cut", "cut makes a category of a number", 'write "type": "string"');
    return null;
  }
  const reduce = reader.get("reduce");
  if (isObject(reduce) && (reduce.how === "any" || reduce.how === "all")) {
    reader.report("cut", "bad_cut", "any and all give yes or no: there is no number to cut", "remove one");
  }
  const edges = entries.map((edge) => (edge === null ? null : exact(edge)));
  const inner = edges.filter((edge) => edge !== null);
  const open = entries.flatMap((edge, n) => (edge === null ? [n] : []));
  const rising = inner.every((edge, n) => !n || compareDecimals(inner[n - 1], edge) < 0);
  const wrong = inner.length + open.length < entries.length || open.some((n) => n && n !== entries.length - 1);
  if (wrong || !rising || !inner.length || entries.length < 2) {
    reader.report(
      "cut",
      "bad_cut",
      "cut is a list of rising numbers, at least two; the first and the last may be null: no end",
      "write [20, 25, 30] or [null, 65, null]",
    );
    return null;
  }
  return { edges, levels: intervals(edges).map((name) => ({ value: name, label: name })) };
}

function intervals(edges) {
  const names = [];
  for (let n = 1; n < edges.length; n++) {
    const [low, high] = [edges[n - 1], edges[n]];
    if (low === null && high !== null) names.push(`< ${decimalText(high)}`);
    else if (high === null && low !== null) names.push(`>= ${decimalText(low)}`);
    else if (low !== null) names.push(`[${decimalText(low)}, ${decimalText(high)})`);
  }
  return names;
}

/** The computation of a derived field, or null; its fields are checked by checkOperands. */
function readDerive(reader, kind) {
  if (reader.get("derive") === null) return null;
  const inner = reader.at("derive");
  inner.only(DERIVES);
  const hows = DERIVES.filter((how) => inner.has(how));
  if (hows.length !== 1) {
    if (!Object.keys(inner.obj).length || hows.length > 1) {
      inner.report("", "bad_derive", `derive is one of ${DERIVES.join(", ")}`, `write ${EXAMPLES.ratio}`);
    }
    return null;
  }
  const [how] = hows;
  const remedy = `write ${EXAMPLES[how]}`;
  const entries = inner.listed(how, MOST_OPERANDS) ?? [];
  const numbers = how === "scale" ? entries.slice(1) : [];
  const names = how === "scale" ? entries.slice(0, 1) : entries;
  if (!names.length || !names.every((name) => typeof name === "string" && name)) {
    inner.report(how, "bad_derive", `${how} names fields of this codebook`, remedy);
    return null;
  }
  const counts = { difference: [2], ratio: [2], scale: [2, 3] }[how];
  if (counts && !counts.includes(entries.length)) {
    inner.report(how, "bad_derive", `${how} takes ${counts.join(" or ")} entries`, remedy);
    return null;
  }
  const factors = numbers.map(exact);
  if (factors.includes(null) || (factors.length && equal(factors[0], ZERO))) {
    inner.report(how, "bad_derive", "scale takes a field, a factor that is not 0, and an offset", remedy);
    return null;
  }
  if ((how === "any") !== (kind === "category") && !reader.has("cut")) {
    const gives = how === "any" ? "yes or no: the type is string" : "a number: the type is number";
    inner.report(how, "bad_derive", `${how} gives ${gives}`, "change the type");
  }
  if (how === "any" && reader.has("cut")) {
    inner.report(how, "bad_derive", "any gives yes or no: there is no number to cut", "remove cut");
  }
  return { how, fields: names, factor: factors[0] ?? whole(1), offset: factors[1] ?? ZERO };
}

/** Every field that a derived field names stands above it and is of the right kind and unit. */
export function checkOperands(reader, fields) {
  const known = new Map();
  for (const item of fields) {
    if (item.derive) {
      const inner = new Reader({}, `fields.${item.name}.derive`, reader.problems);
      const operands = item.derive.fields.map((name) => operandOf(inner, item.derive, name, known)).filter(Boolean);
      sameUnit(inner, item.derive, operands);
    }
    known.set(item.name, item);
  }
}

function operandOf(reader, derive, name, known) {
  const operand = known.get(name);
  if (!operand) {
    const [near] = nearest(name, known.keys(), normalForm);
    const hint = near ? `write ${near}` : "name a field that is listed before this one";
    reader.report(derive.how, "unknown_field", `${name} is no field above this one`, hint);
  } else if (derive.how === "any") {
    if (operand.kind !== "category") {
      reader.report(derive.how, "not_a_flag", `${name} is a number`, "name flags: fields with a level yes");
    } else if (operand.yes === null) {
      reader.report(derive.how, "not_a_flag", `no level of ${name} says yes`, `write "occurred" in ${name}`);
    }
  } else if (operand.kind !== "number") {
    reader.report(derive.how, "not_a_number", `${name} is a category`, "name fields that are numbers");
  }
  return operand;
}

function sameUnit(reader, derive, operands) {
  const units = new Set(operands.map((operand) => operand.unit));
  if (derive.how !== "difference" || units.size < 2) return;
  const said = [...units].map((unit) => unit || "no unit").sort().join(" and ");
  reader.report("difference", "units_differ", `the two are in ${said}`, "bring both to one unit, with scale");
}
