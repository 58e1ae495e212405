// A network, a database and an object store that fail in the middle of a run. The run ends in time
// with the right exit code and leaves whole files only, and a plain run completes.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type CliResult, describeRun } from "../harness/cli.ts";
import type { Rule } from "../harness/faulty-s3.ts";
import { startCli } from "./cli.ts";
import { SmallDiskUnavailable, mountSmallDisk } from "./small-disk.ts";
import {
  type Reference,
  type Stage,
  assertCode,
  assertPlainRunCompletes,
  ingestAll,
  makeExports,
  makeReference,
  sessionsEnded,
  setStage,
} from "./stage.ts";
import { type Matcher, gets, nextAfter, sends } from "./steps.ts";

const limits = { STALL_TIMEOUT: "2", STATEMENT_TIMEOUT: "4" };
// Twice what the slowest of them needs: a statement's limit, and the grace after it.
const LIMIT_MS = 20_000;
const largeFile = /05-00-00\.csv$/;
const HALF_OF_IT = 300_000;

const atOnce = { concurrency: 4 };
const exports = makeExports(1, { files: { inc: 1, crq: 1 } });
let reference: Reference;

before(async () => {
  reference = await makeReference(await setStage({ after }, exports), exports);
});

const places: { name: string; isIt: Matcher; isLate?: boolean }[] = [
  { name: "at its beginning", isIt: ({ type }) => type === "startup" },
  { name: "when it asks for the lock", isIt: sends("tickets.start_run(") },
  { name: "before COPY", isIt: sends("copy ") },
  { name: "mid-COPY", isIt: ({ from, copied }) => from === "client" && copied === 2 },
  { name: "at the end of COPY", isIt: ({ from, type }) => from === "client" && type === "c" },
  { name: "during apply", isIt: gets("tickets.apply_file(") },
  { name: "at commit", isIt: nextAfter(sends("tickets.apply_file("), sends("commit")) },
  { name: "after commit", isIt: nextAfter(sends("tickets.apply_file("), gets("commit")) },
  { name: "when it notes the archive", isIt: sends("tickets.mark_archived(") },
];

describe("a database connection that is reset ends the run with exit 3", atOnce, () => {
  for (const { name, isIt } of places) {
    test(name, async (t) => {
      const stage = await setStage(t, exports);
      const held = stage.tap.holdAt(isIt);
      const run = startFaultyRun(stage);
      (await held).cut();
      assertCode(await run, 3, name);
      await assertPlainRunCompletes(stage, reference, name);
    });
  }
});

describe("a database connection that is silent ends the run in time, with exit 3", atOnce, () => {
  for (const { name, isIt } of places) {
    test(name, async (t) => {
      const stage = await setStage(t, exports);
      const held = stage.tap.holdAt(isIt);
      const result = await startFaultyRun(stage);
      assertCode(result, 3, name);
      (await held).release();
      await assertPlainRunCompletes(stage, reference, name);
    });
  }

  test("mid-COPY, while the object store is silent, too", async (t) => {
    const stage = await setStage(t, exports);
    stage.s3.fail({ operation: "get", key: largeFile, does: { sends: HALF_OF_IT, then: "stall" } });
    const held = stage.tap.holdAt(({ from, type }) => from === "client" && type === "d");
    const result = await startFaultyRun(stage);
    assert.ok(result.code === 3 || result.code === 4, tell(result));
    (await held).release();
    stage.s3.heal();
    await assertPlainRunCompletes(stage, reference, "both silent");
  });

  test("at the very end: it is done by then", async (t) => {
    const stage = await setStage(t, exports);
    const held = stage.tap.holdAt(({ type }) => type === "X");
    assertCode(await startFaultyRun(stage), 0, "silent at the end");
    (await held).release();
    await assertPlainRunCompletes(stage, reference, "silent at the end");
  });
});

test("a loader that stops amid a transaction gives its lock to the next run", async (t) => {
  const stage = await setStage(t, exports);
  const held = stage.tap.holdAt(nextAfter(sends("tickets.apply_file("), sends("commit")));
  const run = startFaultyRun(stage);
  const connection = await held;
  await sessionsEnded(stage.database.url);
  await assertPlainRunCompletes(stage, reference, "the lock was given up");
  connection.release();
  assertCode(await run, 3, "the loader that stopped");
});

describe("a database that says no ends the run with exit 3:", atOnce, () => {
  test("a table locked for longer than a stall may last", async (t) => {
    const stage = await setStage(t, exports);
    const locker = await stage.database.connect();
    await locker.query("begin; lock table tickets.inc in share mode");
    const result = await startFaultyRun(stage);
    assertCode(result, 3, "locked");
    assert.match(result.stderr, /"code":"55P03"/);
    await locker.query("rollback");
    await assertPlainRunCompletes(stage, reference, "locked");
  });

  test("a statement slower than STATEMENT_TIMEOUT", async (t) => {
    const stage = await setStage(t, exports);
    await stage.database.pool.query(`
      create function public.be_slow() returns trigger language plpgsql
        as 'begin perform pg_sleep(60); return null; end';
      create trigger slow after insert on tickets.closure_events execute function public.be_slow()
    `);
    const result = await startFaultyRun(stage);
    assertCode(result, 3, "slow");
    assert.match(result.stderr, /"code":"57014"/);
    await stage.database.pool.query("drop function public.be_slow cascade");
    await assertPlainRunCompletes(stage, reference, "slow");
  });

  for (const table of ["inc_staging", "inc", "ingest_files"]) {
    test(`a full disk under tickets.${table}`, async (t) => {
      const stage = await setStage(t, exports);
      const disk = await mountSmallDisk(t, serverUrl()).catch((error: unknown) => {
        if (!(error instanceof SmallDiskUnavailable)) throw error;
        t.skip(`SKIPPED: ${error.message}`);
      });
      if (disk === undefined) return;
      await stage.database.pool.query(
        `alter table tickets.${table} set tablespace ${disk.tablespace}`,
      );
      await disk.fill();
      const result = await startFaultyRun(stage);
      assertCode(result, 3, "disk full");
      assert.match(result.stderr, /"code":"53100"/);
      await disk.empty();
      await assertPlainRunCompletes(stage, reference, "disk full");
    });
  }
});

describe("a DBA at work on the staging table is in nobody's way:", atOnce, () => {
  test("a transaction that has read it stays open", async (t) => {
    const stage = await setStage(t, exports);
    const dba = await stage.database.connect();
    await dba.query("begin; select count(*) from tickets.inc_staging");
    assertCode(await startFaultyRun(stage), 0, "beside a reader");
    await dba.query("commit");
    await assertPlainRunCompletes(stage, reference, "beside a reader");
  });

  test("rows staged by hand outlive a run and are applied afterwards", async (t) => {
    const stage = await setStage(t, exports);
    await stage.database.pool.query(stageByHand);
    assertCode(await startFaultyRun(stage), 0, "beside staged rows");
    const { rows } = await stage.database.pool.query(applyByHand);
    assert.deepEqual(rows, [{ staged: 1, inserted: 1 }]);
  });

  test("rows staged in a transaction that commits after the run are there, too", async (t) => {
    const stage = await setStage(t, exports);
    const dba = await stage.database.connect();
    await dba.query(`begin; ${stageByHand}`);
    assertCode(await startFaultyRun(stage), 0, "beside a writer");
    await dba.query("commit");
    const { rows } = await stage.database.pool.query(applyByHand);
    assert.deepEqual(rows, [{ staged: 1, inserted: 1 }]);
  });
});

const stageByHand =
  "insert into tickets.inc_staging (ticket_id, bucket) values ('BY-HAND', 'pending')";
const applyByHand = "select a.staged, a.inserted from tickets.apply_staged('inc') as a";

describe("an object store that fails ends the run in time, with exit 4, when it", atOnce, () => {
  const stall = { does: "stall", times: 1 } as const;
  const faults: Record<string, Rule> = {
    "is silent when asked for a listing": { operation: "list", ...stall },
    "is silent when asked for an object": { operation: "get", key: largeFile, ...stall },
    "is silent when asked about an object": { operation: "head", ...stall },
    "is silent when asked for a copy": { operation: "copy", ...stall },
    "is silent when asked to delete": { operation: "delete", ...stall },
    "falls silent in the middle of a body": {
      operation: "get",
      key: largeFile,
      does: { sends: HALF_OF_IT, then: "stall" },
    },
    "cuts every body": {
      operation: "get",
      key: largeFile,
      does: { sends: HALF_OF_IT, then: "close" },
    },
    "shortens every body": {
      operation: "get",
      key: largeFile,
      does: { sends: HALF_OF_IT, then: "shorten" },
    },
    "refuses to list": { operation: "list", does: 403 },
    "has no working listing": { operation: "list", does: 500 },
    "has no working reading": { operation: "get", does: 503 },
    "has no working look": { operation: "head", does: 500 },
    "has no working copy": { operation: "copy", does: 500 },
    "fails late in every copy": { operation: "copy", does: "error in 200" },
    "copies something else": { operation: "copy", does: { stores: "something else" } },
    "has no working delete": { operation: "delete", does: 503 },
    "only pretends to delete": { operation: "delete", does: "pretend" },
  };
  for (const [name, rule] of Object.entries(faults)) {
    test(name, async (t) => {
      const stage = await setStage(t, exports);
      stage.s3.fail(rule);
      assertCode(await startFaultyRun(stage), 4, name);
      stage.s3.heal();
      await assertPlainRunCompletes(stage, reference, name);
    });
  }
});

describe("an object store that recovers in time does not end the run, when it", atOnce, () => {
  const passing: Record<string, Rule[]> = {
    "fails twice at everything": (["list", "get", "head", "copy", "delete"] as const).flatMap(
      (operation) => [
        { operation, times: 1, does: 503 },
        { operation, times: 1, does: 500 },
      ],
    ),
    "resets every first connection": (["list", "get", "head", "copy", "delete"] as const).map(
      (operation) => ({ operation, times: 1, does: "reset" }),
    ),
    "resets a connection in the middle of a body": [
      { operation: "get", times: 1, does: { sends: HALF_OF_IT, then: "reset" } },
    ],
    "closes a connection in the middle of a body": [
      { operation: "get", times: 1, does: { sends: HALF_OF_IT, then: "close" } },
    ],
    "shortens a body": [
      { operation: "get", times: 1, does: { sends: HALF_OF_IT, then: "shorten" } },
    ],
  };
  for (const [name, rules] of Object.entries(passing)) {
    test(name, async (t) => {
      const stage = await setStage(t, exports);
      for (const rule of rules) stage.s3.fail(rule);
      assertCode(await startFaultyRun(stage), 0, name);
      await assertPlainRunCompletes(stage, reference, name);
    });
  }
});

test("a body that takes longer than STALL_TIMEOUT, and is never silent for so long, is loaded", async (t) => {
  const stage = await setStage(t, exports);
  stage.s3.fail({ operation: "get", key: largeFile, does: { bytesAtOnce: 80_000, everyMs: 700 } });
  const env = { ...stage.env, STALL_TIMEOUT: limits.STALL_TIMEOUT };
  assertCode(await startCli(ingestAll, env, LIMIT_MS).ended, 0, "slow body");
  await assertPlainRunCompletes(stage, reference, "slow body");
});

function serverUrl(): string {
  return process.env["TEST_SERVER_URL"] ?? "";
}

function startFaultyRun(stage: Stage): Promise<CliResult> {
  return startCli(ingestAll, { ...stage.env, ...limits }, LIMIT_MS).ended;
}

function tell(result: CliResult): string {
  return describeRun(ingestAll, result);
}
