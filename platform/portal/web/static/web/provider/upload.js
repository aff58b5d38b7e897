// Sends a dataset to the portal, and believes it is there only when four receipts say so.
//
// The portal stores sealed bytes and forwards; it is believed about nothing. A receipt counts if the pinned key of its
// party signed this very manifest's hash. Every request may be repeated. What is to be sent is kept sealed in this browser
// until the receipts are in: after a lost connection or a reload `resume` goes on, without the table.

import { chunkCount, PARTIES, seal, signed } from "./bundle.js";
import { canonical, digest, isObject, parseJson } from "./json.js";
import { fingerprint, isSigned } from "./keys.js";

const BUSY = new Set([429, 502, 503, 504]);
const TRIES = 6;
const FIRST_PAUSE = 250; // milliseconds
const LONGEST_PAUSE = 30_000;
const MAY_DIFFER = ["created", "title"];
const SEALED = 0.3; // of the progress: what is done when all is sealed
const SENT = 0.9;

/** The portal or a party said no, or a receipt does not hold. */
export class UploadRefused extends Error {
  constructor(message, status = null, code = null) {
    super(message);
    Object.assign(this, { name: "UploadRefused", status, code });
  }
}

/** The upload is not complete; it goes on where it stopped. */
export class UploadInterrupted extends Error {
  constructor(message) {
    super(message);
    this.name = "UploadInterrupted";
  }
}

/** The portal's REST interface as a provider uses it, under the page's session. */
export class Portal {
  constructor({
    base = "/", csrf = "", fetch: ask = (...request) => fetch(...request), signal = undefined, say = () => {},
    sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  } = {}) {
    Object.assign(this, { base, csrf, ask, signal, say, sleep });
  }

  /** The response, of a success status or one of `accept`. Raises UploadRefused, UploadInterrupted. */
  async request(method, path, { accept = [], body = undefined, type = "application/json" } = {}) {
    let pause = FIRST_PAUSE;
    let reason = "";
    for (let tries = 0; tries < TRIES; tries++) {
      this.signal?.throwIfAborted();
      try {
        const response = await this.ask(this.base + path, {
          method,
          body,
          credentials: "same-origin",
          headers: { Accept: "application/json", "X-CSRFToken": this.csrf, ...(body !== undefined && { "Content-Type": type }) },
          signal: this.signal,
        });
        if (response.ok || accept.includes(response.status)) return response;
        if (!BUSY.has(response.status)) throw await refusal(response);
        reason = `status ${response.status}`;
        pause = Math.max(pause, Math.min(1000 * (Number(response.headers.get("Retry-After")) || 0), LONGEST_PAUSE));
      } catch (wrong) {
        if (wrong instanceof UploadRefused || wrong.name === "AbortError") throw wrong;
        reason = wrong.message;
      }
      this.say(`no answer from the portal (${reason}): tried again`);
      await this.sleep(Math.min(pause, LONGEST_PAUSE));
      pause *= 2;
    }
    throw new UploadInterrupted(`no answer from the portal (${reason}) after ${TRIES} tries: what was sent stays, go on later`);
  }

  async json(method, path, options) {
    return bodyOf(await this.request(method, path, options));
  }

  parties() {
    return this.json("GET", "api/parties/");
  }

  /** What the portal knows of a dataset; null if it knows none of that id that is ours. */
  async dataset(id) {
    const response = await this.request("GET", `api/datasets/${id}/`, { accept: [404] });
    if (response.status === 404) return null;
    const body = await bodyOf(response);
    if (!isObject(body)) throw new UploadRefused("the portal's answer is not a dataset");
    return body;
  }
}

async function bodyOf(response) {
  try {
    return parseJson(await response.text());
  } catch {
    throw new UploadRefused("the answer is not JSON: is this a Fourfold portal, and are you still signed in?");
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem?.detail || problem?.title || response.statusText;
  const named = problem?.code ? `${detail} [${problem.code}]` : `${detail}`;
  const login = response.status === 401 || response.status === 403 ? ": sign in again" : "";
  return new UploadRefused(`the portal refused (${response.status}): ${named}${login}`, response.status, problem?.code ?? null);
}

/**
 * Send a dataset (of bundle.js) and wait for the receipts of all parties; returns the dataset's id.
 *
 * key         signs again if an earlier run registered another time or title
 * deployment  the pinned keys, as of keys.js
 * store       as of storage.js: what is sealed is kept there until the receipts are in
 * progress    is called with 0 to 1
 * Raises UploadRefused, UploadInterrupted, or AbortError after `signal`.
 */
export async function upload(dataset, { key, deployment, store, progress = () => {}, ...options }) {
  const portal = new Portal(options);
  const known = await portal.dataset(dataset.id);
  if (known?.state === "REJECTED") await forget(dataset.id, store);
  else if (known) dataset = { ...dataset, ...(await asRegistered(dataset, known, key)) };
  if (!known || ["UPLOADING", "REJECTED"].includes(known.state)) await keep(dataset, store, progress);
  else portal.say("the dataset is on the portal already: nothing is sent");
  return deliver(dataset, portal, deployment, store, progress, options);
}

/** The uploads that this browser has not finished: [{id, title, created}]. */
export async function unfinished(store) {
  const entries = await store.entries("uploads");
  return entries.map(([id, { manifest }]) => ({ id, title: manifest.title, created: manifest.created }));
}

/** Go on with an unfinished upload, after a reload or a lost connection; as `upload`, without table and key. */
export async function resume(id, { deployment, store, progress = () => {}, ...options }) {
  const kept = await store.get("uploads", id);
  if (!kept) throw new UploadRefused(`no unfinished upload of dataset ${id} is kept in this browser`);
  return deliver(kept, new Portal(options), deployment, store, progress, options);
}

/** Forget what is kept of an upload; what is on the portal stays there. */
export async function forget(id, store) {
  const kept = await store.get("uploads", id);
  for (const [party, chunks] of Object.entries(kept?.chunks ?? {})) {
    for (let chunk = 0; chunk < chunks; chunk++) await store.delete("chunks", placeOf(id, party, chunk));
  }
  await store.delete("uploads", id);
}

function placeOf(id, party, chunk) {
  return `${id}/${party}/${chunk}`;
}

/** Seal every chunk and keep it, unless this manifest is kept already: chunks once sealed are the ones that are sent. */
async function keep(dataset, store, progress) {
  const { id, manifest, manifestHash, signature, codebook } = dataset;
  const before = await store.get("uploads", id);
  if (before?.manifestHash === manifestHash) return;
  if (before) await forget(id, store);
  const chunks = {};
  for (let party = 0; party < PARTIES; party++) {
    chunks[party] = chunkCount(dataset, party);
    let chunk = 0;
    for await (const sealed of seal(dataset, party)) {
      await store.put("chunks", placeOf(id, party, chunk++), sealed);
      progress((SEALED * (party + chunk / chunks[party])) / PARTIES);
    }
  }
  // Written last: what is listed as unfinished is whole.
  await store.put("uploads", id, { id, manifest, manifestHash, signature, codebook, chunks });
}

async function deliver(dataset, portal, deployment, store, progress, { timeout = 600, poll = 1000 } = {}) {
  const { id } = dataset;
  const kept = await store.get("uploads", id);
  const known = await portal.dataset(id);
  if (kept && (!known || ["UPLOADING", "REJECTED"].includes(known.state))) {
    const { manifest, signature, codebook } = kept;
    await portal.json("POST", "api/datasets/", { body: canonical({ manifest, signature, codebook }) });
    await send(kept, portal, store, progress);
    await complete(id, portal);
  }
  progress(SENT);
  await receiptsOf(dataset, portal, deployment, timeout, poll, (part) => progress(SENT + (1 - SENT) * part));
  await forget(id, store);
  progress(1);
  return id;
}

async function send({ id, chunks }, portal, store, progress) {
  const uploaded = (await portal.dataset(id))?.uploaded ?? [];
  const total = Object.values(chunks).reduce((sum, count) => sum + count, 0);
  let done = 0;
  for (const [party, count] of Object.entries(chunks)) {
    const there = uploaded.find((one) => one.party === Number(party));
    // The portal says how many it has: when it has all, none is sent again.
    const whole = there?.present === count && there?.chunks === count;
    for (let chunk = 0; chunk < count; chunk++) {
      if (!whole) {
        await portal.request("PUT", `api/datasets/${id}/bundles/${party}/${chunk}/?chunks=${count}`, {
          body: await store.get("chunks", placeOf(id, party, chunk)),
          type: "application/octet-stream",
          accept: [409], // another sealing of it, sent by an earlier run, may stay
        });
      }
      done += 1;
      progress(Math.min(SENT, SEALED + ((SENT - SEALED) * done) / total));
    }
  }
}

/** Say that all chunks are there; refused again once the parties are at work, which is as good. */
async function complete(id, portal) {
  const response = await portal.request("POST", `api/datasets/${id}/complete/`, { accept: [409] });
  if (response.status === 409 && (await portal.dataset(id))?.state === "UPLOADING") throw await refusal(response);
}

/** The dataset under the manifest that an earlier run registered: same table, its time and title. */
async function asRegistered(dataset, known, key) {
  const { manifest } = known;
  if (!isObject(manifest)) throw new UploadRefused(`the portal names dataset ${dataset.id} but shows no manifest of it`);
  const expected = { ...dataset.manifest };
  for (const name of MAY_DIFFER) expected[name] = manifest[name];
  if (canonical(expected) !== canonical(manifest)) {
    const said = (one, name) => canonical(one[name] ?? null);
    const different = Object.keys(expected).filter((name) => said(expected, name) !== said(manifest, name)).sort();
    throw new UploadRefused(
      `the portal holds another manifest under ${dataset.id}; it differs in ${different.join(", ") || "form"}`,
    );
  }
  return signed(expected, key);
}

/** Return when all parties have signed a receipt for this manifest, or it is superseded already. */
async function receiptsOf(dataset, portal, deployment, timeout, poll, progress) {
  const deadline = performance.now() + 1000 * timeout;
  for (;;) {
    const known = await portal.dataset(dataset.id);
    if (known === null) throw new UploadRefused(`the portal does not know dataset ${dataset.id} any more`);
    const heard = await checkedReceipts(dataset, known, deployment);
    progress(heard.size / PARTIES);
    if (known.state === "SUPERSEDED" || (heard.size === PARTIES && known.state === "READY")) return;
    if (known.state === "REJECTED" || known.state === "WITHDRAWN") {
      throw new UploadRefused(`dataset ${dataset.id} is ${known.state.toLowerCase()}${complaints(known)}`);
    }
    if (performance.now() >= deadline) {
      const silent = [0, 1, 2, 3].filter((party) => !heard.has(party)).join(", ");
      const missing = silent ? `no receipt of party ${silent}` : "all receipts are in, not READY";
      throw new UploadInterrupted(`dataset ${dataset.id}: ${missing} after ${timeout} s: go on waiting later`);
    }
    portal.signal?.throwIfAborted();
    await portal.sleep(poll);
  }
}

/** The parties whose receipts for this manifest verify under their pinned keys. Raises UploadRefused if any does not. */
export async function checkedReceipts({ id, manifestHash }, known, deployment) {
  const heard = new Set();
  for (const receipt of known.receipts ?? []) {
    const party = deployment.parties.find((one) => one.party === receipt?.party);
    if (!party) throw new UploadRefused("the portal shows a receipt of a party that is not one of ours");
    const named = `party ${party.party} (${await fingerprint(party.seal, party.sign)})`;
    if (receipt.manifest_hash !== manifestHash) {
      throw new UploadRefused(`${named} signed a receipt for another manifest: do not use this dataset`);
    }
    const body = {
      type: "fourfold/1/receipt", party: party.party, dataset: id, manifest_hash: manifestHash, time: receipt.time,
    };
    if (!(await isSigned(body, String(receipt.signature), party.sign))) {
      throw new UploadRefused(`the receipt of ${named} does not verify under its pinned key: do not use this dataset`);
    }
    heard.add(party.party);
  }
  return heard;
}

function complaints(known) {
  const said = (known.complaints ?? []).map(({ party, code }) => `party ${party}: ${code}`).join("; ");
  return said ? ` (${said})` : "";
}

/** The place of what follows a dataset of ours, after our own key signed what the portal shows. Raises UploadRefused. */
export async function following(id, portal, publicKey) {
  const known = await portal.dataset(id);
  if (known === null) throw new UploadRefused(`the portal has no dataset ${id} of yours`);
  const { manifest, signature } = known;
  if (!isObject(manifest) || manifest.dataset !== id) throw new UploadRefused(`the portal shows no manifest of dataset ${id}`);
  if (manifest.provider_key !== publicKey) {
    throw new UploadRefused(`dataset ${id} was signed with another key: its versions need the same one`);
  }
  if (!(await isSigned(manifest, String(signature), publicKey))) {
    throw new UploadRefused(`your key did not sign what the portal shows as dataset ${id}`);
  }
  const previous = await digest(manifest);
  return {
    policy: manifest.policy,
    own: { version: manifest.version, chain: manifest.chain ?? null, previous: manifest.previous },
    place: { version: manifest.version + 1, chain: manifest.chain ?? id, previous },
  };
}
