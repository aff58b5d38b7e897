// The provider's signing key, and the public keys of parties and portal that it relies on.
//
// The private key is used and never read again: what is kept are two keys that no script can export, one that signs
// and one (HMAC) that ids, seeds and salts follow from. The raw bytes exist for the moment of making or importing
// alone; the PEM handed out then is the only copy outside, in the form that `python -m providers` reads.
// A bundle is sealed to four public keys, so whoever chooses those reads the table: they are shown and pinned on first
// use, one entry for each portal address, and a portal that later serves others is refused with both fingerprints.

import { canonicalBytes, hex, isObject, unhex } from "./json.js";

const PARTIES = 4;
const SECRET_INFO = new TextEncoder().encode("fourfold/1/provider-secret");
const PKCS8_HEAD = "302e020100300506032b657004220420"; // RFC 8410: an Ed25519 seed follows
const HEX64 = /^[0-9a-f]{64}$/;

/** The keys of provider, parties or portal cannot be used. */
export class KeysRefused extends Error {
  constructor(message, changes = []) {
    super(message);
    this.name = "KeysRefused";
    this.changes = changes;
  }
}

// -- the provider's own key ------------------------------------------------------------------------------------

/** A new key { publicKey, signing, secret }, and its PEM: shown to the person once, as a backup, and then forgotten. */
export async function generateKey() {
  const pair = await supported(() => crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const pem = pemOf(pkcs8);
  return { key: await keyOf(pkcs8), pem };
}

/** The key in a PEM text (PKCS 8 without a password). Raises KeysRefused. */
export async function importKey(pem) {
  const found = /-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/.exec(pem);
  if (!found) throw new KeysRefused("this is no key in PEM: it begins with -----BEGIN PRIVATE KEY-----");
  if (found[1] !== "PRIVATE KEY") {
    throw new KeysRefused(`this is a PEM of kind ${found[1]}: an Ed25519 private key without a password is needed`);
  }
  let pkcs8;
  try {
    pkcs8 = Uint8Array.from(atob(found[2].replace(/\s/g, "")), (char) => char.charCodeAt(0));
  } catch {
    throw new KeysRefused("the PEM is damaged: it is not base64");
  }
  if (pkcs8.length !== 48 || hex(pkcs8.subarray(0, 16)) !== PKCS8_HEAD) {
    throw new KeysRefused("the PEM holds no Ed25519 private key");
  }
  return keyOf(pkcs8);
}

async function keyOf(pkcs8) {
  const seed = pkcs8.slice(16);
  try {
    // The public half is told by an exportable twin, which goes with this function.
    const twin = await supported(() => crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]));
    const { x } = await crypto.subtle.exportKey("jwk", twin);
    const signing = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
    const material = await crypto.subtle.importKey("raw", seed, "HKDF", false, ["deriveBits"]);
    const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: SECRET_INFO };
    const bits = await crypto.subtle.deriveBits(hkdf, material, 256);
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const secret = await crypto.subtle.importKey("raw", bits, hmac, false, ["sign"]);
    new Uint8Array(bits).fill(0);
    return { publicKey: hex(fromBase64Url(x)), signing, secret };
  } finally {
    seed.fill(0);
    pkcs8.fill(0);
  }
}

async function supported(make) {
  try {
    return await make();
  } catch (wrong) {
    if (!(wrong instanceof DOMException) || wrong.name !== "NotSupportedError") throw wrong;
    throw new KeysRefused(
      "this browser cannot sign with Ed25519: use a newer one (Chrome 137, Firefox 130, Safari 17), " +
        "or python -m providers on the command line",
    );
  }
}

function pemOf(pkcs8) {
  const lines = btoa(String.fromCharCode(...pkcs8)).match(/.{1,64}/g);
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

function fromBase64Url(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

/** The signature of a typed object over its canonical bytes, as 128 hex digits. */
export async function signObject(obj, key) {
  if (!/^fourfold\/1\/./.test(obj.type ?? "")) throw new TypeError("only objects of our types are signed");
  return hex(await crypto.subtle.sign("Ed25519", key.signing, canonicalBytes(obj)));
}

/** Whether `signature` (hex) is that of a typed object by the public key (hex). */
export async function isSigned(obj, signature, publicKey) {
  if (!/^fourfold\/1\/./.test(obj?.type ?? "") || !/^[0-9a-f]{128}$/.test(signature) || !HEX64.test(publicKey)) {
    return false;
  }
  try {
    const key = await crypto.subtle.importKey("raw", unhex(publicKey), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, unhex(signature), canonicalBytes(obj));
  } catch {
    return false;
  }
}

/** Keep the key in this browser; `store` as of storage.js. */
export function storeKey(key, store) {
  return store.put("keys", "provider", key);
}

/** The key that was kept in this browser, or null. */
export async function loadKey(store) {
  return (await store.get("keys", "provider")) ?? null;
}

/** Forget the key: without its PEM nobody can replace the datasets that it signed. */
export function forgetKey(store) {
  return store.delete("keys", "provider");
}

// -- the keys of parties and portal ----------------------------------------------------------------------------

/** The first 32 hex digits of SHA-256 over the raw public keys: what people compare by eye. */
export async function fingerprint(...publicKeys) {
  return hex(await crypto.subtle.digest("SHA-256", unhex(publicKeys.join("")))).slice(0, 32);
}

/**
 * Keys of parties and portal as /api/parties/ and access.json write them:
 * { parties: [{party, seal, sign, fingerprint}], portal: {sign, fingerprint} }. Raises KeysRefused.
 */
export async function parseDeployment(obj, source) {
  const entries = isObject(obj) ? (obj.parties ?? obj.results) : null;
  const portal = isObject(obj) ? obj.portal : null;
  if (!Array.isArray(entries) || !isObject(portal)) {
    throw new KeysRefused(`${source} does not list "parties" and "portal" with their public keys`);
  }
  const parties = [];
  for (const entry of entries) {
    if (!isObject(entry) || !Number.isInteger(entry.party)) {
      throw new KeysRefused(`${source}: an entry of the parties has no number`);
    }
    const { party } = entry;
    const seal = publicKey(entry.seal, `${source}: the seal key of party ${party}`);
    const sign = publicKey(entry.sign, `${source}: the sign key of party ${party}`);
    parties.push({ party, seal, sign, fingerprint: await stated(entry, [seal, sign], `${source}: party ${party}`) });
  }
  parties.sort((a, b) => a.party - b.party);
  if (parties.length !== PARTIES || parties.some(({ party }, n) => party !== n)) {
    throw new KeysRefused(`${source} must name the parties 0 to ${PARTIES - 1}, each once`);
  }
  if (new Set(parties.flatMap(({ seal, sign }) => [seal, sign])).size !== 2 * PARTIES) {
    throw new KeysRefused(`${source} gives two parties the same key`);
  }
  const sign = publicKey(portal.sign, `${source}: the sign key of the portal`);
  return { parties, portal: { sign, fingerprint: await stated(portal, [sign], `${source}: portal`) } };
}

function publicKey(value, name) {
  if (typeof value !== "string" || !HEX64.test(value)) throw new KeysRefused(`${name} is not 64 hex digits`);
  return value;
}

async function stated(entry, keys, name) {
  const computed = await fingerprint(...keys);
  const said = entry.fingerprint ?? computed;
  if (said !== computed) {
    throw new KeysRefused(`${name}: the stated fingerprint ${said} is not that of its keys, ${computed}`);
  }
  return computed;
}

/** [[name, fingerprint]] of the parties and the portal, in order. */
export function fingerprints({ parties, portal }) {
  return [...parties.map((one) => [`party ${one.party}`, one.fingerprint]), ["portal", portal.fingerprint]];
}

/** [{name, was, is}] of every key that differs. */
export function changes(old, served) {
  const now = new Map(fingerprints(served));
  return fingerprints(old).flatMap(([name, was]) => (now.get(name) === was ? [] : [{ name, was, is: now.get(name) }]));
}

export const pins = {
  /** What is pinned for a portal's address, or null. */
  async get(url, store) {
    return (await store.get("pins", url)) ?? null;
  },

  /** Every address and what is pinned for it: [[url, deployment]]. */
  entries(store) {
    return store.entries("pins");
  },

  /**
   * What the portal at `url` serves, if it is what was pinned: { deployment, first }. On first use (`first`) the page
   * shows the fingerprints, and a person compares them before anything is sealed. Raises KeysRefused with `changes`.
   */
  async check(url, served, store) {
    const deployment = await parseDeployment(served, url);
    const known = await pins.get(url, store);
    if (known === null) {
      await store.put("pins", url, deployment);
      return { deployment, first: true };
    }
    const changed = changes(known, deployment);
    if (changed.length) {
      const said = changed.map(({ name, was, is }) => `${name} was ${was} and is ${is}`).join(", ");
      throw new KeysRefused(
        `the keys at ${url} are not the pinned ones: ${said}; ask the parties out of band, then give the new keys as a file`,
        changed,
      );
    }
    return { deployment: known, first: false };
  },

  /** Keys that a person gave in a file become the pins of `url`: { deployment, changes } says what they replace. */
  async trust(url, given, store) {
    const deployment = await parseDeployment(given, "the given file");
    const known = await pins.get(url, store);
    await store.put("pins", url, deployment);
    return { deployment, changes: known === null ? [] : changes(known, deployment) };
  },
};
