// With tickets.finish_run, which gives back what it takes.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { only, ownError } from "./staging.ts";

const database = await createDatabase({ after });

async function startRun(client: ClientBase, dataset: string): Promise<string> {
  const { rows } = await client.query<{ prefix: string }>(
    "select tickets.start_run(p_dataset => $1) as prefix",
    [dataset],
  );
  return only(rows).prefix;
}

async function finishRun(client: ClientBase, dataset: string): Promise<boolean> {
  const { rows } = await client.query<{ had: boolean }>(
    "select tickets.finish_run(p_dataset => $1) as had",
    [dataset],
  );
  return only(rows).had;
}

test("a run begins with the prefix of its dataset's keys", async () => {
  const client = await database.connect();
  assert.equal(await startRun(client, "inc"), "automations/inc/");
  assert.equal(await startRun(client, "crq"), "automations/crq/");
  assert.equal(await finishRun(client, "inc"), true);
  assert.equal(await finishRun(client, "crq"), true);
});

test("a second run of a dataset is TK002 at once, until the first one has ended", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await startRun(one, "inc");
  const before = performance.now();
  await assert.rejects(startRun(other, "inc"), ownError("TK002"));
  assert.ok(performance.now() - before < 1000, "it waited");
  assert.equal(await finishRun(one, "inc"), true);
  await startRun(other, "inc");
  await finishRun(other, "inc");
});

test("the datasets run side by side", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await startRun(one, "inc");
  await startRun(other, "crq");
  assert.equal(await finishRun(one, "inc"), true);
  assert.equal(await finishRun(other, "crq"), true);
});

test("a run outlives the transactions of its session, committed or not", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await one.query("begin");
  await startRun(one, "inc");
  await one.query("rollback");
  await assert.rejects(startRun(other, "inc"), { code: "TK002" });
  await one.query("begin");
  await one.query("commit");
  await assert.rejects(startRun(other, "inc"), { code: "TK002" });
  await finishRun(one, "inc");
});

test("a run ends with its session", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await startRun(one, "inc");
  await one.end();
  // The server notices the end of a connection a moment later.
  for (const deadline = Date.now() + 10_000; ;) {
    try {
      await startRun(other, "inc");
      break;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(20);
    }
  }
  await finishRun(other, "inc");
});

test("a session that has not begun a run has none to end", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await startRun(one, "inc");
  assert.equal(await finishRun(other, "inc"), false);
  await assert.rejects(startRun(other, "inc"), { code: "TK002" });
  await finishRun(one, "inc");
});

test("what is no dataset is TK001", () =>
  database.rolledBack((client) => assert.rejects(startRun(client, "nope"), ownError("TK001"))));
