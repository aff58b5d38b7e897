// The page of a new query: the editor, the cost as one types, which parties answer, and sending it.
import { Problem, pause, request } from "../shared/request.js";
import { editor } from "./editor.js";

const $ = (id) => document.getElementById(id);
const { statistics, examples } = JSON.parse($("vocabulary").textContent);
const form = $("asking"), area = $("program"), cost = $("cost"), wrong = $("program-wrong");
const STILL = 350; // milliseconds without a key before the portal is asked

const chosen = () => [...form.querySelectorAll("[name=datasets]:checked")].map((box) => box.value);
const make = (tag, text, kind) => Object.assign(document.createElement(tag), { textContent: text, ...(kind && { className: kind }) });
const plain = (text) => (`${text}`.includes(".") ? `${text}`.replace(/\.?0+$/, "") : `${text}`);
const short = (value) => (value === null || value === undefined ? "-" : Number(value.toPrecision(3)).toString());

// Codebooks of the chosen datasets, for completion; each is fetched once.
const books = new Map();
async function learn() {
  for (const id of chosen().filter((id) => !books.has(id))) {
    try {
      const found = await request(`/api/datasets/${id}/`);
      books.set(id, found.codebook.fields.filter((field) => found.codebook.primaryKey !== field.name));
    } catch { /* completion is a courtesy: what is wrong shows with the cost */ }
  }
}
const fields = () => {
  const known = new Map();
  for (const id of chosen()) {
    for (const field of books.get(id) ?? []) {
      const levels = (field.categories ?? []).map((level) => `${level.label ?? level.value}`);
      if (!known.has(field.name)) known.set(field.name, { name: field.name, title: field.title ?? "", levels });
    }
  }
  return [...known.values()];
};

const program = editor($("editor"), {
  text: area.value,
  label: "Program",
  described: $("program-hint").textContent,
  vocabulary: () => ({ statistics, fields: fields() }),
  changed: (text) => { area.value = text; soon(); },
});
area.hidden = true;
$("editor").hidden = false;
$("program-label").addEventListener("click", (event) => { event.preventDefault(); program.view.focus(); });

let timer, asked;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(preview, STILL);
}

function question() {
  return { program: area.value, datasets: chosen(), mode: $("mode").value, epsilon: $("mode").value === "dp" ? $("epsilon").value || null : null };
}

async function preview() {
  asked?.abort();
  $("epsilon").disabled = $("mode").value !== "dp";
  if (!chosen().length || !area.value.trim()) {
    say(chosen().length ? "The program is empty." : "Choose a dataset to see the cost.");
    program.wrong(null);
    wrong.textContent = "";
    return;
  }
  asked = new AbortController();
  cost.setAttribute("aria-busy", "true");
  try {
    const found = await request("/api/queries/preview/", { method: "POST", json: question(), signal: asked.signal });
    wrong.textContent = "";
    program.wrong(null);
    show(found);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (problem.code === "throttled") { timer = setTimeout(preview, 2000); return; }
    refused(problem);
  }
  cost.setAttribute("aria-busy", "false");
}

function refused(problem) {
  const place = problem.where?.line ? `Line ${problem.where.line}, column ${problem.where.column}: ` : "";
  const near = problem.suggestions?.length ? ` Did you mean ${problem.suggestions.join(" or ")}?` : "";
  wrong.textContent = `${place}${problem.message}${near}`;
  program.wrong(problem);
  say(problem.status === 0 ? problem.message : "No cost while the program has an error.");
}

function say(text) {
  cost.replaceChildren(make("p", text, "quiet"));
}

/** What a charge leaves of each chosen budget; a budget with a delta is counted in another way, so no more is said of it. */
function budgets(charge) {
  const micro = (text) => Math.round(Number(text) * 1e6);
  return [...form.querySelectorAll("[name=datasets]:checked")].filter((box) => !("delta" in box.dataset)).map((box) => {
    const { title, left } = box.dataset;
    const after = micro(left) - micro(charge);
    return after < 0
      ? make("p", `${title} has only epsilon ${plain(left)} left: this could not be approved.`, "notice warning")
      : make("p", `${title}: epsilon ${plain(left)} left, ${plain((after / 1e6).toFixed(6))} after this.`, "quiet small");
  });
}

function show(found) {
  const plan = found.plan;
  const parts = [];
  const charge = make("p", found.mode === "exact" ? "exact: no epsilon" : `epsilon ${plain(found.charge)}`, "big");
  parts.push(charge);
  if (found.stored) parts.push(make("p", "An identical plan was answered before: the same answer, at no charge.", "notice success"));
  if (found.told) parts.push(make("p", found.told, "notice"));
  if (found.mode !== "exact" && Number(found.charge) > 0) parts.push(make("p", `from the budget of each dataset; at most ${plain(plan.worst_charge)} if an attempt fails after noise was released.`, "quiet"));
  if (Number(found.charge) > 0) parts.push(...budgets(found.charge));
  const table = make("table", "");
  const frame = make("div", "", "scroll");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Expected error of each statement");
  const head = table.createTHead().insertRow();
  for (const name of ["Statement", "Error by noise", "With sampling", "Epsilon"]) head.append(Object.assign(make("th", name), { scope: "col" }));
  const body = table.createTBody();
  plan.statements.forEach((one, number) => {
    const row = body.insertRow();
    const half = one.precision?.half_width ?? {};
    const unit = one.expected_error?.unit ? ` ${one.expected_error.unit}` : "";
    const label = one.label ? ` (${one.label})` : "";
    row.append(Object.assign(make("th", `${number + 1}. ${one.text}${label}`), { scope: "row", title: one.words }));
    row.insertCell().textContent = `${short(half.noise ?? one.expected_error?.half_width)}${unit}`;
    row.insertCell().textContent = half.total == null ? "not known" : `${short(half.total)}${unit}`;
    row.insertCell().textContent = found.mode === "exact" ? "-" : plain(one.epsilon);
  });
  frame.append(table);
  parts.push(frame);
  const about = plan.statements[0]?.precision;
  if (about) parts.push(make("p", `Half-widths of 95 % intervals, for ${about.n} patients ${{ facts: "by public facts", capacity: "(the capacity: facts do not tell how many there are)" }[about.n_from] ?? ""}.`, "quiet small"));
  for (const one of plan.statements) {
    for (const warning of one.warnings ?? []) parts.push(make("p", warning, "notice warning"));
    if (one.precision?.useful === false && one.precision.reason) parts.push(make("p", `${one.text}: ${one.precision.reason}`, "notice warning"));
  }
  const [fast, slow] = [Math.min(...Object.values(plan.seconds)), Math.max(...Object.values(plan.seconds))];
  parts.push(make("p", `${plan.rounds} rounds between the parties, about ${short(fast)} to ${short(slow)} s.`, "quiet small"));
  if (found.missing !== null) parts.push(make("p", `Party ${found.missing} is declared lost: it would run as ${found.security}.`, "notice warning"));
  cost.replaceChildren(...parts);
}

for (const kind of ["input", "change"]) {
  form.addEventListener(kind, (event) => {
    if (["epsilon", "mode", "datasets"].includes(event.target.name)) soon();
  });
}
form.addEventListener("change", (event) => event.target.name === "datasets" && learn());
$("example").addEventListener("change", (event) => {
  if (event.target.value !== "") program.text = examples[Number(event.target.value)];
  event.target.value = "";
  program.view.focus();
});

function mark(input, message) {
  let told = $(`${input.id}-wrong`);
  if (!told) {
    told = make("p", "", "wrong");
    told.id = `${input.id}-wrong`;
    input.after(told);
  }
  told.textContent = message;
  input.setAttribute("aria-invalid", message ? "true" : "false");
  input.setAttribute("aria-describedby", [...new Set([...(input.getAttribute("aria-describedby") ?? "").split(" "), told.id])].join(" ").trim());
  return !message;
}

let sending = false;
form.addEventListener("submit", async (event) => {
  if (event.submitter?.id === "save") return; // a draft is an ordinary form
  event.preventDefault();
  if (sending) return;
  const titled = mark($("title"), $("title").value.trim() ? "" : "Give the question a title.");
  const meant = mark($("purpose"), $("purpose").value.trim() ? "" : "Say what the answer is for: the operator decides on it.");
  const say = (text) => { $("submit-wrong").textContent = text; };
  say("");
  if (!titled || !meant) { (titled ? $("purpose") : $("title")).focus(); return; }
  if (!chosen().length) { say("Choose at least one dataset."); return; }
  sending = true;
  $("submit").disabled = true;
  const confirm = form.elements.confirm.checked ? ["not_useful"] : [];
  try {
    const made = await request("/api/queries/", {
      method: "POST", json: { ...question(), title: $("title").value, purpose: $("purpose").value, confirm },
    });
    if (form.elements.draft.value) {
      const dropped = new FormData(form);
      await fetch(`/queries/drafts/${form.elements.draft.value}/delete/`, { method: "POST", body: dropped, redirect: "manual" });
    }
    location.assign(`/queries/${made.id}/`);
    return;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.code === "not_useful") {
      $("confirm-field").hidden = false;
      $("confirm-words").textContent = problem.message.replace(/\. To ask all the same.*$/, ".");
      say("Noise would drown a figure. Tick the box to ask all the same.");
    } else {
      say(problem.message);
      if (problem.where?.line) refused(problem);
    }
  }
  sending = false;
  $("submit").disabled = false;
});

async function reach() {
  while (true) {
    await pause(15_000);
    if (document.hidden) continue;
    try {
      const { parties } = await request("/api/parties/");
      const up = parties.filter((party) => ["ok", "degraded"].includes(party.state)).length;
      const text = `connected to ${up} of ${parties.length} data servers`;
      if ($("reach").textContent !== text) $("reach").textContent = text;
    } catch { $("reach").textContent = "the portal cannot be reached"; }
  }
}

learn();
preview();
reach();
