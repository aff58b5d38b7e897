// The page on which files become a dataset: input, verification, submission. It goes on where it was left.

import { startBackground } from "../background.js";
import { loadCodebook, parseCodebook } from "../codebook.js";
import { pins } from "../keys.js";
import { openStore } from "../storage.js";
import { following, forget, Portal, unfinished } from "../upload.js";
import { Editor, textOf } from "./editor.js";
import { byId, make, notice } from "./element.js";
import { Files } from "./files.js";
import { showFindings } from "./findings.js";
import { Keyring } from "./keyring.js";
import { loosened, showLeaving, showPolicy } from "./verify.js";

const { before } = JSON.parse(byId("start").textContent);
const store = openStore();
const background = startBackground();
const editor = new Editor(touched, recheck);
const files = new Files(background, filesChanged);
const keyring = new Keyring(store, submittable);
let checked = null; // the schema of the last check, if the tables fit it
let round = 0;
let busy = false;

const csrf = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";

// -- input -----------------------------------------------------------------------------------------------------

async function filesChanged() {
  byId("draft").disabled = files.size === 0;
  await recheck();
}

async function recheck() {
  const mine = ++round;
  if (editor.text === null) {
    const problems = files.read.flatMap((table) => table.problems);
    if (problems.length) showFindings({ problems });
    byId("findings").hidden = !problems.length;
    return continuable(null);
  }
  const codebook = editor.text;
  byId("findings").hidden = false;
  byId("verdict").replaceChildren(make("p", { text: "Checking" }));
  try {
    const found = await background.check({ codebook });
    if (mine !== round) return; // a later change is being checked
    // Without files a codebook has no table to hold against: only its own problems count.
    const shown = files.size ? found : { problems: found.problems.filter(({ file }) => file === "codebook") };
    showFindings(shown);
    continuable(found.fit && files.size ? parseCodebook(loadCodebook(codebook)).schema : null);
  } catch (wrong) {
    byId("verdict").replaceChildren(notice("error", `The check failed: ${wrong.message}`));
    continuable(null);
  }
}

/** What was checked is no longer what the form says: nothing goes on before it is checked again. */
function touched() {
  round += 1;
  continuable(null);
  byId("to-verify-why").textContent = "Checking what you changed.";
}

function continuable(schema) {
  checked = schema;
  byId("to-verify").disabled = checked === null;
  byId("to-verify-why").textContent = checked ? ""
    : !files.size ? "Choose files first." : editor.text === null ? "Choose a codebook or draft one first." : "Solve the problems first.";
}

byId("codebook-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) await openCodebook(await file.text(), `Codebook of ${file.name}.`);
});

byId("draft").addEventListener("click", async () => {
  byId("codebook-said").replaceChildren(make("p", { text: "Drafting from the files" }));
  try {
    const { codebook, columns, notes } = await background.draft();
    await openCodebook(textOf(codebook), "Drafted from your files. Bounds and levels were read from your data, which nothing public may be: compare each with the protocol and confirm it.");
    const said = [...notes, ...columns.flatMap(({ column, field, notes: own }) => (
      own.length || !field ? [`${column}${field ? "" : " (left out)"}: ${own.join("; ")}`] : []))];
    if (said.length) {
      byId("codebook-said").append(make("details", {}, make("summary", { text: `What the draft is based on (${said.length})` }),
        make("ul", {}, said.map((text) => make("li", { text })))));
    }
  } catch (wrong) {
    byId("codebook-said").replaceChildren(notice("error", `No draft could be made: ${wrong.message}`));
  }
});

async function openCodebook(text, said) {
  try {
    editor.open(text);
    byId("codebook-said").replaceChildren(notice("success", said));
  } catch (wrong) {
    byId("codebook-said").replaceChildren(notice("error", `This is no codebook: ${wrong.message}. A codebook is a JSON file.`));
    return;
  }
  await recheck();
}

// -- verification ----------------------------------------------------------------------------------------------

byId("to-verify").addEventListener("click", async () => {
  step("verify");
  showLeaving(checked);
  showPolicy(checked.policy);
  showLooser();
  byId("correct").checked = false;
  byId("submit-said").replaceChildren();
  submittable();
  await keyring.open();
});
byId("back").addEventListener("click", () => step("input"));
byId("correct").addEventListener("change", submittable);
byId("submit").addEventListener("click", submit);

function showLooser() {
  const terms = before ? loosened(before.manifest.policy, checked.policy) : [];
  const place = byId("looser");
  place.replaceChildren();
  if (terms === null) {
    place.replaceChildren(notice("error", "The budget is larger than that of the version before: a new version brings no more. Go back and write that or less."));
  } else if (terms.length) {
    place.replaceChildren(notice("warning", `This policy allows more than the version before: ${terms.join("; ")}.`),
      make("label", { class: "check" }, make("input", { type: "checkbox", id: "agree-looser", onchange: submittable }), make("span", { text: "I want it to allow more" })));
  }
}

function submittable() {
  const looser = before && checked ? loosened(before.manifest.policy, checked.policy) : [];
  const why = looser === null ? "The budget may not grow."
    : !keyring.deployment ? "The keys of the parties are needed."
    : !keyring.compared ? "Compare the fingerprints of the parties first."
    : !keyring.key ? "A signing key is needed."
    : looser.length && !byId("agree-looser")?.checked ? "Say that the policy may allow more."
    : !byId("correct").checked ? "Tick the box when all is verified." : "";
  byId("submit").disabled = busy || checked === null || why !== "";
  byId("submit-why").textContent = why;
}

async function submit() {
  busy = true;
  submittable();
  try {
    const { key, deployment } = keyring;
    const place = before ? (await following(before.id, new Portal({ csrf: csrf() }), key.publicKey)).place : undefined;
    await deliver(checked.title || "Your table", (hear) =>
      background.upload({ key, deployment, csrf: csrf(), place, title: checked.title || "A table" }, hear));
  } catch (wrong) {
    byId("submit-said").replaceChildren(notice("error", `Nothing was sent: ${wrong.message}.`));
  } finally {
    busy = false;
    submittable();
  }
}

// -- sending ---------------------------------------------------------------------------------------------------

/** Go on with an upload that this browser keeps sealed. */
async function goOn({ id, title }) {
  const deployment = await pins.get(location.origin, store);
  await deliver(title, (hear) => background.resume({ id, deployment, csrf: csrf() }, hear));
}

/** Run an upload and show how it goes; where it stops, the person may go on or discard what is kept. */
async function deliver(title, run) {
  step("sent");
  byId("sent-heading").textContent = `Sending ${title}`;
  byId("sent-wrong").replaceChildren();
  byId("sent-said").textContent = "Splitting and sealing in this browser, then sending.";
  try {
    const id = await run({ progress: showPart, say: (words) => { byId("sent-said").textContent = words; } });
    byId("sent-bar").value = 1;
    byId("sent-heading").textContent = "Your data is there";
    byId("sent-said").replaceChildren(`All four parties hold ${title} and signed a receipt. `, make("a", { href: `/data/${id}/`, text: "Open the dataset" }));
    byId("sent-hint").hidden = true;
  } catch (wrong) {
    byId("sent-said").textContent = "Stopped. What was sent is not lost.";
    const ended = wrong.status === 401 || wrong.code === "not_authenticated";
    const words = ended ? "Your session has ended. Log in again in another tab, then go on here. " : `${wrong.message}. `;
    const waiting = await unfinished(store);
    byId("sent-wrong").replaceChildren(
      notice("error", words, ended ? make("a", { href: "/login/", target: "_blank", text: "Log in" }) : ""),
      make("p", { class: "row" },
        waiting.map((upload) => make("button", { type: "button", class: "primary", text: `Go on with ${upload.title}`, onclick: () => goOn(upload) })),
        waiting.map((upload) => make("button", { type: "button", class: "danger", text: `Discard ${upload.title}`, onclick: () => discard(upload) })),
        waiting.length ? null : make("button", { type: "button", text: "Back", onclick: () => step(checked ? "verify" : "input") })));
  }
}

function showPart(part) {
  byId("sent-bar").value = part;
  byId("sent-said").textContent = part < 0.3 ? "Splitting and sealing in this browser." : part < 0.9 ? "Sending sealed pieces."
    : "All is sent. Each party opens its bundle, compares notes and signs a receipt.";
}

async function discard({ id }) {
  await forget(id, store);
  await start();
}

// -- where the page stands -------------------------------------------------------------------------------------

function step(name) {
  for (const one of ["input", "verify", "sent"]) {
    byId(one).hidden = one !== name;
    if (one === name) byId(`step-${one}`).setAttribute("aria-current", "step");
    else byId(`step-${one}`).removeAttribute("aria-current");
  }
  byId("resume").hidden = name !== "input" || !byId("resume").childElementCount;
  byId(`${name}-heading`)?.focus();
}

async function start() {
  const waiting = await unfinished(store);
  byId("resume").replaceChildren(...waiting.map((upload) =>
    make("div", { class: "notice warning" },
      make("p", { text: `"${upload.title}" is sealed in this browser and not finished. Nothing that was sent is lost.` }),
      make("p", { class: "row" },
        make("button", { type: "button", class: "primary", text: "Go on", onclick: () => goOn(upload) }),
        make("button", { type: "button", class: "danger", text: "Discard", onclick: () => discard(upload) })))));
  step("input");
}

await start();
if (before) await openCodebook(JSON.stringify(before.codebook), "The codebook of the version before. Change what changed.");
