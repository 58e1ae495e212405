// The log: what becomes of it, and of the work, when it cannot be written.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { exitCodes } from "../src/errors.ts";
import { csvOf } from "./harness/csv.ts";
import {
  type IngestReport,
  archiveKey,
  changeKey,
  onlyDataset,
  startLoader,
} from "./harness/loader.ts";

const CLI = fileURLToPath(new URL("../src/fleettickets.js", import.meta.url));
const FULL = "/dev/full";
const keys = [1, 2, 3].map((n) => changeKey(n));

describe("a log that cannot be written changes nothing of the work:", () => {
  const logs: readonly [what: string, stderr: () => number | "pipe"][] = [
    ["its disk is full", () => openSync(FULL, "w")],
    ["its reader has gone", () => "pipe"],
  ];
  for (const [what, stderr] of logs) {
    const skip = what.includes("disk") && !existsSync(FULL) ? `there is no ${FULL}` : false;

    test(`${what}, and all files are loaded and archived`, { skip }, async (t) => {
      const { s3, env } = await startLoader(t);
      for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key }]));
      const { code, stdout } = await runWith(stderr(), ["ingest", "inc", "--apply", "--json"], env);
      assert.equal(code, exitCodes.done);
      const { files } = onlyDataset(JSON.parse(stdout) as IngestReport);
      assert.deepEqual(
        files.map(({ status }) => status),
        keys.map(() => "applied"),
      );
      assert.deepEqual(await s3.keys(), keys.map(archiveKey));
    });

    test(`${what}, and the exit code is that of a refused file`, { skip }, async (t) => {
      const { s3, env } = await startLoader(t);
      await s3.put(changeKey(1), "<html>");
      await s3.put(changeKey(2), csvOf([{ ticket_id: "T1" }]));
      const { code, stdout } = await runWith(stderr(), ["ingest", "inc", "--apply"], env);
      assert.equal(code, exitCodes.fileRefused);
      assert.match(stdout, /log could not be written/);
    });
  }
});

test("a result that nobody reads does not change the exit code", async (t) => {
  const { s3, env } = await startLoader(t);
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key }]));
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [CLI, "ingest", "inc", "--apply"], {
    cwd: tmpdir(),
    env: { PATH, HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  child.stderr.destroy();
  assert.deepEqual(await once(child, "close"), [exitCodes.done, null]);
  assert.deepEqual(await s3.keys(), keys.map(archiveKey));
});

test("the log of a dry run does not say that a file is applied", async (t) => {
  const { s3, run } = await startLoader(t);
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  const entries = async (args: readonly string[]) =>
    (await run(args)).stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((entry) => "inserted" in entry)
      .map((entry) => [entry["msg"], entry["dry_run"]]);
  assert.deepEqual(await entries(["ingest", "inc"]), [["would be applied", true]]);
  assert.deepEqual(await entries(["ingest", "inc", "--apply"]), [["applied", undefined]]);
});

async function runWith(
  stderr: number | "pipe",
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number | null; stdout: string }> {
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: tmpdir(),
    env: { PATH, HOME, ...env },
    stdio: ["ignore", "pipe", stderr],
  });
  child.stderr?.destroy();
  assert.ok(child.stdout);
  const [stdout, [code]] = await Promise.all([
    text(child.stdout),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { code, stdout };
}
