import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { createProgram } from "../src/cli.ts";
import { exitCodes } from "../src/errors.ts";
import { type CliResult, describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  changeKey,
  createServerDatabase,
  dumpOf,
  onlyDataset,
  startLoader,
} from "./harness/loader.ts";
import { createEmptyDatabase } from "./harness/postgres.ts";
import { startProxy } from "./harness/proxy.ts";
import type { Scope } from "./harness/scope.ts";

const commands = createProgram().commands.map((command) => command.name());

describe("the command line", () => {
  for (const command of commands) {
    test(`explains ${command}, with an example and --json`, async () => {
      const { code, stdout, stderr } = await runCli([command, "--help"]);
      assert.deepEqual([code, stderr], [exitCodes.done, ""]);
      assert.match(stdout, new RegExp(`Usage: fleettickets ${command}\\b`));
      assert.match(stdout, new RegExp(`Example:\\n\\s+\\$ fleettickets ${command}\\b`));
      assert.match(stdout, /--json/);
    });
  }

  test("tells its version", async () => {
    const { code, stdout } = await runCli(["--version"]);
    const { version } = JSON.parse(
      readFileSync(new URL("../package.json", import.meta.url), "utf8"),
    ) as { version: string };
    assert.deepEqual([code, stdout], [exitCodes.done, `${version}\n`]);
  });

  test("knows what a misspelt command or option was to be", async () => {
    assert.match((await runCli(["igest", "inc"])).stderr, /Did you mean ingest\?/);
    assert.match((await runCli(["ingest", "inc", "--aply"])).stderr, /Did you mean --apply\?/);
  });

  test("lists its commands and exit codes", async () => {
    const { code, stdout } = await runCli(["--help"]);
    assert.equal(code, exitCodes.done);
    for (const command of commands) assert.match(stdout, new RegExp(`^  ${command}\\b`, "m"));
    for (const exitCode of Object.values(exitCodes)) {
      assert.match(stdout, new RegExp(`\\b${exitCode} `));
    }
  });

  test("says what is wrong with it, on stderr, with exit code 2", async () => {
    for (const args of [
      [],
      ["digest"],
      ["ingest"],
      ["ingest", "inc", "crq"],
      ["ingest", "inc", "--dry-run"],
      ["ingest", "inc", "--max-files"],
      ["ingest", "inc", "--max-files", "0"],
      ["ingest", "inc", "--max-files", "many"],
      ["ingest", "inc", "--csv"],
      ["retry"],
      ["geocode"],
      ["geocode", "tickets"],
      ["geocode", "clusters", "locations"],
      ["geocode", "clusters", "--limit", "0"],
      ["migrate", "now"],
      ["status", "--max-age", "soon"],
      ["doctor", "inc"],
    ]) {
      const result = await runCli(args);
      assert.equal(result.code, exitCodes.usage, describeRun(args, result));
      assert.equal(result.stdout, "", describeRun(args, result));
      assert.notEqual(result.stderr, "", describeRun(args, result));
    }
  });

  test("says so where it may open too few files, with exit code 2", async () => {
    const { code, stdout, stderr } = await runCli(["--version"], { openFiles: 30 });
    assert.deepEqual([code, stdout], [exitCodes.usage, ""]);
    assert.match(stderr, /^fleettickets .*EMFILE.*ulimit -n \d+\n$/);
  });

  test("prints a result for a person, and one log entry a line beside it", async (t) => {
    const { s3, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const { stdout, stderr } = await run(["ingest", "inc", "--apply"]);
    assert.match(stdout, /INC/);
    assert.throws(() => JSON.parse(stdout), SyntaxError);
    for (const line of stderr.trim().split("\n")) {
      const entry = JSON.parse(line) as Record<string, unknown>;
      assert.ok(typeof entry["level"] === "number" && typeof entry["msg"] === "string", line);
    }
  });

  test("does nothing real without --apply, and says so", async (t) => {
    const { db, s3, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const before = await db.look(dumpOf);
    const { stdout } = await run(["ingest", "inc"]);
    assert.match(stdout, /--apply/);
    assert.deepEqual(await db.look(dumpOf), before);
  });

  test("blames a wrong log level on the flag that has it, or else on the environment", async () => {
    for (const [args, env, culprit] of [
      [["--log-level", "loud"], {}, "--log-level"],
      [[], { LOG_LEVEL: "loud" }, "LOG_LEVEL"],
    ] as const) {
      const { code, stderr } = await runCli(["migrate", ...args], { env });
      assert.equal(code, exitCodes.usage);
      assert.ok(stderr.includes(`${culprit} is not a log level`), stderr);
    }
  });

  test("knows no other dataset than those that are configured", async (t) => {
    const { report, run } = await startLoader(t);
    const { error } = onlyDataset(await report(["ingest", "nocs"], exitCodes.usage));
    assert.equal(error?.code, "TK001");
    const { stdout } = await run(["ingest", "nocs"], exitCodes.usage);
    assert.match(stdout, /crq, inc/);
  });
});

describe("migrate", () => {
  test("makes the schema, changes nothing when repeated, and is then ready to load", async (t) => {
    const url = await createEmptyDatabase(t);
    await succeed(["migrate"], url);
    const { json } = await succeed(["migrate", "--json"], url);
    assert.deepEqual(json, { migrated: true, exit_code: 0 });
    await succeed(["capture-history"], url);
  });

  test("run twice at once ends well both times", async (t) => {
    const url = await createEmptyDatabase(t);
    await Promise.all([succeed(["migrate"], url), succeed(["migrate"], url)]);
  });

  async function succeed(args: string[], url: string): Promise<CliResult> {
    const result = await runCli(args, { env: { DATABASE_URL: url } });
    assert.equal(result.code, exitCodes.done, describeRun(args, result));
    return result;
  }
});

describe("capture-history", () => {
  test("records what somebody else has written, once", async (t) => {
    const { url, look } = await createServerDatabase(t);
    await look((query) =>
      query(
        `insert into tickets.inc (ticket_id, raw)
         values ('T1', '{"ticket_id": "T1", "bucket": "closed"}')`,
      ),
    );
    const capture = async () => {
      const args = ["capture-history", "inc", "--json"];
      const result = await runCli(args, { env: { DATABASE_URL: url } });
      return [result.code, result.json];
    };
    assert.deepEqual(await capture(), [
      exitCodes.done,
      { datasets: [{ dataset: "inc", closures: 1, clusters: 1 }], exit_code: 0 },
    ]);
    const before = await look(dumpOf);
    assert.deepEqual(await capture(), [
      exitCodes.done,
      { datasets: [{ dataset: "inc", closures: 0, clusters: 0 }], exit_code: 0 },
    ]);
    assert.deepEqual(await look(dumpOf), before);
  });

  test("takes all datasets where none is named, and none but those there are", async (t) => {
    const { url } = await createServerDatabase(t);
    const env = { DATABASE_URL: url };
    const { json } = await runCli(["capture-history", "--json"], { env });
    const { datasets } = json as { datasets: { dataset: string }[] };
    assert.deepEqual(datasets.map(({ dataset }) => dataset).sort(), ["crq", "inc"]);
    const { code } = await runCli(["capture-history", "nocs"], { env });
    assert.equal(code, exitCodes.usage);
  });
});

describe("exit code 3 and its cure, where the database", () => {
  test("does not answer", async () => {
    await assertDatabaseError("postgres://nobody@127.0.0.1:1/nowhere");
  });

  test("does not exist", async (t) => {
    const { url } = await createServerDatabase(t);
    await assertDatabaseError(`${url}_not`);
  });

  test("was never migrated", async (t) => {
    const error = await assertDatabaseError(await createEmptyDatabase(t));
    assert.match(error.hint ?? "", /fleettickets migrate/);
  });

  test("falls silent, within the time limit", async (t) => {
    const { url } = await createServerDatabase(t);
    const proxy = await startProxy(t, url);
    proxy.freeze();
    const at = Date.now();
    await assertDatabaseError(proxy.url, { STALL_TIMEOUT: "1" });
    assert.ok(Date.now() - at < 20_000);
  });

  async function assertDatabaseError(
    url: string,
    more: Record<string, string> = {},
  ): Promise<{ hint?: string }> {
    const args = ["ingest", "inc", "--json"];
    const env = { RUSTFS_ENDPOINT: "http://127.0.0.1:1", DATABASE_URL: url, ...more };
    const result = await runCli(args, { env });
    assert.equal(result.code, exitCodes.database, describeRun(args, result));
    const found = result.json as {
      error?: { hint?: string };
      datasets?: { error: { hint?: string } }[];
    };
    const error = found.error ?? found.datasets?.[0]?.error ?? assert.fail("no error");
    assert.ok(error.hint, describeRun(args, result));
    return error;
  }
});

describe("exit code 4 and its cure, where the object store", () => {
  const credentials = { RUSTFS_ACCESS_KEY: "key", RUSTFS_SECRET_KEY: "secret" };

  test("cannot be reached", async (t) => {
    await assertStoreError(t, { RUSTFS_ENDPOINT: "http://127.0.0.1:1", ...credentials });
  });

  test("has no such bucket", async (t) => {
    const s3 = await startFaultyS3(t);
    await assertStoreError(t, { ...s3.env, RUSTFS_BUCKET: "not-this-one" });
  });

  for (const failure of [403, 500, 503, "reset"] as const) {
    test(`answers ${failure}`, async (t) => {
      const s3 = await startFaultyS3(t);
      s3.fail({ operation: "list", does: failure });
      await assertStoreError(t, s3.env);
    });
  }

  test("is no object store", async (t) => {
    const { url } = await createServerDatabase(t);
    const proxy = await startProxy(t, url);
    const endpoint = proxy.url.replace(/^postgres.*@(.*)\/.*$/, "http://$1");
    await assertStoreError(t, { RUSTFS_ENDPOINT: endpoint, ...credentials });
  });

  async function assertStoreError(t: Scope, env: Record<string, string>): Promise<void> {
    const { url } = await createServerDatabase(t);
    const args = ["ingest", "inc", "--json"];
    const result = await runCli(args, { env: { ...env, DATABASE_URL: url } });
    assert.equal(result.code, exitCodes.objectStore, describeRun(args, result));
    const { datasets } = result.json as { datasets: { error: { hint?: string } }[] };
    assert.ok(datasets[0]?.error.hint, describeRun(args, result));
  }
});
