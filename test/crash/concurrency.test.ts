// Several at work at once: runs, DBAs, migrations, signals.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CliResult, describeRun, runCli } from "../harness/cli.ts";
import { createEmbeddedDatabase } from "../harness/embedded.ts";
import { databaseUrl } from "../harness/postgres.ts";
import type { Scope } from "../harness/scope.ts";
import { type RunningCli, startCli } from "./cli.ts";
import {
  type Reference,
  type Stage,
  assertCode,
  assertNothingHalf,
  assertPlainRunCompletes,
  fillBucket,
  ingestAll,
  makeExports,
  makeReference,
  setStage,
} from "./stage.ts";
import { holdRequest, nextAfter, sends } from "./steps.ts";
import { withClient } from "./tables.ts";
import type { Held } from "./tap.ts";

const AT_ONCE_MS = 20_000;
// So many files of CRQ that the server makes generic plans of the statements in its functions.
const exports = makeExports(1, { files: { inc: 3, crq: 8 } });
let reference: Reference;

before(async () => {
  reference = await makeReference(await setStage({ after }, exports), exports);
});

describe("beside a run of INC that stands in the middle of a file,", () => {
  test("another run of INC leaves at once with exit 5 and changes nothing", async (t) => {
    const stage = await setStage(t, exports);
    const { run, held } = await standingRun(stage, "inc", sends("tickets.apply_file("));
    for (const command of [
      ["ingest", "inc", "--apply"],
      ["ingest", "inc"],
    ]) {
      assertCode(await startCli(command, stage.directEnv, AT_ONCE_MS).ended, 5, command.join(" "));
    }
    assert.deepEqual(await stage.s3.keys(), sorted(exports.map(({ key }) => key)));
    held.release();
    assertCode(await run.ended, 0, "the first run");
    await assertPlainRunCompletes(stage, reference, "two runs of INC");
  });

  for (const [name, isIt] of [
    ["before its rows are applied", sends("tickets.apply_file(")],
    ["before it commits", nextAfter(sends("tickets.apply_file("), sends("commit"))],
  ] as const) {
    test(`CRQ is loaded meanwhile, ${name}`, async (t) => {
      const stage = await setStage(t, exports);
      const { run, held } = await standingRun(stage, "inc", isIt);
      const crq = await startCli(["ingest", "crq", "--apply"], stage.directEnv).ended;
      assertCode(crq, 0, "CRQ");
      held.release();
      assertCode(await run.ended, 0, "INC");
      await assertPlainRunCompletes(stage, reference, "INC and CRQ side by side");
    });
  }

  test("a DBA cannot apply INC, but CRQ", async (t) => {
    const stage = await setStage(t, exports);
    const { run, held } = await standingRun(
      stage,
      "inc",
      nextAfter(sends("tickets.apply_file("), sends("commit")),
    );
    const dba = await stage.database.connect();
    await assert.rejects(dba.query("select tickets.apply_staged('inc')"), { code: "TK002" });
    await assert.rejects(dba.query("select tickets.apply_staged()"), { code: "TK002" });
    await dba.query("set statement_timeout = '5s'; select tickets.apply_staged('crq')");
    held.release();
    assertCode(await run.ended, 0, "the run");
    await assertPlainRunCompletes(stage, reference, "a DBA beside a run");
  });
});

test("four runs of everything at once load each file once", async (t) => {
  const stage = await setStage(t, exports);
  const runs = [1, 2, 3, 4].map(() => startCli(ingestAll, stage.directEnv));
  const results = await Promise.all(runs.map((run) => run.ended));
  const codes = results.map(({ code }) => code);
  assert.ok(
    codes.every((code) => code === 0 || code === 5),
    results.map(tell).join("\n"),
  );
  await assertPlainRunCompletes(stage, reference, "four runs at once");
});

describe("SIGTERM", () => {
  test("amid a file: that file is finished, and the next run loads the rest", async (t) => {
    const stage = await setStage(t, exports);
    const { run, held } = await standingRun(stage, "all", sends("tickets.apply_file("));
    run.child.kill("SIGTERM");
    await sleep(200);
    held.release();
    assertCode(await run.ended, 0, "SIGTERM");
    const left = await assertNothingHalf(stage, reference, "SIGTERM");
    assert.equal(left.length, exports.length - 1);
    await assertPlainRunCompletes(stage, reference, "SIGTERM");
  });

  test("a second time: the run ends at once, and nothing of the file is there", async (t) => {
    const stage = await setStage(t, exports);
    const { run, held } = await standingRun(stage, "all", sends("tickets.apply_file("));
    run.child.kill("SIGTERM");
    await sleep(200);
    run.child.kill("SIGTERM");
    const { signal } = await run.ended;
    assert.equal(signal, "SIGTERM");
    held.cut();
    const left = await assertNothingHalf(stage, reference, "SIGTERM twice");
    assert.equal(left.length, exports.length);
    await assertPlainRunCompletes(stage, reference, "SIGTERM twice");
  });
});

test("two migrations of an empty database at once both succeed", async (t) => {
  const env = { DATABASE_URL: await emptyDatabase(t) };
  const results = await Promise.all([1, 2].map(() => runCli(["migrate"], { env })));
  for (const result of results) {
    assert.equal(result.code, 0, describeRun(["migrate"], result));
  }
});

test("a second process leaves an embedded database alone, with exit 5", async (t) => {
  const { url } = await createEmbeddedDatabase(t);
  const s3 = await fillBucket(t, exports);
  const env = { ...s3.env, DATABASE_URL: url };
  const reading = holdRequest(s3, "get");
  const first = startCli(ingestAll, env);
  const letGo = await reading;
  for (const command of [ingestAll, ["migrate"], ["capture-history"]]) {
    const { code } = await startCli(command, env, AT_ONCE_MS).ended;
    assert.equal(code, 5, command.join(" "));
  }
  letGo();
  assertCode(await first.ended, 0, "the first process");
  assert.deepEqual(await s3.keys("automations/inc/changes/"), []);
});

/** A run that stands at a message until it is released. */
async function standingRun(
  stage: Stage,
  dataset: string,
  isIt: Parameters<Stage["tap"]["holdAt"]>[0],
): Promise<{ run: RunningCli; held: Held }> {
  const held = stage.tap.holdAt(isIt);
  const run = startCli(["ingest", dataset, "--apply"], stage.env);
  return { run, held: await held };
}

async function emptyDatabase(scope: Scope): Promise<string> {
  const serverUrl = process.env["TEST_SERVER_URL"] ?? "";
  const name = `fleettickets_empty_${randomBytes(4).toString("hex")}`;
  await withClient(serverUrl, (client) => client.query(`create database ${name}`));
  scope.after(async () => {
    await withClient(serverUrl, (client) => client.query(`drop database ${name} with (force)`));
  });
  return databaseUrl(serverUrl, name);
}

function sorted(keys: string[]): string[] {
  return keys.sort();
}

function tell(result: CliResult): string {
  return describeRun(ingestAll, result);
}
