// Bundles what the browser runs, from src/preview: `node src/preview-build.ts` writes it for the
// package; in a checkout the program calls it instead.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";
import type { Bundle } from "./preview-bundle.ts";

const SOURCES = join(import.meta.dirname, "preview");
const BUILT = join(import.meta.dirname, "..", "dist", "preview");

/** The page's script and style, and the program of the map's worker. */
export async function bundle(): Promise<Bundle> {
  const library = fileURLToPath(import.meta.resolve("maplibre-gl"));
  const license = await readFile(join(dirname(library), "..", "LICENSE.txt"), "utf8");
  const banner = { js: `/*!\n${license.replaceAll("*/", "* /")}*/` };
  const [script, worker, style] = await Promise.all([
    // Classic scripts: a page that was opened from a file may start no worker from a module.
    output({ entryPoints: [join(SOURCES, "main.ts")], format: "iife", banner }),
    output({
      entryPoints: [join(dirname(library), "maplibre-gl-worker.mjs")],
      format: "iife",
      banner,
    }),
    output({ entryPoints: [join(SOURCES, "page.css")] }),
  ]);
  return { script, worker, style };
}

async function output(options: BuildOptions): Promise<string> {
  const { outputFiles = [] } = await build({
    bundle: true,
    minify: true,
    target: "es2022",
    charset: "utf8",
    legalComments: "eof",
    // The library asks where it was loaded from; it is told where its worker is instead.
    define: { "import.meta.url": '""' },
    logLevel: "error",
    write: false,
    ...options,
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error("esbuild made nothing");
  return file.text;
}

if (import.meta.main) {
  const { script, worker, style } = await bundle();
  await mkdir(BUILT, { recursive: true });
  await writeFile(join(BUILT, "page.js"), script);
  await writeFile(join(BUILT, "worker.js"), worker);
  await writeFile(join(BUILT, "page.css"), style);
}
