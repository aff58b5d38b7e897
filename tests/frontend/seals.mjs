// Opens what Python sealed, and seals for Python to open: {vector, party, private, sealed} to {opened, sealed}, in hex.

import { readFileSync } from "node:fs";

import { chunkCount, prepare, seal, unseal } from "../../platform/portal/web/static/web/provider/bundle.js";
import { loadCodebook, parseCodebook } from "../../platform/portal/web/static/web/provider/codebook.js";
import { hex, unhex } from "../../platform/portal/web/static/web/provider/json.js";
import { importKey } from "../../platform/portal/web/static/web/provider/keys.js";

const { vector, capacity, party, private: key, sealed } = JSON.parse(readFileSync(0, "utf8"));
const { schema, codebook } = parseCodebook({ ...loadCodebook(vector.codebook), capacity });
const dataset = await prepare({
  key: await importKey(vector.provider_pem),
  codebook,
  schema,
  codes: { patients: vector.patients, columns: vector.columns },
  partySet: vector.party_set,
  portalSign: vector.portal_sign,
  created: vector.created,
});
const opened = [];
for (const [chunk, one] of sealed.entries()) {
  opened.push(hex(await unseal(unhex(one), party, unhex(key), dataset.manifestHash, chunk, sealed.length)));
}
const own = [];
for await (const one of seal(dataset, party)) own.push(hex(one));
if (own.length !== chunkCount(dataset, party)) throw new Error("another number of chunks");
console.log(JSON.stringify({ opened, sealed: own }));
