#!/usr/bin/env node
// The command `fleettickets`. A checkout runs its sources as they are; the package and the image
// have the build only. In plain JavaScript, so that an old Node gets as far as being told.
import { closeSync, existsSync, openSync } from "node:fs";
import nodeModule from "node:module";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `fleettickets needs Node 22.18 or newer, this is ${process.versions.node}. ` +
      "In a checkout, npx fleettickets and npm run bring their own.",
  );
  process.exit(2);
}

// Connections and code that is being loaded, and some to spare. A run that meets its limit half-way
// takes it for a fault of the network.
const OPEN_FILES = 16;
const failure = openFilesFailure();
if (failure !== undefined) {
  console.error(
    `fleettickets needs to open ${OPEN_FILES} more files at once, and the system refuses (${failure}). ` +
      "Raise the limit: ulimit -n 1024",
  );
  process.exit(2);
}

// The chunks of a file are garbage as soon as they are sent. Left to itself, V8 lets more and more of
// them lie before it collects: a quarter more memory, and no gain in speed.
setFlagsFromString("--semi-space-growth-factor=1");

// A run that finds nothing new spends most of its time on loading code. Compiled, it is kept in a
// folder of our own: whoever can write into one that all share could have us run theirs. Where the
// folder cannot be written, all is compiled each time.
nodeModule.enableCompileCache(
  fileURLToPath(new URL("../node_modules/.cache/node", import.meta.url)),
);

const source = new URL("./cli.ts", import.meta.url);
/** @type {typeof import("./cli.ts")} */
// eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- whichever of the two is there
const cli = await import(existsSync(source) ? source.href : "../dist/cli.js");
await cli.main(process.argv);

/** Why so many files cannot be open at once; undefined when they can be. */
function openFilesFailure() {
  /** @type {number[]} */
  const opened = [];
  try {
    while (opened.length < OPEN_FILES) opened.push(openSync(fileURLToPath(import.meta.url), "r"));
    return undefined;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  } finally {
    opened.forEach(closeSync);
  }
}
