// What `npm pack` does beyond compiling, so that an installation does not bring the AWS SDK:
//
//   node src/s3-client-build.ts          bundles it into dist, with the licences of what is in it
//   node src/s3-client-build.ts strip    takes it out of package.json while the package is made
//   node src/s3-client-build.ts restore  puts package.json back

import { existsSync } from "node:fs";
import { readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "..");
const DIST = join(ROOT, "dist");
const MANIFEST = join(ROOT, "package.json");
const KEPT = join(ROOT, "package.json.kept");

switch (process.argv[2]) {
  case undefined:
    await bundle();
    break;
  case "strip":
    await strip();
    break;
  case "restore":
    await rename(KEPT, MANIFEST);
    break;
  default:
    throw new Error(`usage: ${relative(ROOT, import.meta.filename)} [strip|restore]`);
}

async function bundle(): Promise<void> {
  const { metafile } = await build({
    entryPoints: [join(ROOT, "src/s3-client.ts")],
    outdir: DIST,
    chunkNames: "s3-client/[name]-[hash]",
    bundle: true,
    // Ways to find credentials that a run does not use stay unread.
    splitting: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node22.18",
    legalComments: "none",
    // Parts of it are CommonJS and ask for Node's own modules.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    metafile: true,
    logLevel: "error",
    allowOverwrite: true,
  });
  const packages = new Set(
    Object.keys(metafile.inputs).flatMap((path) => {
      const [name] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [];
      return name === undefined ? [] : [name];
    }),
  );
  const texts = await Promise.all([...packages].sort().map(licenceOf));
  await writeFile(join(DIST, "s3-client.licences.txt"), texts.join("\n"));
}

/** Name, version and licence of a package, with the text that it brings along. */
async function licenceOf(folder: string): Promise<string> {
  const { name, version, license } = JSON.parse(
    await readFile(join(ROOT, folder, "package.json"), "utf8"),
  ) as Record<string, string>;
  const files = (await readdir(join(ROOT, folder))).filter((f) => /^(licen[cs]e|notice)/i.test(f));
  const texts = await Promise.all(files.map((f) => readFile(join(ROOT, folder, f), "utf8")));
  return [`${name} ${version}: ${license}`, ...texts].join("\n\n");
}

async function strip(): Promise<void> {
  if (existsSync(KEPT)) throw new Error(`${KEPT} is left from a run that was ended: restore it`);
  const text = await readFile(MANIFEST, "utf8");
  const manifest = JSON.parse(text) as { dependencies: Record<string, string> };
  delete manifest.dependencies["@aws-sdk/client-s3"];
  await writeFile(KEPT, text);
  await writeFile(MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`);
}
