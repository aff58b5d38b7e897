// The provider's key leaves the browser once, as its PEM; keys of parties are pinned.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  fingerprint, generateKey, importKey, isSigned, KeysRefused, loadKey, pins, signObject, storeKey,
} from "../../platform/portal/web/static/web/provider/keys.js";
import { memoryStore } from "./memory.js";

const VECTOR = JSON.parse(readFileSync(new URL("../../tests/vectors/bundle/small.json", import.meta.url), "utf8"));
const URL_ = "https://portal.example/";

function served(changed = {}) {
  const parties = VECTOR.party_set.map((one) => ({ ...one, ...(changed[one.party] ?? {}) }));
  return { parties, portal: { sign: VECTOR.portal_sign } };
}

test("a new key signs, cannot be exported, and its PEM is the same key again", async () => {
  const { key, pem } = await generateKey();
  const object = { type: "fourfold/1/test", n: 1 };
  assert.ok(await isSigned(object, await signObject(object, key), key.publicKey));
  assert.equal(await isSigned({ ...object, n: 2 }, await signObject(object, key), key.publicKey), false);
  for (const one of [key.signing, key.secret]) {
    assert.equal(one.extractable, false);
    await assert.rejects(crypto.subtle.exportKey(one.type === "secret" ? "raw" : "pkcs8", one));
  }
  const again = await importKey(pem);
  assert.equal(again.publicKey, key.publicKey);
  assert.equal(await signObject(object, again), await signObject(object, key));
  const macs = await Promise.all([key, again].map(({ secret }) => crypto.subtle.sign("HMAC", secret, new Uint8Array(3))));
  assert.deepEqual(...macs);
});

test("a PEM that is no Ed25519 key is refused by name", async () => {
  const { pem } = await generateKey();
  const refused = async (text, message) => assert.rejects(importKey(text), { name: "KeysRefused", message });
  await refused("hello", /no key in PEM/);
  await refused(pem.replaceAll("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), /ENCRYPTED PRIVATE KEY/);
  await refused(pem.replace("MC4CAQAw", "MC4CAQBw"), /no Ed25519/);
  await refused(pem.replace(/\n(.).*\n/, "\n$1\n"), /damaged|no Ed25519/);
});

test("only typed objects are signed", async () => {
  const { key } = await generateKey();
  await assert.rejects(signObject({ n: 1 }, key));
  await assert.rejects(signObject({ type: "fourfold/1/" }, key));
});

test("a key that is stored is there on the next visit", async () => {
  const store = memoryStore();
  assert.equal(await loadKey(store), null);
  const { key } = await generateKey();
  await storeKey(key, store);
  assert.equal((await loadKey(store)).publicKey, key.publicKey);
});

test("keys are pinned on first use, and changed ones are refused with both fingerprints", async () => {
  const store = memoryStore();
  const first = await pins.check(URL_, served(), store);
  assert.equal(first.first, true);
  assert.equal((await pins.check(URL_, served(), store)).first, false);
  const other = served({ 2: { seal: "ab".repeat(32) } });
  const is = await fingerprint("ab".repeat(32), VECTOR.party_set[2].sign);
  await assert.rejects(pins.check(URL_, other, store), (wrong) => {
    assert.ok(wrong instanceof KeysRefused);
    assert.deepEqual(wrong.changes, [{ name: "party 2", was: first.deployment.parties[2].fingerprint, is }]);
    assert.ok(wrong.message.includes(is));
    return true;
  });
  assert.equal((await pins.check("https://other.example/", other, store)).first, true);
  const trusted = await pins.trust(URL_, other, store);
  assert.equal(trusted.changes.length, 1);
  assert.equal((await pins.check(URL_, other, store)).first, false);
});

test("keys that are malformed, twice, missing or belie their fingerprint are refused", async () => {
  const refused = async (obj, message) => assert.rejects(pins.check(URL_, obj, memoryStore()), { message });
  await refused([], /does not list/);
  await refused({ parties: served().parties.slice(1), portal: served().portal }, /0 to 3/);
  await refused(served({ 1: { seal: "xyz" } }), /seal key of party 1 is not 64 hex/);
  await refused(served({ 1: { seal: VECTOR.party_set[0].seal } }), /same key/);
  await refused(served({ 1: { fingerprint: "00" } }), /stated fingerprint/);
});
