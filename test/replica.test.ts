// A streaming replica: it answers whatever is read as its primary does, says how old that is, takes
// no writes from anybody, and can take the place of its primary.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { pino } from "pino";
import type { Check } from "../src/check.ts";
import { type ErrorDescription, exitCodes } from "../src/errors.ts";
import { migrate } from "../src/migrate.ts";
import { sampleExports } from "../src/samples.ts";
import { type CliResult, describeRun, runCli, spawnCli } from "./harness/cli.ts";
import { startGeocoder } from "./harness/geocoder.ts";
import { type LedgerRow, ledgerOf, loader, ticketsOf } from "./harness/loader.ts";
import { type ExpectedTicket, expectedTickets } from "./harness/model.ts";
import { databaseUrl, startCluster, startStandby } from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";

const [first, second, waiting] = sampleExports({
  dataset: "inc",
  seed: 29,
  files: 3,
  ticketsPerFile: 300,
  repeatShare: 0.3,
});
const [crq] = sampleExports({ dataset: "crq", seed: 29, files: 1, ticketsPerFile: 100 });
assert.ok(first && second && waiting && crq);

// For both servers alike, and shortly after the exports, or no dashboard would have anything in it.
const clock = "2026-06-15T09:00:00+03:00";

const primary = await startCluster();
const name = "tickets";
await onServer(primary.url, `create database ${name}`);
await migrate(databaseUrl(primary.url, name), pino({ level: "silent" }));
const standby = await startStandby(primary);
for (const { stop } of [primary, standby]) after(stop);

const master = sessionsOf(primary.url);
const replica = sessionsOf(standby.url);
for (const { pool } of [master, replica]) after(() => pool.end());

const s3 = await startS3({ after });
const { run } = loader({ url: master.url, look: (work) => work(master.query) }, s3);
await master.query(
  readFileSync(new URL("../migrations/seeds/clusters.sql", import.meta.url), "utf8"),
);
for (const { key, body } of [first, crq]) await s3.put(key, body);
// So that there is something to archive, too, for whoever has no business to.
await run(["ingest", "all", "--apply", "--no-archive"]);

describe("a replica that has caught up", () => {
  test("answers each function of reporting as its primary does, to the byte", async () => {
    await caughtUp();
    const functions = await master.query<{ name: string }>(
      `select distinct p.proname as name from pg_proc as p
       where p.pronamespace = 'reporting'::regnamespace and p.proname !~ '^_' order by 1`,
    );
    assert.deepEqual(
      Object.keys(questions).sort(),
      functions.map((row) => row.name),
    );
    for (const asked of Object.values(questions).flat()) {
      const [answer, expected] = await Promise.all([replica, master].map((db) => ask(db, asked)));
      assert.ok(answer !== undefined && answer.length > 300, `${asked}: ${answer}`);
      assert.equal(answer, expected, asked);
    }
  });

  test("shows the same in each view", async () => {
    await caughtUp();
    const views = await master.query<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class as c
       where c.relnamespace = 'tickets'::regnamespace and c.relkind = 'v'`,
    );
    assert.ok(views.length > 0);
    for (const { name } of views) {
      const all = `select coalesce(json_agg(v order by v::text), '[]')::text from ${name} as v`;
      assert.equal(await ask(replica, all), await ask(master, all), name);
    }
  });

  test("serves status, report and preview", async (t) => {
    await caughtUp();
    await s3.put(second.key, second.body);
    t.after(() => s3.remove(second.key));
    const folder = await mkdtemp(join(tmpdir(), "fleettickets-replica-"));
    t.after(() => rm(folder, { recursive: true }));
    const out = join(folder, "report.html");
    const expected = await ask(
      master,
      "select reporting.fn_tickets_for_map(null, null, 'all')::text",
    );
    const [there, here, report, map] = await Promise.all([
      command(replica, ["status", "--json"]),
      command(master, ["status", "--json"]),
      command(replica, ["report", "--status", "all", "--out", out, "--json"]),
      mapOfPreview(replica, "status=all"),
    ]);
    assert.equal(there.stdout, here.stdout);
    assert.match(there.stdout, /"files_waiting":1,/);
    assert.equal(map, expected);
    const { features } = JSON.parse(expected) as { features: { id: string }[] };
    assert.ok(features.length > 0);
    assert.equal((report.json as { tickets: number }).tickets, features.length);
    const page = await readFile(out, "utf8");
    for (const { id } of features) assert.ok(page.includes(id), id);
  });
});

test("a replica that lags says how old its tickets are, and catches up", async () => {
  await caughtUp();
  const freshness = "select (reporting.fn_tickets_for_map() #> '{summary,freshness,inc}')::text";
  const before = await ask(replica, freshness);
  await replica.query("select pg_wal_replay_pause()");
  await s3.put(second.key, second.body);
  await run(["ingest", "inc", "--apply", "--no-archive"]);
  assert.equal(await ask(replica, freshness), before);
  assert.ok(before.includes(first.key) && !before.includes(second.key), before);
  await replica.query("select pg_wal_replay_resume()");
  await caughtUp();
  const now = await ask(replica, freshness);
  assert.equal(now, await ask(master, freshness));
  assert.ok(now.includes(second.key), now);
});

describe("whoever would write to a replica is sent to the primary, and nothing is moved:", () => {
  for (const args of [
    ["ingest", "all"],
    ["ingest", "all", "--apply"],
    ["retry", first.key, "--apply"],
    ["capture-history"],
    ["geocode", "locations", "--apply"],
    ["migrate"],
  ]) {
    test(args.join(" "), async (t) => {
      await caughtUp();
      await s3.put(waiting.key, waiting.body);
      const geocoder = await startGeocoder(t, () => assert.fail("nobody is to ask"));
      const before = await s3.keys();
      const result = await command(replica, [...args, "--json"], exitCodes.database, {
        GEOCODER_PROVIDER: "locationiq",
        GEOCODER_API_KEY: "key",
        GEOCODER_URL: geocoder.url,
      });
      const { error, datasets = [{ error }] } = result.json as {
        error?: ErrorDescription | null;
        datasets?: { error?: ErrorDescription | null }[];
      };
      for (const each of datasets) {
        assert.equal(each.error?.code, "25006", describeRun(args, result));
        assert.match(each.error.hint ?? "", /standby.*name the primary/);
      }
      assert.deepEqual(await s3.keys(), before);
      assert.deepEqual(geocoder.requests, []);
    });
  }

  test("doctor, and looks at all the rest", async () => {
    await caughtUp();
    const result = await command(
      onClockOfServer(replica),
      ["doctor", "--json"],
      exitCodes.database,
    );
    const { checks } = result.json as { checks: Check[] };
    const failed = checks.filter(({ status }) => status === "failed");
    assert.deepEqual(
      failed.map(({ check }) => check),
      ["writes"],
    );
    assert.match(failed[0]?.cure ?? "", /primary in DATABASE_URL/);
    for (const looked of ["schema", "rights", "bucket", "reading", "automations/inc/"]) {
      assert.equal(checks.find(({ check }) => check === looked)?.status, "ok", looked);
    }
  });
});

test("a replica that takes the primary's place loads what is next, and archives it all", async () => {
  await caughtUp();
  await s3.put(waiting.key, waiting.body);
  await primary.kill9();
  await replica.query("select pg_promote()");
  await command(replica, ["ingest", "all", "--apply"]);
  const [tickets, ledger] = [await allTickets(), await ledgerOf(replica.query)];
  const files = [first, second, waiting];
  assert.deepEqual(tickets, new Map([...expectedTickets([crq]), ...expectedTickets(files)]));
  assert.deepEqual(
    ledger.map(({ source_key, status, is_archived }: LedgerRow) => [
      source_key,
      status,
      is_archived,
    ]),
    [crq, ...files].map(({ key }) => [key, "applied", true]),
  );
  assert.ok((await s3.keys()).every((key) => key.includes("/processed/")));
  const { json } = await command(onClockOfServer(replica), ["doctor", "--json"]);
  assert.deepEqual(
    (json as { checks: Check[] }).checks.filter(({ check }) => /writes|staging of/.test(check)),
    ["inc", "crq"].map((dataset) => ({
      check: `staging of ${dataset}`,
      status: "ok",
      finding: "empty",
      cure: null,
      exit_code: exitCodes.done,
    })),
  );
});

/** Calls of each function of reporting that say something of the exports, each one text. */
const questions: Record<string, string[]> = {
  fn_tickets_for_map: [
    "select reporting.fn_tickets_for_map()::text",
    "select reporting.fn_tickets_for_map('inc', null, 'all')::text",
  ],
  fn_inc_dashboard: ["select reporting.fn_inc_dashboard()::text"],
  fn_crq_dashboard: ["select reporting.fn_crq_dashboard(p_window => '30d')::text"],
  fn_backlog: [
    "select json_agg(b)::text from reporting.fn_backlog('inc', '2026-06-01', '2026-06-15') as b",
  ],
  fn_team_closures: [
    "select json_agg(c)::text from reporting.fn_team_closures('inc', '-infinity', 'infinity') as c",
  ],
  fn_nearest_tickets: [
    "select json_agg(n)::text from reporting.fn_nearest_tickets(-1.2921, 36.8219, 50) as n",
  ],
  tickets_mvt: [
    "select encode(reporting.tickets_mvt(0, 0, 0), 'hex')",
    `select encode(reporting.tickets_mvt(8, 154, 128, '{"status": "all"}'), 'hex')`,
  ],
};

interface Sessions {
  url: string;
  pool: pg.Pool;
  query: <Row>(text: string, values?: readonly unknown[]) => Promise<Row[]>;
}

/** The database on a server, for whom time stands still. */
function sessionsOf(serverUrl: string): Sessions {
  const url = new URL(databaseUrl(serverUrl, name));
  url.searchParams.set("options", `-c tickets.now=${clock}`);
  const pool = new pg.Pool({ connectionString: url.href, max: 2 });
  pool.on("error", () => {
    // The primary is killed in the end; the next query would say so.
  });
  return {
    url: url.href,
    pool,
    async query<Row>(text: string, values: readonly unknown[] = []) {
      const { rows } = await pool.query(text, [...values]);
      return rows as Row[];
    },
  };
}

/** The text that is the answer. */
async function ask({ query }: Sessions, question: string): Promise<string> {
  const [row] = await query<Record<string, string>>(question);
  return Object.values(row ?? {})[0] ?? assert.fail(`no answer: ${question}`);
}

/** Waits till the replica has replayed all that is committed. */
async function caughtUp(): Promise<void> {
  const lsn = await ask(master, "select pg_current_wal_lsn()::text");
  const deadline = Date.now() + 30_000;
  while ((await ask(replica, `select (pg_last_wal_replay_lsn() >= '${lsn}')::text`)) !== "true") {
    assert.ok(Date.now() < deadline, `the replica does not come to ${lsn}`);
    await sleep(10);
  }
}

/** The same server for the doctor, who complains of a clock that is stopped. */
function onClockOfServer({ url }: Pick<Sessions, "url">): { url: string } {
  const address = new URL(url);
  address.searchParams.delete("options");
  return { url: address.href };
}

async function command(
  { url }: Pick<Sessions, "url">,
  args: string[],
  code: number = exitCodes.done,
  env: Record<string, string> = {},
): Promise<CliResult> {
  const result = await runCli(args, { env: { ...s3.env, ...env, DATABASE_URL: url } });
  assert.equal(result.code, code, describeRun(args, result));
  return result;
}

/** What the map of `fleettickets preview` gets. */
async function mapOfPreview({ url }: Sessions, filters: string): Promise<string> {
  const child = spawnCli(["preview", "--port", "0", "--json"], { env: { DATABASE_URL: url } });
  try {
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const { url: address } = JSON.parse(line) as { url: string };
    const response = await fetch(new URL(`api/map?${filters}`, address));
    assert.equal(response.status, 200);
    return await response.text();
  } finally {
    child.kill();
  }
}

async function allTickets(): Promise<Map<string, ExpectedTicket>> {
  const [ofCrq, ofInc] = [
    await ticketsOf(replica.query, "crq"),
    await ticketsOf(replica.query, "inc"),
  ];
  return new Map([...ofCrq, ...ofInc]);
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(statement);
  await client.end();
}
