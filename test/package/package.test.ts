import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { exitCodes } from "../../src/errors.ts";
import { csvOf } from "../harness/csv.ts";
import { changeKey } from "../harness/loader.ts";
import { createEmptyDatabase } from "../harness/postgres.ts";
import { startS3 } from "../harness/s3.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

const folder = await mkdtemp("/tmp/fleettickets-package-");
after(() => rm(folder, { recursive: true }));
// Its own folder can be closed to the account that a test runs the program as.
chmodSync(folder, 0o755);

interface Packed {
  filename: string;
  files: { path: string }[];
}

const packed = await pack();

async function pack(): Promise<Packed> {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: ROOT,
    maxBuffer: 16 * 1024 * 1024,
  });
  // What prepack prints comes before it.
  const [found] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as Packed[];
  return found ?? assert.fail(stdout);
}

test("the package has what runs, and nothing else", () => {
  const kinds = [
    /^(package\.json|README\.md|LICENSE)$/,
    /^dist\/[\w/-]+\.js$/,
    /^dist\/preview\/page\.css$/,
    /^src\/fleettickets\.js$/,
    /^migrations\/committed\/\d{6}[\w-]*\.sql$/,
    /^migrations\/fixtures\/grants\.sql$/,
    /^migrations\/seeds\/\w+\.sql$/,
  ];
  const paths = packed.files.map(({ path }) => path);
  assert.deepEqual(
    paths.filter((path) => !kinds.some((kind) => kind.test(path))),
    [],
  );
  for (const kind of kinds)
    assert.ok(
      paths.some((path) => kind.test(path)),
      String(kind),
    );
});

describe("installed in an empty prefix, and called from another folder", () => {
  const prefix = join(folder, "prefix");
  const command = join(prefix, "bin/fleettickets");

  async function fleettickets(args: string[], env: Record<string, string> = {}) {
    const { PATH } = process.env;
    const { stdout } = await run(command, args, { cwd: tmpdir(), env: { PATH, ...env } });
    return stdout;
  }

  test("it has one command", async () => {
    await run("npm", [
      ...["install", "--global", "--prefix", prefix, "--prefer-offline"],
      ...["--no-audit", "--no-fund", join(folder, packed.filename)],
    ]);
    assert.deepEqual(readdirSync(join(prefix, "bin")), ["fleettickets"]);
    assert.match(await fleettickets(["--help"]), /Usage: fleettickets/);
    assert.match(await fleettickets(["--version"]), /^\d+\.\d+\.\d+\n$/);
  });

  test("it migrates, loads and archives", async (t) => {
    const s3 = await startS3(t);
    const env = { ...s3.env, DATABASE_URL: await createEmptyDatabase(t) };
    await fleettickets(["migrate"], env);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const { exit_code } = JSON.parse(
      await fleettickets(["ingest", "inc", "--apply", "--json"], env),
    ) as { exit_code: number };
    assert.equal(exit_code, exitCodes.done);
    assert.deepEqual(await s3.keys(), ["automations/inc/processed/2026-06-15T06-20-00.csv"]);
    await fleettickets(["doctor"], env);
  });

  test("it does the demo", async (t) => {
    const cwd = await mkdtemp(join(tmpdir(), "fleettickets-demo-"));
    t.after(() => rm(cwd, { recursive: true }));
    const { stdout } = await run(command, ["demo", "--json"], { cwd });
    assert.equal((JSON.parse(stdout) as { exit_code: number }).exit_code, exitCodes.done);
  });
});
