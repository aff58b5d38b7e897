// The background of a provider's page: tables are read, checked, split, sealed and sent here, so that the page stays
// responsive. Rows and codes never leave this worker but sealed.
//
// Messages in: {call, method, args} and {cancel: call}; out: {call, progress}, {call, result} or {call, error}.

import { prepare } from "./bundle.js";
import { check, problemOf } from "./check.js";
import { CodebookProblem, loadCodebook, parseCodebook } from "./codebook.js";
import { draft } from "./draft.js";
import { rowOf, readTable } from "./read.js";
import { openStore } from "./storage.js";
import { resume, upload } from "./upload.js";

const SHOWN_ROWS = 20;
const state = { tables: [], checked: null };

const methods = {
  /** Read files: [{name, header, rows, first, problems}]. They replace those that were read before. */
  async read({ files }, control) {
    const tables = [];
    for (const [n, file] of files.entries()) {
      const progress = (part) => control.progress((n + part) / files.length);
      tables.push(await readTable(file, file.name, { progress, signal: control.signal }));
    }
    Object.assign(state, { tables, checked: null });
    return tables.map((table) => {
      const { name, header, rows, problems } = table;
      const first = Array.from({ length: Math.min(rows, SHOWN_ROWS) }, (_, row) => rowOf(table, row));
      return { name, header, rows, first, problems };
    });
  },

  /** Propose a codebook for the tables: {codebook, columns, notes, problems}. */
  async draft(options) {
    return draft(state.tables, options);
  },

  /** Hold the tables against a codebook: {problems, profile, counts, patients, fit}. */
  async check({ codebook: text }, control) {
    state.checked = null;
    let parsed;
    try {
      parsed = parseCodebook(typeof text === "string" ? loadCodebook(text) : text);
    } catch (wrong) {
      if (!(wrong instanceof CodebookProblem)) throw wrong;
      const problems = wrong.problems.map((problem) => problemOf(problem));
      return { problems, profile: [], counts: [], patients: 0, fit: false };
    }
    const { codes, ...said } = check(parsed.schema, state.tables, control);
    if (codes) state.checked = { ...parsed, codes };
    return { ...said, fit: codes !== null };
  },

  /** Split, sign, seal and send what was checked last: the dataset's id. */
  async upload({ key, deployment, place, title, created = Math.floor(Date.now() / 1000), ...options }, control) {
    if (!state.checked) throw new Error("check the tables first: nothing is ready to be sent");
    const dataset = await prepare({
      ...state.checked,
      key,
      place,
      title,
      created,
      partySet: deployment.parties,
      portalSign: deployment.portal.sign,
      progress: (part) => control.progress(0.1 * part),
    });
    const progress = (part) => control.progress(0.1 + 0.9 * part);
    return upload(dataset, { key, deployment, store: openStore(), ...options, ...control, progress });
  },

  /** Go on with an upload that this browser keeps: the dataset's id. */
  resume({ id, ...options }, control) {
    return resume(id, { store: openStore(), ...options, ...control });
  },
};

const running = new Map();

self.addEventListener("message", async ({ data }) => {
  if (data.cancel !== undefined) {
    running.get(data.cancel)?.abort();
    return;
  }
  const { call, method, args } = data;
  const abort = new AbortController();
  running.set(call, abort);
  try {
    const control = {
      signal: abort.signal,
      progress: (progress) => self.postMessage({ call, progress }),
      say: (said) => self.postMessage({ call, said }),
    };
    self.postMessage({ call, result: await methods[method](args, control) });
  } catch (wrong) {
    const { name, message, status, code } = wrong;
    self.postMessage({ call, error: { name, message, status, code } });
  } finally {
    running.delete(call);
  }
});
