import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { formatDuration, parseDuration } from "../src/duration.ts";
import { type CliResult, describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { embeddedDatabase } from "./harness/loader.ts";
import { createEmbeddedDatabase } from "./harness/embedded.ts";
import { startFaultyS3 } from "./harness/faulty-s3.ts";
import { changeKey, createServerDatabase, dumpOf, loader, startLoader } from "./harness/loader.ts";
import { createLogin } from "./harness/logins.ts";

interface Report {
  datasets: {
    dataset: string;
    watermark: string | null;
    exported_at: string | null;
    age_seconds: number | null;
    last_run_at: string | null;
    files_waiting: number | null;
    files_refused: number;
    files_unarchived: number;
    is_too_old: boolean;
  }[];
  error: { hint?: string } | null;
  exit_code: number;
}

const EAT_MS = 3 * 60 * 60 * 1000;

/** The key of a file that is exported now. */
function keyOfNow(dataset: string): string {
  const time = new Date(Date.now() + EAT_MS).toISOString().slice(0, 19).replaceAll(":", "-");
  return `automations/${dataset}/changes/${time}.csv`;
}

async function statusOf(
  env: Record<string, string>,
  args: string[] = [],
): Promise<{ report: Report; inc: Report["datasets"][number]; result: CliResult }> {
  const result = await runCli(["status", "--json", ...args], { env });
  const report = result.json as Report;
  assert.equal(report.exit_code, result.code, describeRun(["status"], result));
  const [inc, crq, ...others] = report.datasets;
  assert.deepEqual([inc?.dataset, crq?.dataset, others], ["inc", "crq", []]);
  return { report, inc: inc ?? assert.fail(), result };
}

describe("status", () => {
  test("tells what was loaded, waits, was refused and is not archived", async (t) => {
    const { s3, env, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await s3.put(changeKey(2), "no csv");
    await run(["ingest", "inc", "--apply", "--no-archive"], exitCodes.fileRefused);
    await s3.put(changeKey(3), csvOf([{ ticket_id: "T1" }]));
    await s3.put(changeKey(4), csvOf([{ ticket_id: "T1" }]));
    await s3.put("automations/inc/changes/readme.txt", "no export");
    const before = Date.now();
    const { inc, result } = await statusOf(env);
    assert.equal(result.code, exitCodes.done);
    const { age_seconds, last_run_at, ...rest } = inc;
    assert.deepEqual(rest, {
      dataset: "inc",
      watermark: changeKey(1),
      exported_at: "2026-06-15T03:20:00.000Z",
      files_waiting: 2,
      files_refused: 1,
      files_unarchived: 1,
      is_too_old: false,
    });
    assert.ok(Math.abs(before - Date.parse(last_run_at ?? "")) < 60_000, `${last_run_at}`);
    const exportedAt = Date.parse("2026-06-15T03:20:00Z");
    assert.ok(Math.abs((age_seconds ?? 0) * 1000 - (before - exportedAt)) < 60_000);
  });

  test("knows of a run that had nothing new, and not of a dry one", async (t) => {
    const { db, s3, env, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "inc", "--apply"]);
    const lastRun = async () => (await statusOf(env)).inc.last_run_at ?? assert.fail();
    const first = await lastRun();
    await run(["ingest", "inc"]);
    assert.equal(await lastRun(), first);
    const before = await db.look(dumpOf);
    await run(["ingest", "inc", "--apply"]);
    assert.ok((await lastRun()) > first);
    assert.deepEqual(await db.look(dumpOf), before);
  });

  test("changes nothing", async (t) => {
    const { db, s3, env } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const before = await db.look(dumpOf);
    await statusOf(env);
    assert.deepEqual([await db.look(dumpOf), await s3.keys()], [before, [changeKey(1)]]);
  });

  test("--max-age ends with 1 where a dataset is older, or was never loaded", async (t) => {
    const { s3, env, run } = await startLoader(t);
    await s3.put(keyOfNow("inc"), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "all", "--apply"]);
    const never = await statusOf(env, ["--max-age", "2h"]);
    assert.deepEqual(
      [never.result.code, never.report.datasets.map((d) => d.is_too_old)],
      [exitCodes.unexpected, [false, true]],
    );
    await s3.put(keyOfNow("crq"), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "all", "--apply"]);
    assert.equal((await statusOf(env, ["--max-age", "2h"])).result.code, exitCodes.done);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T2" }]));
    await run(["ingest", "all", "--apply"]);
    // A file that came late makes nothing older.
    assert.equal((await statusOf(env, ["--max-age", "2h"])).result.code, exitCodes.done);
  });

  test("--max-age ends with 1 where the newest file is old, however late the run", async (t) => {
    const { s3, env, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await s3.put(changeKey(1, "crq"), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "all", "--apply"]);
    assert.equal((await statusOf(env)).result.code, exitCodes.done);
    const { code, stdout } = await runCli(["status", "--max-age", "90m"], { env });
    assert.equal(code, exitCodes.unexpected);
    assert.match(stdout, /fleettickets doctor/);
  });

  test("says what the database knows where the store does not answer: exit code 4", async (t) => {
    const { env, run, s3 } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "inc", "--apply"]);
    const { inc, report, result } = await statusOf(
      { ...env, RUSTFS_ENDPOINT: "http://127.0.0.1:1" },
      ["--max-age", "1h"],
    );
    assert.equal(result.code, exitCodes.objectStore);
    assert.deepEqual([inc.watermark, inc.files_waiting], [changeKey(1), null]);
    assert.ok(report.error?.hint);
  });

  test("does not count by a listing that is not whole: exit code 4", async (t) => {
    const db = await createServerDatabase(t);
    const s3 = await startFaultyS3(t);
    const { env } = loader(db, s3);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    s3.fail({ operation: "list", does: { repeatsFirstPage: true } });
    assert.equal((await statusOf(env)).result.code, exitCodes.objectStore);
  });

  test("needs no bucket, but then does not know what waits", async (t) => {
    const { url } = await createServerDatabase(t);
    const { inc, result } = await statusOf({ DATABASE_URL: url });
    assert.deepEqual([result.code, inc.files_waiting], [exitCodes.done, null]);
  });

  test("--snapshot counts full snapshots as waiting", async (t) => {
    const { s3, env } = await startLoader(t);
    await s3.put("automations/inc/2026-06-15T06-00-00.csv", csvOf([{ ticket_id: "T1" }]));
    assert.equal((await statusOf(env)).inc.files_waiting, 0);
    assert.equal((await statusOf(env, ["--snapshot"])).inc.files_waiting, 1);
  });

  test("is for a member of fleettickets_loader, too", async (t) => {
    const { db, env } = await startLoader(t);
    const url = await createLogin(t, db.url, { attributes: "in role fleettickets_loader" });
    assert.equal((await statusOf({ ...env, DATABASE_URL: url })).result.code, exitCodes.done);
  });

  test("works on the embedded database", async (t) => {
    const { env, run, s3 } = await startLoader(t, async (scope) =>
      embeddedDatabase(await createEmbeddedDatabase(scope)),
    );
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await run(["ingest", "inc", "--apply"]);
    const { inc } = await statusOf(env);
    assert.deepEqual([inc.watermark, inc.files_waiting], [changeKey(1), 0]);
  });

  test("is a table for a person, in colour only where colour is asked for", async (t) => {
    const { url } = await createServerDatabase(t);
    const stdoutWith = async (more: Record<string, string>) => {
      const env = { DATABASE_URL: url, ...more };
      return (await runCli(["status", "--max-age", "1h"], { env })).stdout;
    };
    const plain = await stdoutWith({});
    assert.match(plain, /^dataset +watermark +age +last run +waiting +refused +unarchived$/m);
    assert.match(plain, /^INC +never loaded/m);
    assert.doesNotMatch(plain, /\u001b/);
    assert.match(await stdoutWith({ FORCE_COLOR: "1" }), /\u001b\[31m/);
    assert.doesNotMatch(await stdoutWith({ FORCE_COLOR: "0" }), /\u001b/);
  });
});

describe("a duration", () => {
  test("is read from numbers with units, and from nothing else", () => {
    const of = (text: string) => parseDuration(text);
    assert.deepEqual(["45s", "90m", "2h", "1d12h"].map(of), [45, 5400, 7200, 129_600]);
    assert.deepEqual(["", "2", "h", "2 h", "2w", "-1h", "1.5h"].map(of), Array(7).fill(undefined));
  });

  test("is told in its two largest units", () => {
    assert.deepEqual([0, 59, 60, 3_661, 86_400, 90_061].map(formatDuration), [
      "0 s",
      "59 s",
      "1 min",
      "1 h 1 min",
      "1 d",
      "1 d 1 h",
    ]);
  });
});
