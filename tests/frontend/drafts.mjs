// What the browser drafts from many studies: one JSON line for each line of standard input.
//
// In   {files: [[name, base64]], year}
// Out  {codebook, columns, notes, problems}, or {refused: message}, or {unread: true}

import { createInterface } from "node:readline";

import { draft, DraftRefused } from "../../platform/portal/web/static/web/provider/draft.js";
import { readTable } from "../../platform/portal/web/static/web/provider/read.js";

async function answer({ files, year }) {
  const tables = await Promise.all(
    files.map(([name, content]) => readTable(new Blob([Buffer.from(content, "base64")]), name)),
  );
  if (tables.some(({ problems }) => problems.some(({ severity }) => severity === "error"))) return { unread: true };
  try {
    return draft(tables, { year });
  } catch (wrong) {
    if (!(wrong instanceof DraftRefused)) throw wrong;
    return { refused: wrong.message };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
