// Bundles are byte for byte those of `python -m providers`: vectors of tests/vectors/bundle, made by it.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { chunkCount, plaintext, prepare, seal, unseal } from "../../platform/portal/web/static/web/provider/bundle.js";
import { loadCodebook, parseCodebook } from "../../platform/portal/web/static/web/provider/codebook.js";
import { canonical, digest, hex } from "../../platform/portal/web/static/web/provider/json.js";
import { importKey, isSigned } from "../../platform/portal/web/static/web/provider/keys.js";

const FOLDER = new URL("../../tests/vectors/bundle/", import.meta.url);
const VECTORS = readdirSync(FOLDER).map((file) => [file, JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"))]);
const SMALL = VECTORS.find(([name]) => name === "small.json")[1];

async function prepared(vector, changes = {}) {
  const { schema, codebook } = parseCodebook(loadCodebook(vector.codebook));
  return prepare({
    key: await importKey(vector.provider_pem),
    codebook,
    schema,
    codes: { patients: vector.patients, columns: vector.columns },
    partySet: vector.party_set,
    portalSign: vector.portal_sign,
    created: vector.created,
    place: vector.place,
    ...changes,
  });
}

for (const [name, vector] of VECTORS) {
  const { expected } = vector;

  test(`${name}: the codebook has one canonical text and one hash`, async () => {
    const { schema, codebook } = parseCodebook(loadCodebook(vector.codebook));
    assert.equal(canonical(codebook), expected.canonical_codebook);
    assert.equal(await schema.hash(), expected.codebook_hash);
    assert.equal(await schema.layoutHash(), expected.layout_hash);
  });

  test(`${name}: manifest, signature and the clear bundles are the same bytes`, async () => {
    const dataset = await prepared(vector);
    assert.equal(dataset.id, expected.dataset);
    assert.equal(canonical(dataset.manifest), expected.manifest);
    assert.equal(dataset.manifestHash, expected.manifest_hash);
    assert.equal(dataset.signature, expected.signature);
    assert.deepEqual([0, 1, 2, 3].map((party) => hex(plaintext(dataset, party))), expected.bundles);
    assert.ok(await isSigned(dataset.manifest, dataset.signature, dataset.manifest.provider_key));
  });
}

test("another table is another dataset, another title another signature of the same", async () => {
  const columns = structuredClone(SMALL.columns);
  columns.age.codes[0] ^= 1;
  const other = await prepared(SMALL, { codes: { patients: SMALL.patients, columns } });
  assert.notEqual(other.id, SMALL.expected.dataset);
  const titled = await prepared(SMALL, { title: "another" });
  assert.equal(titled.id, SMALL.expected.dataset);
  assert.notEqual(titled.signature, SMALL.expected.signature);
});

test("a party opens its own chunks and nobody else's, and a seal is bound to its place", async () => {
  const pair = await crypto.subtle.generateKey("X25519", true, ["deriveBits"]);
  const own = Buffer.from((await crypto.subtle.exportKey("jwk", pair.privateKey)).d, "base64url");
  const publicKey = hex(await crypto.subtle.exportKey("raw", pair.publicKey));
  const partySet = SMALL.party_set.map((one) => (one.party === 2 ? { ...one, seal: publicKey } : one));
  const dataset = await prepared(SMALL, { partySet });
  const told = [];
  const chunks = [];
  for await (const chunk of seal(dataset, 2, { progress: (part) => told.push(part) })) chunks.push(chunk);
  assert.equal(chunks.length, chunkCount(dataset, 2));
  assert.deepEqual(told, [1]);
  assert.deepEqual(await unseal(chunks[0], 2, own, dataset.manifestHash, 0, 1), plaintext(dataset, 2));
  await assert.rejects(unseal(chunks[0], 1, own, dataset.manifestHash, 0, 1));
  await assert.rejects(unseal(chunks[0], 2, own, await digest({}), 0, 1));
  const { value: other } = await seal(dataset, 1).next();
  await assert.rejects(unseal(other, 1, own, dataset.manifestHash, 0, 1));
});
