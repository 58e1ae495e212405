// kill -9 of the loader, of its backend and of the whole server, at every step of a run and at
// random moments between. After each kill the tables hold whole files only; after a few of them, a
// plain run ends where an undisturbed one does.
//
//   CRASH_SEED=<n>    the exports, the order of kills and their moments; by default another each time
//   CRASH_KILLS=<n>   how many, at least; those at a step come first

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { pino } from "pino";
import { migrate } from "../../src/migrate.ts";
import { type CliResult, describeRun } from "../harness/cli.ts";
import { type Cluster, createTemplate, startCluster } from "../harness/postgres.ts";
import { type RunningCli, startCli } from "./cli.ts";
import { oneOf, seededRandom, shuffled } from "./random.ts";
import {
  type Reference,
  type Stage,
  assertNothingHalf,
  assertPlainRunCompletes,
  ingestAll,
  makeExports,
  makeReference,
  setStage,
} from "./stage.ts";
import { type Step, steps } from "./steps.ts";
import { withClient } from "./tables.ts";
import type { Message } from "./tap.ts";

const seed = Number(process.env["CRASH_SEED"] ?? randomInt(2 ** 31));
const kills = Number(process.env["CRASH_KILLS"] ?? 110);
const victims = ["loader", "backend", "server"] as const;
const KILLS_IN_A_ROW = 6;
const RANDOM_KILLS_IN_A_ROW = 3;
const RESTART_LIMIT_MS = 30_000;
const NOTICE_LIMIT_MS = 2_000;

type Victim = (typeof victims)[number];

interface Kill {
  victim: Victim;
  step: Step;
}

const random = seededRandom(seed);
const tally = new Map<string, Record<Victim, number>>();
const exports = makeExports(seed, { files: { inc: 4, crq: 4 }, refused: true });
let cluster: Cluster;
let reference: Reference;
/** How long an undisturbed run has a session. */
let runMs: number;

before(async () => {
  // The server of the other tests must not go down with its backends.
  cluster = await startCluster({ durable: true });
  const log = pino({ level: "warn" }, pino.destination(2));
  process.env["TEST_TEMPLATE"] = await createTemplate(cluster.url, (url) => migrate(url, log));
  process.env["TEST_SERVER_URL"] = cluster.url;
});

after(async () => {
  await cluster.stop();
  const rows = [...tally.keys()].sort((a, b) => placeOf(a) - placeOf(b) || (a < b ? -1 : 1));
  console.table(Object.fromEntries(rows.map((name) => [name, tally.get(name)])));
  const total = [...tally.values()].flatMap((counts) => Object.values(counts));
  console.log(`${total.reduce((sum, n) => sum + n, 0)} kills, CRASH_SEED=${seed}`);
});

test(`an undisturbed run ends as one file after the other does (CRASH_SEED=${seed})`, async (t) => {
  reference = await makeReference(await setStage(t, exports), exports);
  const stage = await setStage(t, exports);
  const session = stage.tap.holdAt(({ type }) => type === "startup");
  const run = startCli(ingestAll, stage.env);
  (await session).release();
  const startedAt = Date.now();
  await run.ended;
  runMs = Date.now() - startedAt;
  await assertPlainRunCompletes(stage, reference, "after an undisturbed run");
});

describe("kill -9 at a step of a run leaves whole files, and the next runs complete:", () => {
  for (const row of rowsOfKills()) {
    const names = row.map(({ victim, step }) => `${victim} ${step.name}`).join("; ");
    test(names, async (t) => {
      await serverIsUp(cluster.url);
      const stage = await setStage(t, exports);
      for (const kill of row) await killAt(stage, kill);
      await assertPlainRunCompletes(stage, reference, said(names));
    });
  }
});

describe("kill -9 at any moment leaves whole files, and the next runs complete:", () => {
  const atSteps = rowsOfKills().flat().length;
  const rows = Math.ceil((kills - atSteps) / RANDOM_KILLS_IN_A_ROW);
  for (let row = 1; row <= rows; row++) {
    const chosen = Array.from({ length: RANDOM_KILLS_IN_A_ROW }, () => ({
      victim: oneOf(victims, random),
      share: random(),
    }));
    test(`${chosen.map(({ victim }) => victim).join(", ")} (row ${row})`, async (t) => {
      await serverIsUp(cluster.url);
      const stage = await setStage(t, exports);
      for (const { victim, share } of chosen) await killAfter(stage, victim, share);
      await assertPlainRunCompletes(stage, reference, said(`row ${row} of random kills`));
    });
  }
});

// Where the staging table was truncated in it, PostgreSQL does not get over it: what is left of the
// rolled-back file on the disk keeps the crash recovery from making it again.
test("a server killed right after a dry run was rolled back starts again", async (t) => {
  await serverIsUp(cluster.url);
  const stage = await setStage(t, exports);
  const isRollback = ({ text }: Message) => text.toLowerCase() === "rollback";
  const asked = stage.tap.holdAt(isRollback);
  const run = startCli(["ingest", "inc"], stage.env);
  const { release } = await asked;
  // Its commit writes out the log of the dry run, too; the end of the dry run waits for nobody.
  await stage.database.pool.query("create table public.committed ()");
  const answered = stage.tap.holdAt(isRollback);
  release();
  const { cut } = await answered;
  await cluster.kill9();
  cut();
  await run.ended;
  await cluster.start();
  await assertPlainRunCompletes(stage, reference, "a dry run was rolled back");
});

/** Every step with every victim, or as many as there may be, mixed into rows. */
function rowsOfKills(): Kill[][] {
  const mixing = seededRandom(seed);
  const all = victims.flatMap((victim) =>
    // There is no backend yet.
    steps
      .filter((step) => victim !== "backend" || step.name !== "connecting")
      .map((step) => ({
        victim,
        step,
      })),
  );
  const chosen = shuffled(all, mixing).slice(0, kills);
  // First, so that they come into different rows.
  chosen.sort((a, b) => Number(b.step.isOnce ?? false) - Number(a.step.isOnce ?? false));
  const rows = Math.ceil(chosen.length / KILLS_IN_A_ROW);
  return Array.from({ length: rows }, (_, row) =>
    inOrder(chosen.filter((_kill, index) => index % rows === row)),
  );
}

/** So that each step still comes: the early ones need the first files, the late ones all. */
function inOrder(row: Kill[]): Kill[] {
  const place = ({ step }: Kill) =>
    step.when === "any" ? 0 : (step.when === "early" ? -100 : 100) + steps.indexOf(step);
  return row.sort((a, b) => place(a) - place(b));
}

async function killAt(stage: Stage, { victim, step }: Kill): Promise<void> {
  const when = said(`${victim} killed ${step.name}`);
  const reached = step.reach(stage);
  const run = startCli(ingestAll, stage.env);
  const letGo = await Promise.race([reached, run.ended.then((result) => neverCame(when, result))]);
  await kill(stage, victim, run);
  letGo();
  await finish(stage, victim, run, when, victim === "loader" ? [] : step.exitCodes);
  count(step.name, victim);
}

/** Kills when this share of the time has passed that a run with the files left needs. */
async function killAfter(stage: Stage, victim: Victim, share: number): Promise<void> {
  const left = await assertNothingHalf(stage, reference, "before a random kill");
  const delayMs = (share * runMs * left.length) / exports.length;
  const session = stage.tap.holdAt(({ from, type }) => from === "server" && type === "K");
  const run = startCli(ingestAll, stage.env);
  (await session).release();
  await sleep(delayMs);
  if (run.child.exitCode !== null) return;
  const request = stage.s3.requests.at(-1);
  const statement = stage.tap.last();
  const at = request && request.at > statement.at ? `${request.operation}` : statement.what;
  await kill(stage, victim, run);
  // It may have been just about to leave.
  const when = said(`${victim} killed ${Math.round(delayMs)} ms into a session, at ${at}`);
  await finish(stage, victim, run, when, [0, 3, 6]);
  count(`any moment, at ${at}`, victim);
}

async function kill(stage: Stage, victim: Victim, run: RunningCli): Promise<void> {
  if (victim === "server") await cluster.kill9();
  else if (victim === "loader") run.child.kill("SIGKILL");
  else await killBackend(stage);
}

/** Kills it, and waits until the server has noticed: it then ends all other sessions, too. */
async function killBackend({ tap }: Stage): Promise<void> {
  const pid = tap.backendPid();
  assert.ok(pid, "there is no backend to kill");
  const bystander = await connectTo(cluster.url);
  const noticed = new Promise((resolve) => bystander.once("end", resolve));
  try {
    process.kill(pid, "SIGKILL");
    // One that was leaving anyway is not noticed.
    await Promise.race([noticed, sleep(NOTICE_LIMIT_MS)]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  } finally {
    await bystander.end();
  }
}

async function connectTo(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined); // it ends with its server
  await client.connect();
  return client;
}

/** Waits until the run has ended and the server is up, and looks at what they have left. */
async function finish(
  stage: Stage,
  victim: Victim,
  run: RunningCli,
  when: string,
  exitCodes: number[],
): Promise<void> {
  const result = await run.ended.finally(async () => {
    if (victim === "server") await cluster.start();
  });
  stage.tap.pass();
  stage.s3.heal();
  // A process that was killed has a signal and no exit code.
  const isAsExpected =
    result.code === null
      ? victim === "loader" && result.signal === "SIGKILL"
      : exitCodes.includes(result.code);
  assert.ok(isAsExpected, `${when}: ${tell(result)}`);
  await serverIsUp(stage.database.url);
  await assertNothingHalf(stage, reference, when);
}

/** After the death of a backend the server restarts by itself, and refuses sessions meanwhile. */
async function serverIsUp(url: string): Promise<void> {
  const deadline = Date.now() + RESTART_LIMIT_MS;
  for (;;) {
    try {
      await withClient(url, (client) => client.query("select"));
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(20);
    }
  }
}

function neverCame(when: string, result: CliResult): never {
  assert.fail(`${when}: the step never came. ${tell(result)}`);
}

function tell(result: CliResult): string {
  return describeRun(ingestAll, result);
}

function said(when: string): string {
  return `CRASH_SEED=${seed}, ${when}`;
}

function placeOf(name: string): number {
  const place = steps.findIndex((step) => step.name === name);
  return place === -1 ? steps.length : place;
}

function count(name: string, victim: Victim): void {
  const counts = tally.get(name) ?? { loader: 0, backend: 0, server: 0 };
  counts[victim]++;
  tally.set(name, counts);
}
