// An upload loses nothing: lost answers, a reload, chunks of an earlier run; and it believes signed receipts only.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { prepare } from "../../platform/portal/web/static/web/provider/bundle.js";
import { loadCodebook, parseCodebook } from "../../platform/portal/web/static/web/provider/codebook.js";
import { digest, hex } from "../../platform/portal/web/static/web/provider/json.js";
import { generateKey, importKey, isSigned, parseDeployment, signObject } from "../../platform/portal/web/static/web/provider/keys.js";
import { following, Portal, resume, unfinished, upload } from "../../platform/portal/web/static/web/provider/upload.js";
import { memoryStore } from "./memory.js";

const VECTOR = JSON.parse(readFileSync(new URL("../../tests/vectors/bundle/small.json", import.meta.url), "utf8"));

async function world() {
  const signing = await Promise.all([0, 1, 2, 3].map(async () => (await generateKey()).key));
  const partySet = VECTOR.party_set.map((one, n) => ({ ...one, sign: signing[n].publicKey }));
  const deployment = await parseDeployment({ parties: partySet, portal: { sign: VECTOR.portal_sign } }, "test");
  const key = await importKey(VECTOR.provider_pem);
  const { schema, codebook } = parseCodebook(loadCodebook(VECTOR.codebook));
  const codes = { patients: VECTOR.patients, columns: VECTOR.columns };
  const dataset = (changes) =>
    prepare({
      key, codebook, schema, codes, partySet: deployment.parties, portalSign: VECTOR.portal_sign, created: 1, ...changes,
    });
  return { signing, deployment, key, dataset };
}

/** The portal's routes in memory; `fault(n, method, path)` may throw or answer in the place of the n-th request. */
class FakePortal {
  constructor(signing, fault = () => undefined) {
    Object.assign(this, { signing, fault, seen: [], known: new Map(), chunks: new Map() });
    this.fetch = (url, options) => this.answer(url, options);
  }

  async answer(url, { method, body, headers }) {
    const { pathname } = new URL(url, "https://portal.example");
    this.seen.push(`${method} ${pathname}`);
    assert.equal(headers["X-CSRFToken"], "token");
    const early = await this.fault(this.seen.length, method, pathname);
    return early ?? this.route(method, pathname, body);
  }

  async route(method, path, body) {
    const json = (status, value) => new Response(JSON.stringify(value), { status });
    if (path === "/api/datasets/") return json(201, await this.create(JSON.parse(body)));
    const [, , , id, kind, party, chunk] = path.split("/");
    const dataset = this.known.get(id);
    if (!dataset) return json(404, { code: "not_found" });
    if (kind === "bundles") {
      const place = `${party}/${chunk}`;
      const content = hex(body);
      const there = this.chunks.get(place);
      if (there && there !== content) return json(409, { code: "chunk_differs" });
      this.chunks.set(place, content);
      return json(201, {});
    }
    if (kind === "complete") {
      if (this.chunks.size < 4) return json(409, { code: "incomplete", detail: "chunks are missing" });
      dataset.state = "READY";
      dataset.receipts = await Promise.all([0, 1, 2, 3].map((n) => this.receipt(n, dataset)));
    }
    const uploaded = [0, 1, 2, 3].map((n) => ({ party: n, present: this.chunks.has(`${n}/0`) ? 1 : 0, chunks: 1 }));
    return json(200, { ...dataset, uploaded });
  }

  async create({ manifest, signature, codebook }) {
    assert.ok(await isSigned(manifest, signature, manifest.provider_key));
    assert.equal(await digest(codebook), manifest.codebook_hash);
    if (!this.known.has(manifest.dataset)) {
      this.known.set(manifest.dataset, { id: manifest.dataset, manifest, signature, state: "UPLOADING", receipts: [] });
    }
    return this.known.get(manifest.dataset);
  }

  async receipt(party, { id, manifest }) {
    const manifest_hash = await digest(manifest);
    const body = { type: "fourfold/1/receipt", party, dataset: id, manifest_hash, time: 7 };
    return { party, manifest_hash, time: 7, signature: await signObject(body, this.signing[party]) };
  }
}

const sleep = async () => {};

test("a dataset is sent, four receipts are verified, and nothing is kept", async () => {
  const { signing, deployment, key, dataset } = await world();
  const portal = new FakePortal(signing);
  const store = memoryStore();
  const told = [];
  const one = await dataset();
  const options = { key, deployment, store, csrf: "token", fetch: portal.fetch, sleep, progress: (part) => told.push(part) };
  assert.equal(await upload(one, options), one.id);
  assert.equal(portal.chunks.size, 4);
  assert.deepEqual(told, told.toSorted((a, b) => a - b));
  assert.equal(told.at(-1), 1);
  assert.deepEqual(await unfinished(store), []);
  assert.deepEqual(await store.entries("chunks"), []);
});

test("every request may be lost, before or after the portal acted, and the bundles are whole in the end", async () => {
  for (let lost = 1; lost <= 10; lost++) {
    for (const acted of [false, true]) {
      const { signing, deployment, key, dataset } = await world();
      let failed = false;
      const portal = new FakePortal(signing, (n) => {
        if (n !== lost || failed) return undefined;
        failed = true;
        if (!acted) throw new TypeError("connection lost");
        return new Response("", { status: 503, headers: { "Retry-After": "1" } });
      });
      const one = await dataset();
      const options = { key, deployment, store: memoryStore(), csrf: "token", fetch: portal.fetch, sleep };
      assert.equal(await upload(one, options), one.id);
      assert.equal(portal.chunks.size, 4);
    }
  }
});

test("after a reload an upload goes on without the table, with the chunks that were sealed before", async () => {
  const { signing, deployment, key, dataset } = await world();
  let cut = true;
  const portal = new FakePortal(signing, (n, method, path) => {
    if (cut && path.includes("/bundles/2/")) throw new TypeError("connection lost");
    return undefined;
  });
  const store = memoryStore();
  const options = { deployment, store, csrf: "token", fetch: portal.fetch, sleep };
  const one = await dataset();
  await assert.rejects(upload(one, { key, ...options }), { name: "UploadInterrupted" });
  assert.deepEqual((await unfinished(store)).map(({ id }) => id), [one.id]);
  const before = new Map(portal.chunks);
  cut = false;
  portal.seen.length = 0;
  assert.equal(await resume(one.id, options), one.id);
  for (const [place, content] of before) assert.equal(portal.chunks.get(place), content);
  assert.deepEqual(portal.seen.filter((line) => line.startsWith("PUT")).map((line) => line.split("/")[5]), ["2", "3"]);
  assert.deepEqual(await unfinished(store), []);
});

test("the same table later takes the manifest that is registered, with its time", async () => {
  const { signing, deployment, key, dataset } = await world();
  const portal = new FakePortal(signing);
  const options = { key, deployment, csrf: "token", fetch: portal.fetch, sleep };
  const one = await dataset({ created: 1 });
  await upload(one, { ...options, store: memoryStore() });
  portal.seen.length = 0;
  assert.equal(await upload(await dataset({ created: 2, title: "other" }), { ...options, store: memoryStore() }), one.id);
  assert.deepEqual(portal.seen.filter((line) => !line.startsWith("GET")), []);
});

test("a refusal is said with its code and stops the upload at once", async () => {
  const { signing, deployment, key, dataset } = await world();
  const problem = { title: "Conflict", detail: "this provider key belongs to another organisation", code: "key_taken" };
  const portal = new FakePortal(signing, (n, method) => {
    return method === "POST" ? new Response(JSON.stringify(problem), { status: 409 }) : undefined;
  });
  const options = { key, deployment, store: memoryStore(), csrf: "token", fetch: portal.fetch, sleep };
  await assert.rejects(upload(await dataset(), options), { name: "UploadRefused", code: "key_taken" });
  assert.equal(portal.seen.filter((line) => line.startsWith("POST")).length, 1);
});

test("a receipt of another key, manifest or party is not believed", async () => {
  const { signing, deployment, key, dataset } = await world();
  const wrongs = [
    (receipts) => (receipts[1].signature = receipts[2].signature),
    (receipts) => (receipts[1].manifest_hash = "00".repeat(32)),
    (receipts) => (receipts[1].party = 7),
  ];
  for (const change of wrongs) {
    const portal = new FakePortal(signing);
    const answer = portal.route.bind(portal);
    portal.route = async (method, path, body) => {
      const response = await answer(method, path, body);
      const shown = await response.clone().json();
      if (shown.receipts?.length !== 4) return response;
      change(shown.receipts);
      return new Response(JSON.stringify(shown));
    };
    const options = { key, deployment, store: memoryStore(), csrf: "token", fetch: portal.fetch, sleep };
    await assert.rejects(upload(await dataset(), options), { name: "UploadRefused" });
  }
});

test("an upload that is stopped ends with an AbortError and goes on later", async () => {
  const { signing, deployment, key, dataset } = await world();
  const abort = new AbortController();
  const portal = new FakePortal(signing, (n, method) => void (method === "PUT" && abort.abort()));
  const store = memoryStore();
  const options = { deployment, store, csrf: "token", fetch: portal.fetch, sleep };
  const one = await dataset();
  await assert.rejects(upload(one, { key, ...options, signal: abort.signal }), { name: "AbortError" });
  assert.equal(await resume(one.id, options), one.id);
});

test("a new version follows what our own key signed, and nothing else", async () => {
  const { signing, deployment, key, dataset } = await world();
  const fake = new FakePortal(signing);
  const one = await dataset();
  await upload(one, { key, deployment, store: memoryStore(), csrf: "token", fetch: fake.fetch, sleep });
  const portal = new Portal({ csrf: "token", fetch: fake.fetch, sleep });
  const { place } = await following(one.id, portal, key.publicKey);
  assert.deepEqual(place, { version: 2, chain: one.id, previous: one.manifestHash });
  const next = await dataset({ place });
  assert.notEqual(next.id, one.id);
  await assert.rejects(following(one.id, portal, (await generateKey()).key.publicKey), /another key/);
  fake.known.get(one.id).manifest = { ...one.manifest, title: "x" };
  await assert.rejects(following(one.id, portal, key.publicKey), /did not sign/);
});
