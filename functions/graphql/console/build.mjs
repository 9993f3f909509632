// Build the console into a folder: files named after their content, each compressed beside itself, and the two pages.
// usage: node build.mjs [FOLDER]

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

import { build } from "esbuild";

const folder = process.argv[2] ?? "dist";
const assets = join(folder, "assets");

const common = {
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "none",
  logLevel: "error",
  metafile: true,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".ttf": "file", ".svg": "file" },
  define: { "process.env.NODE_ENV": '"production"' },
  outdir: assets,
};

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
};

const outputOf = (metafile, ending) => {
  const [path] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint?.endsWith(ending)) ?? [];
  if (!path) throw new Error(`nothing was built from ${ending}`);
  return path;
};

/** Return every file that the browser needs before it can run the entry: its imports that are not on demand. */
const needed = (metafile, path, found = new Set()) => {
  if (!found.has(path)) {
    found.add(path);
    const statically = metafile.outputs[path].imports.filter((one) => one.kind === "import-statement");
    for (const one of statically) needed(metafile, one.path, found);
  }
  return [...found];
};

const url = (path) => `/console/assets/${basename(path)}`;

const copyIcon = async () => {
  const content = await readFile("icon.svg");
  const name = `icon-${createHash("sha256").update(content).digest("hex").slice(0, 8)}.svg`;
  await writeFile(join(assets, name), content);
  return `<link rel="icon" href="${url(name)}">`;
};

const page = async (template, metafile, entry) => {
  const script = outputOf(metafile, entry);
  const chunks = needed(metafile, script);
  const styles = chunks.map((path) => metafile.outputs[path].cssBundle).filter(Boolean);
  const tags = [
    icon,
    ...styles.map((path) => `<link rel="stylesheet" href="${url(path)}">`),
    ...chunks.slice(1).map((path) => `<link rel="modulepreload" href="${url(path)}">`),
    `<script type="module" src="${url(script)}"></script>`,
  ];
  const text = await readFile(template, "utf8");
  await writeFile(join(folder, template), text.replace("<!-- files -->", tags.join("\n    ")));
};

const compress = async (name) => {
  const file = join(assets, name);
  const content = await readFile(file);
  const quality = content.length > 1_000_000 ? 9 : 11; // the best takes half a minute for the editor's workers
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: quality } };
  await writeFile(`${file}.br`, await promisify(brotliCompress)(content, options));
  await writeFile(`${file}.gz`, await promisify(gzip)(content, { level: 9 }));
};

await rm(folder, { recursive: true, force: true });
await mkdir(assets, { recursive: true });
const icon = await copyIcon();
const workers = await build({ ...common, entryPoints: Object.values(WORKERS), format: "iife" });
const workerUrls = Object.fromEntries(
  Object.entries(WORKERS).map(([label, source]) => [label, url(outputOf(workers.metafile, source))]),
);
const { metafile } = await build({
  ...common,
  entryPoints: { console: "src/main.tsx", graphiql: "src/graphiql/main.tsx" },
  format: "esm",
  splitting: true,
  jsx: "automatic",
  define: { ...common.define, WORKER_URLS: JSON.stringify(workerUrls) },
});
await page("index.html", metafile, "src/main.tsx");
await page("graphiql.html", metafile, "src/graphiql/main.tsx");
const built = await readdir(assets);
await Promise.all(built.filter((name) => [".js", ".css", ".svg"].includes(extname(name))).map(compress));
