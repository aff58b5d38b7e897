// Makes the files of platform/portal/web/static/vendor: each from one entry point, with the licences of what is in it.
//
//     node build.mjs [FOLDER]
//
// What it makes is committed, so that nobody needs npm to run the portal; .ci/run makes it again and compares.

import { readFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = process.argv[2] ?? join(HERE, "../platform/portal/web/static/vendor");

// The file that a page imports, and the module that says what is in it. One line for each further library.
const ENTRIES = {
  "crypto.js": "vendor/crypto.js",
  "editor.js": "vendor/editor.js",
  "vega.js": "vendor/vega.js",
};

const LICENCES = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "license"];

async function bundle(entry) {
  const made = await build({
    entryPoints: [join(HERE, entry)],
    absWorkingDir: HERE,
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    target: ["es2022"],
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
    external: ["crypto"], // named by @hpke/common for old versions of node only
  });
  return { code: made.outputFiles[0].contents, inputs: Object.keys(made.metafile.inputs) };
}

function packageOf(path) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  return found?.[1];
}

async function licence(name) {
  const folder = join(HERE, "node_modules", name);
  const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  for (const file of LICENCES) {
    const text = await readFile(join(folder, file), "utf8").catch(() => null);
    if (text !== null) return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  }
  throw new Error(`${name} has no licence file: it is not to be given on`);
}

await mkdir(FOLDER, { recursive: true });
const used = new Map();
for (const [file, entry] of Object.entries(ENTRIES)) {
  const { code, inputs } = await bundle(entry);
  await writeFile(join(FOLDER, file), code);
  for (const name of new Set(inputs.map(packageOf).filter(Boolean))) {
    used.set(name, [...(used.get(name) ?? []), file]);
  }
  console.log(`${relative(process.cwd(), join(FOLDER, file))} ${code.length} bytes`);
}
const parts = ["What is in the files of this folder, and under which terms. Made by frontend/build.mjs."];
for (const name of [...used.keys()].sort()) {
  parts.push(`${"-".repeat(80)}\nin ${used.get(name).join(", ")}: ${await licence(name)}`);
}
await writeFile(join(FOLDER, "LEGAL.txt"), `${parts.join("\n\n")}`);
