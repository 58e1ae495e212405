import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client } from "pg";
import { openDatabase } from "../src/database.ts";
import { exitCodes } from "../src/errors.ts";
import type { Check } from "../src/check.ts";
import { type CliResult, describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { changeKey, createServerDatabase, loader, onlyDataset } from "./harness/loader.ts";
import { startPgbouncer } from "./harness/pgbouncer.ts";
import { createEmptyDatabase } from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";
import type { Scope } from "./harness/scope.ts";

/** A loader whose way to its database leads through PgBouncer. */
async function startPooled(scope: Scope, ...settings: string[]) {
  const { url, look } = await createServerDatabase(scope);
  const pooled = await startPgbouncer(scope, url, settings);
  return loader({ url: pooled, look }, await startS3(scope));
}

function errorOf({ json }: CliResult): string | undefined {
  return (json as { error?: { code?: string } }).error?.code;
}

describe("through PgBouncer in session mode", () => {
  for (const more of [[], ["default_pool_size = 1"]]) {
    test(`a run loads, with ${more[0] ?? "defaults otherwise"}`, async (t) => {
      const { s3, report } = await startPooled(t, "pool_mode = session", ...more);
      await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
      const { files } = onlyDataset(await report(["ingest", "inc", "--apply"]));
      assert.deepEqual(
        files.map(({ status }) => status),
        ["applied"],
      );
    });
  }

  test("migrate makes the schema", async (t) => {
    const url = await startPgbouncer(t, await createEmptyDatabase(t), ["pool_mode = session"]);
    const result = await runCli(["migrate"], { env: { DATABASE_URL: url } });
    assert.equal(result.code, exitCodes.done, describeRun(["migrate"], result));
  });

  test("the time limits of the server hold", async (t) => {
    const { db } = await startPooled(t, "pool_mode = session");
    const session = await openDatabase(db.url, { stallMs: 5_000, statementMs: 100 });
    const slow = session.query("select pg_sleep(30)");
    await assert.rejects(slow, { code: "57014" }).finally(session.close);
  });
});

describe("through a pooler that changes the session between transactions", () => {
  for (const settings of [
    ["pool_mode = transaction"],
    ["pool_mode = transaction", "default_pool_size = 1"],
    ["pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 3"],
    ["pool_mode = transaction", "ignore_startup_parameters = statement_timeout"],
  ]) {
    test(`nothing is loaded, and the cure is named: exit code 2: ${settings.join(", ")}`, async (t) => {
      const { env, s3 } = await startPooled(t, ...settings);
      await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
      for (const args of [["ingest", "inc", "--apply"], ["migrate"], ["status"]]) {
        const result = await runCli([...args, "--json"], { env });
        assert.equal(result.code, exitCodes.usage, describeRun(args, result));
        assert.equal(errorOf(result), "pooler");
        assert.match(result.stderr, /session mode/);
      }
      assert.deepEqual(await s3.keys(), [changeKey(1)]);
    });
  }

  test("the doctor says so, and looks at the rest", async (t) => {
    const { env } = await startPooled(t, "pool_mode = transaction");
    const { code, json } = await runCli(["doctor", "--json"], { env });
    const { checks } = json as { checks: Check[] };
    const named = (name: string) => checks.find(({ check }) => check === name);
    assert.equal(code, exitCodes.usage);
    assert.match(named("database")?.cure ?? "", /session mode/);
    assert.equal(named("bucket")?.status, "ok");
  });

  test("no setting of ours stays behind on the server", async (t) => {
    const { env, db } = await startPooled(t, "pool_mode = transaction", "default_pool_size = 1");
    await runCli(["status"], { env });
    const client = new Client({ connectionString: db.url });
    await client.connect();
    const { rows } = await client
      .query<Record<string, string>>("show lock_timeout")
      .finally(() => client.end());
    assert.deepEqual(rows, [{ lock_timeout: "0" }]);
  });
});
