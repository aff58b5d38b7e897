// What the browser's modules make of many studies: one JSON line for each line of standard input.
//
// In   {codebook: text, files: [[name, base64]], keys: {provider_pem, party_set, portal_sign, created}}
// Out  {problems, counts, columns, manifest, signature}, or {rejected: problems of the codebook}

import { createInterface } from "node:readline";

import { prepare } from "../../platform/portal/web/static/web/provider/bundle.js";
import { check, encodeStudy } from "../../platform/portal/web/static/web/provider/check.js";
import { CodebookProblem, loadCodebook, parseCodebook } from "../../platform/portal/web/static/web/provider/codebook.js";
import { countsOf } from "../../platform/portal/web/static/web/provider/counts.js";
import { canonical } from "../../platform/portal/web/static/web/provider/json.js";
import { importKey } from "../../platform/portal/web/static/web/provider/keys.js";
import { readTable } from "../../platform/portal/web/static/web/provider/read.js";

async function answer({ codebook: text, files, keys }) {
  let parsed;
  try {
    parsed = parseCodebook(loadCodebook(text));
  } catch (wrong) {
    if (!(wrong instanceof CodebookProblem)) throw wrong;
    return { rejected: wrong.problems };
  }
  const { schema, codebook } = parsed;
  const tables = await Promise.all(
    files.map(([name, content]) => readTable(new Blob([Buffer.from(content, "base64")]), name)),
  );
  const { report, encoded } = encodeStudy(schema, tables);
  const said = { problems: report.problems, counts: null, columns: null, manifest: null, hash: await schema.hash() };
  if (encoded === null) return said;
  said.counts = countsOf(schema, encoded);
  said.columns = Object.fromEntries(
    Object.entries(encoded.columns).map(([name, { codes, present }]) => [name, [[...codes], [...present]]]),
  );
  const { codes } = check(schema, tables);
  if (codes === null) return said;
  const dataset = await prepare({
    key: await importKey(keys.provider_pem),
    codebook,
    schema,
    codes,
    partySet: keys.party_set,
    portalSign: keys.portal_sign,
    created: keys.created,
  });
  return { ...said, manifest: canonical(dataset.manifest), signature: dataset.signature };
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
