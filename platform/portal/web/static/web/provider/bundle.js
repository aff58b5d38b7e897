// A table's planes become one sealed bundle per party, bound to a signed manifest.
//
// Byte for byte what `python -m providers` makes: everything random follows from the provider's key and the content, so
// the same table under the same key, at the same place of its chain, is the same dataset; only the sealing is fresh.
// Four components, XOR: 0, 1 and 2 are expanded from seeds, 3 is what remains; party p's bundle holds every component
// but p. HPKE (RFC 9180) with X25519, HKDF-SHA256, AES-256-GCM.

import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "../../vendor/crypto.js";
import { canonicalBytes, digest, hex, unhex } from "./json.js";
import { signObject } from "./keys.js";
import { expand, splitPlanes, toPlanes } from "./planes.js";

export const PARTIES = 4;
const CHUNK = 2 ** 20;
export const FIRST = { version: 1, chain: null, previous: null };

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});
const utf8 = (text) => new TextEncoder().encode(text);

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What a manifest says of its place in a chain; a first version names no chain: it begins one. */
function placeOf({ version, chain, previous }) {
  return chain === null ? { version, previous } : { version, previous, chain };
}

/**
 * Split a table's codes and sign the manifest that describes them.
 *
 * key        as of keys.js; codebook and schema as of codebook.js; codes { patients, columns: {name: {codes, present}} }
 * partySet   [{party, seal, sign}] in order; portalSign hex; created unix seconds; place { version, chain, previous }
 * Returns { id, manifest, manifestHash, signature, codebook, seeds, salts, last }.
 */
export async function prepare({
  key, codebook, schema, codes, partySet, portalSign, created, place = FIRST, title = null, progress = () => {},
}) {
  const parties = partySet.map(({ party, seal, sign }) => ({ party, seal, sign }));
  const { layout, capacity } = schema;
  const layoutHash = await digest(layout);
  const planes = toPlanes(codes, schema.planeNames, capacity);
  progress(0.2);
  const mac = async (...parts) => new Uint8Array(await crypto.subtle.sign("HMAC", key.secret, joined(...parts)));
  const content = await mac(canonicalBytes(codebook), canonicalBytes(layout), planes, canonicalBytes(parties));
  // A table that comes back later in its chain is another version, under seeds of its own.
  const bound = place.version === 1 && place.chain === null ? [] : [canonicalBytes(placeOf(place))];
  const id = (await mac(utf8("dataset"), content, ...bound)).slice(0, 16);
  const derived = (kind, c) => mac(utf8(kind), id, Uint8Array.of(c));
  const seeds = await Promise.all([0, 1, 2].map((c) => derived("seed", c)));
  const salts = await Promise.all([0, 1, 2, 3].map((c) => derived("salt", c)));
  const last = await splitPlanes(planes, seeds);
  progress(0.5);
  const commitments = [];
  for (let c = 0; c < PARTIES; c++) {
    const body = c === PARTIES - 1 ? last : await expand(seeds[c], planes.length);
    commitments.push(await commitment(c, salts[c], layoutHash, body));
    progress(0.5 + 0.125 * (c + 1));
  }
  const manifest = {
    type: "fourfold/1/manifest",
    dataset: hex(id),
    ...placeOf(place),
    title: title || schema.title,
    provider_key: key.publicKey,
    codebook_hash: await digest(codebook),
    capacity,
    patient_unit: "patient",
    max_rows_per_patient: 1,
    layout_hash: layoutHash,
    party_set: parties,
    portal: { sign: portalSign },
    policy: schema.policy,
    commitments,
    created,
  };
  return { ...(await signed(manifest, key)), codebook, seeds, salts, last };
}

/** A manifest with its id, hash and signature. */
export async function signed(manifest, key) {
  return {
    id: manifest.dataset,
    manifest,
    manifestHash: await digest(manifest),
    signature: await signObject(manifest, key),
  };
}

/** What the manifest says of one component, and its three holders check before they sign a receipt. */
export async function commitment(component, salt, layoutHash, body) {
  const whole = joined(utf8("fourfold/1/component"), salt, Uint8Array.of(component), unhex(layoutHash), body);
  return hex(await crypto.subtle.digest("SHA-256", whole));
}

/** Party p's bundle in clear: a header that names its components in order, then their bodies. */
export function plaintext(dataset, party) {
  const held = [0, 1, 2, 3].filter((c) => c !== party);
  const components = held.map((c) => ({
    component: c,
    form: c === PARTIES - 1 ? "planes" : "seed",
    salt: hex(dataset.salts[c]),
  }));
  const header = canonicalBytes({ type: "fourfold/1/bundle", party, manifest_hash: dataset.manifestHash, components });
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, header.length);
  return joined(size, header, ...held.map((c) => (c === PARTIES - 1 ? dataset.last : dataset.seeds[c])));
}

/** What the seal of one chunk is bound to: it opens nowhere else. */
export function chunkInfo(party, manifestHash, chunk, chunks) {
  return canonicalBytes({ type: "fourfold/1/input", party, manifest_hash: manifestHash, chunk, chunks });
}

/** How many chunks a party's bundle is cut in; at least one. */
export function chunkCount(dataset, party) {
  return Math.ceil(plaintext(dataset, party).length / CHUNK);
}

/** The sealed chunks of one party's bundle, in order; only that party's private key opens them. */
export async function* seal(dataset, party, { progress = () => {}, ephemeral = undefined } = {}) {
  const clear = plaintext(dataset, party);
  const chunks = Math.ceil(clear.length / CHUNK);
  const entry = dataset.manifest.party_set.find((one) => one.party === party);
  const recipientPublicKey = await suite.kem.deserializePublicKey(unhex(entry.seal));
  for (let chunk = 0; chunk < chunks; chunk++) {
    const info = chunkInfo(party, dataset.manifestHash, chunk, chunks);
    // `ephemeral` is for test vectors alone: a seal is fresh.
    const sender = { recipientPublicKey, info, ...(ephemeral && { ekm: ephemeral }) };
    const { enc, ct } = await suite.seal(sender, clear.slice(chunk * CHUNK, (chunk + 1) * CHUNK));
    progress((chunk + 1) / chunks);
    yield joined(new Uint8Array(enc), new Uint8Array(ct));
  }
}

/** Open one sealed chunk with a party's private key (raw, 32 bytes). For tests: no page holds such a key. */
export async function unseal(sealed, party, privateKey, manifestHash, chunk, chunks) {
  const recipientKey = await suite.kem.deserializePrivateKey(privateKey);
  const info = chunkInfo(party, manifestHash, chunk, chunks);
  return new Uint8Array(await suite.open({ recipientKey, enc: sealed.slice(0, 32), info }, sealed.slice(32)));
}
