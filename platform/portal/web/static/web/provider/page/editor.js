// A codebook in a form: types, ranges, levels, missing codes, roles, reductions, policy; or as its text.
//
// What a person does not touch stays as it was written. What was read from values is marked and must be confirmed.

import { isObject, parseJson, Written } from "../json.js";
import { byId, make, notice } from "./element.js";

const TYPES = [["integer", "whole number"], ["number", "number"], ["string", "levels (category)"], ["boolean", "yes or no"], ["date", "date"]];
const ROLES = [["", "none"], ["time", "time until an event"], ["event", "whether the event happened"]];
const REDUCTIONS = [
  ["", "one row a patient"], ["only", "exactly one row, else an error"], ["first", "the first row"], ["min", "the smallest"],
  ["max", "the largest"], ["any", "yes if any row passes"], ["all", "yes if all rows pass"], ["count", "how many rows"],
];
const OUTSIDE = [["", "an error"], ["clamp", "moved to the nearest bound"], ["missing", "missing"]];

/** The JSON text of a codebook, indented, numbers as they were written. */
export function textOf(value, depth = 0) {
  const [inner, outer] = ["\n" + " ".repeat(depth + 1), "\n" + " ".repeat(depth)];
  if (value instanceof Written) return value.text;
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== "object" || item === null)) return `[${value.map((item) => textOf(item)).join(", ")}]`;
    return `[${inner}${value.map((item) => textOf(item, depth + 1)).join(`,${inner}`)}${outer}]`;
  }
  if (isObject(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (!entries.length) return "{}";
    return `{${inner}${entries.map(([key, item]) => `${JSON.stringify(key)}: ${textOf(item, depth + 1)}`).join(`,${inner}`)}${outer}}`;
  }
  return JSON.stringify(value);
}

const shown = (value) => (value === undefined || value === null ? "" : value instanceof Written ? value.text : String(value));
/** What a person typed as a number of the codebook: whole numbers as such, others as their text. */
const typed = (text) => (/^-?[0-9]{1,15}$/.test(text.trim()) ? Number(text) : text.trim());

/** The form; `touched()` is called at each change, `changed(text)` a moment after the last. */
export class Editor {
  constructor(touched, changed) {
    Object.assign(this, { touched, changed });
    this.book = null;
    this.timer = null;
    this.serial = 0;
  }

  get text() {
    return this.book === null ? null : textOf(this.book);
  }

  /** Show the codebook of a text; raises NotJson if it is none. */
  open(text) {
    const book = parseJson(text.startsWith("\ufeff") ? text.slice(1) : text);
    if (!isObject(book)) throw new Error("a codebook is a JSON object");
    this.book = book;
    this.show();
  }

  later() {
    clearTimeout(this.timer);
    this.touched();
    this.timer = setTimeout(() => this.changed(this.text), 400);
    this.source.value = this.text;
  }

  show() {
    const fields = Array.isArray(this.book.fields) ? this.book.fields.filter(isObject) : [];
    this.source = make("textarea", { id: "codebook-text", spellcheck: false, value: this.text, "aria-describedby": "codebook-text-said" });
    const apply = () => {
      try {
        this.open(this.source.value);
        byId("codebook-text-said").replaceChildren();
        this.changed(this.text);
      } catch (wrong) {
        byId("codebook-text-said").replaceChildren(notice("error", `This is not JSON: ${wrong.message}`));
      }
    };
    byId("editor").hidden = false;
    byId("editor").replaceChildren(
      make("h2", { text: "Edit the codebook" }),
      this.general(),
      make("h3", { text: `Columns (${fields.length})` }),
      ...fields.map((item) => this.column(item)),
      make("details", {},
        make("summary", { text: "The codebook as text" }),
        make("div", { class: "field" },
          make("label", { for: "codebook-text", text: "JSON" }), this.source, make("div", { id: "codebook-text-said", "aria-live": "polite" })),
        make("p", { class: "row" },
          make("button", { type: "button", text: "Use this text", onclick: apply }),
          make("button", { type: "button", text: "Save as a file", onclick: () => save("codebook.json", this.text) }))),
    );
  }

  /** A labelled control of a key of an object. */
  field(obj, key, label, { options = null, rows = 0, hint = "", read = shown, write = (text) => text.trim() || undefined, whole = false } = {}) {
    const id = `codebook-${++this.serial}`;
    const value = read(obj[key]);
    const keep = () => {
      const made = write(control.value);
      if (made === undefined) delete obj[key];
      else obj[key] = made;
      this.later();
    };
    const common = { id, "aria-describedby": hint ? `${id}-hint` : null };
    let control;
    if (options) {
      const known = options.some(([name]) => name === value) ? options : [...options, [value, value]];
      control = make("select", { ...common, onchange: keep }, known.map(([name, words]) => make("option", { value: name, text: words, selected: name === value })));
    } else if (rows) control = make("textarea", { ...common, rows, value, oninput: keep });
    else control = make("input", { ...common, value, autocomplete: "off", oninput: keep });
    return make("div", { class: whole ? "field whole" : "field" },
      make("label", { for: id, text: label }), control, hint ? make("p", { class: "hint", id: `${id}-hint`, text: hint }) : null);
  }

  general() {
    const { book } = this;
    for (const key of ["policy", "facts"]) if (!isObject(book[key])) book[key] = {};
    const number = { write: (text) => (text.trim() ? typed(text) : undefined) };
    return make("fieldset", {},
      make("legend", { text: "Table and policy" }),
      this.confirmation(book, "the table"),
      make("div", { class: "columnform" },
        this.field(book, "title", "Title"),
        this.field(book, "primaryKey", "Column of the patient's key", { hint: "It joins files and is never shared." }),
        this.field(book, "capacity", "Rows held (capacity)", { ...number, hint: "Public. Choose it from what was planned, not from your number of patients." }),
        this.field(book.policy, "epsilon", "Budget (epsilon)", { hint: "All answers together: less protects more." }),
        this.field(book.policy, "epsilon_per_query", "Epsilon of one question"),
        this.field(book.policy, "minimum_cohort", "Smallest cohort", { ...number, hint: "A noised cohort of 11 may truly hold fewer: the noise protects it, not the threshold." }),
        this.field(book.policy, "modes", "Modes", {
          options: [["dp", "noised answers only"], ["exact", "exact answers only"], ["dp, exact", "either, the first order decides"]],
          read: (modes) => (modes ?? ["dp"]).join(", "), write: (text) => text.split(", "),
          hint: "Exact answers have no epsilon: only the smallest cell protects patients.",
        }),
        this.field(book.policy, "expires", "Last day", { hint: "Such as 2030-01-31." }),
        this.field(book.facts, "purpose", "Purpose", { whole: true, rows: 2, hint: "Public, and on the steward's summary." }),
        this.field(book.facts, "legal_basis", "Legal basis", { hint: "A reference, such as an article or the number of a vote." }),
        this.field(book.facts, "steward", "Steward", { hint: "Who answers for the data." })));
  }

  column(item) {
    const number = { write: (text) => (text.trim() ? typed(text) : undefined) };
    const constraints = isObject(item.constraints) ? item.constraints : {};
    const reduce = isObject(item.reduce) ? item.reduce : {};
    // An empty object appears only once something is in it.
    const within = (key, obj, ...rest) => {
      const made = this.field(obj, ...rest);
      made.addEventListener("input", () => keep(key, obj), true);
      made.addEventListener("change", () => keep(key, obj), true);
      return made;
    };
    const keep = (key, obj) => queueMicrotask(() => {
      if (Object.keys(obj).length) item[key] = obj;
      else delete item[key];
      this.later();
    });
    const lines = (made) => made.map((line) => line.trim()).filter(Boolean);
    const pairs = (text) => lines(text.split("\n")).map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line, line] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    });
    const isKey = item.name === this.book.primaryKey;
    return make("details", { class: "column", open: Array.isArray(item.local) },
      make("summary", {},
        make("b", { text: item.name }), make("span", { class: "quiet", text: shown(item.title) }),
        isKey ? make("span", { class: "badge", text: "key, never shared" }) : null,
        Array.isArray(item.local) ? make("span", { class: "badge waiting", text: "confirm" }) : null),
      this.confirmation(item, shown(item.name)),
      make("div", { class: "columnform" },
        this.field(item, "name", "Name"),
        this.field(item, "title", "Title"),
        this.field(item, "type", "Type", { options: TYPES }),
        this.field(item, "source", "Header in the file", { hint: "If it is not the name." }),
        this.field(item, "file", "File", { hint: "Only if several files have the header." }),
        this.field(item, "unit", "Unit"),
        within("constraints", constraints, "minimum", "Smallest value", number),
        within("constraints", constraints, "maximum", "Largest value", number),
        this.field(item, "resolution", "Resolution", { ...number, hint: "Values are rounded to it." }),
        this.field(item, "outOfRange", "A value outside is", { options: OUTSIDE }),
        this.field(item, "role", "Role", { options: ROLES }),
        this.field(item, "event", "Its event column", { hint: "For a time." }),
        this.field(item, "occurred", "Level that means the event", { hint: "For an event." }),
        this.field(item, "categories", "Levels, one a line", {
          rows: 4, hint: "value = label",
          read: (levels) => (Array.isArray(levels) ? levels.map((level) => (isObject(level)
            ? (level.label === undefined ? shown(level.value) : `${shown(level.value)} = ${shown(level.label)}`) : shown(level))).join("\n") : ""),
          write: (text) => { const made = pairs(text).map(([value, label]) => (value === label ? { value } : { value, label })); return made.length ? made : undefined; },
        }),
        this.field(item, "recodes", "Recodes, one a line", {
          rows: 4, hint: "text in the file = value",
          read: (recodes) => (isObject(recodes) ? Object.entries(recodes).map(([raw, value]) => `${raw} = ${shown(value)}`).join("\n") : ""),
          write: (text) => { const made = pairs(text); return made.length ? Object.fromEntries(made) : undefined; },
        }),
        this.field(item, "missingValues", "Codes for missing, one a line", {
          rows: 4, hint: "An empty cell is written as (empty).",
          read: (codes) => (Array.isArray(codes) ? codes.map((code) => (code === "" ? "(empty)" : shown(code))).join("\n") : "(empty)"),
          write: (text) => lines(text.split("\n")).map((code) => (code === "(empty)" ? "" : code)),
        }),
        this.field(item, "where", "Only rows where", { hint: 'Such as visit = "baseline".' }),
        within("reduce", reduce, "how", "Several rows of a patient", { options: REDUCTIONS }),
        within("reduce", reduce, "where", "... of rows where"),
        within("reduce", reduce, "test", "... that pass", { hint: 'Such as ">= 3", for any and all.' }),
        within("reduce", reduce, "orderBy", "... ordered by", { hint: "For the first row." })));
  }

  /** What was read from values is confirmed by a person, who has compared it with the protocol. */
  confirmation(obj, name) {
    if (!Array.isArray(obj.local)) return null;
    const box = make("input", { type: "checkbox", onchange: () => {
      if (box.checked) delete obj.local;
      else obj.local = said;
      this.later();
    } });
    const said = obj.local;
    return make("div", { class: "notice warning" }, make("label", { class: "check" }, box,
      make("span", { text: `Read from your data, which nothing public may be: ${said.join(", ") || "its form"}. I compared ${name} with the protocol and corrected what differs.` })));
  }
}

/** Hand a text to the person as a file. */
export function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
