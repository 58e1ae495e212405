import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, escapeIdentifier } from "pg";
import { exitCodes } from "../src/errors.ts";
import { describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { exampleExpectations, exampleExports, refusedExamples } from "./harness/examples.ts";
import {
  archiveKey,
  changeKey,
  exportTime,
  loader,
  serverDatabase,
  ticketsOf,
} from "./harness/loader.ts";
import { createLogin } from "./harness/logins.ts";
import {
  type TestDatabase,
  createDatabase,
  databaseUrl,
  startCluster,
} from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";
import type { Scope } from "./harness/scope.ts";

const DENIED = "42501";

const database = await createDatabase({ after });
const roles = await rolesOf(database);
const skip = roles.length === 2 ? false : "the migrating role may not create roles";

/** What each role may do, all of it, by relation and function. */
const granted: Record<string, { relations: Record<string, string[]>; functions: string[] }> = {
  fleettickets_loader: {
    relations: {
      "tickets.crq_open_sla": ["select"],
      "tickets.crq_staging": ["delete", "insert", "select", "truncate"],
      "tickets.data_quality": ["select"],
      "tickets.datasets": ["select"],
      "tickets.freshness": ["select"],
      "tickets.geo_review": ["select"],
      "tickets.held_locks": ["select"],
      "tickets.import_meta": ["select"],
      "tickets.inc_open_sla": ["select"],
      "tickets.inc_staging": ["delete", "insert", "select", "truncate"],
      "tickets.ingest_files": ["select"],
      "tickets.load_history": ["select"],
      "tickets.open_sla": ["select"],
      "tickets.overview": ["select"],
      "tickets.rejected_rows": ["select"],
      "tickets.ticket_sla": ["select"],
    },
    functions: [
      "tickets.applied_migrations",
      "tickets.apply_file",
      "tickets.apply_staged",
      "tickets.capture_history",
      "tickets.clusters_to_geocode",
      "tickets.dataset_of_key",
      "tickets.eat_ts",
      "tickets.finish_geocoding",
      "tickets.finish_run",
      "tickets.import_state",
      "tickets.locations_to_geocode",
      "tickets.mark_archived",
      "tickets.open_file",
      "tickets.pause_requests",
      "tickets.record_answer",
      "tickets.refuse_file",
      "tickets.reserve_request",
      "tickets.skip_file",
      "tickets.sort_files",
      "tickets.staged_rows",
      "tickets.start_geocoding",
      "tickets.start_run",
      "tickets.unarchived_files",
    ],
  },
};

describe("the loader's role", { skip }, () => {
  test("is enough for a whole run, refused files, archive and retry included", async (t) => {
    const copy = await createDatabase(t);
    const s3 = await startS3(t);
    const { url } = await login(t, copy, "fleettickets_loader");
    const { env, report } = loader({ ...serverDatabase(copy), url }, s3);
    const exports = [...exampleExports("inc"), ...exampleExports("crq")];
    for (const { key, body } of exports) await s3.put(key, body);
    await report(["ingest", "all"]);
    await report(["ingest", "all", "--apply"]);
    for (const dataset of ["inc", "crq"] as const) {
      assert.deepEqual(
        await serverDatabase(copy).look((query) => ticketsOf(query, dataset)),
        exampleExpectations(dataset).tickets,
      );
    }
    assert.deepEqual(await s3.keys(), exports.map(({ key }) => archiveKey(key)).sort());

    const [refused] = refusedExamples();
    await s3.put(changeKey(20), refused?.body ?? "");
    await report(["ingest", "inc", "--apply"], exitCodes.fileRefused);
    await report(["retry", changeKey(20), "--apply"], exitCodes.fileRefused);
    const snapshots = [1, 2].map((n) => `automations/inc/${exportTime(30 + n)}.csv`);
    for (const key of snapshots) await s3.put(key, csvOf([{ ticket_id: "T1" }]));
    await report(["ingest", "inc", "--snapshot", "--apply"]);
    const { code } = await runCli(["capture-history"], { env });
    assert.equal(code, exitCodes.done);
  });

  test("is enough to stage by hand and apply", async (t) => {
    const copy = await createDatabase(t);
    const { client } = await login(t, copy, "fleettickets_loader");
    await client.query("insert into tickets.inc_staging (ticket_id, owner) values ('T1', 'a')");
    const { rows } = await client.query("select f.inserted from tickets.apply_staged() as f");
    assert.deepEqual(rows, [{ inserted: 1 }]);
  });

  for (const statement of [
    "select from tickets.inc",
    "select from tickets.ticket",
    `insert into tickets.inc (ticket_id, raw) values ('T1', '{"ticket_id": "T1"}')`,
    "insert into tickets.ticket (dataset, ticket_id, raw) values ('inc', 'T1', '{}')",
    "update tickets.inc set raw = raw",
    "delete from tickets.crq",
    "truncate tickets.inc",
    "copy tickets.inc (ticket_id, raw) from stdin",
    "begin; lock table tickets.inc in access exclusive mode",
    "update tickets.inc_staging set owner = 'a'",
    "delete from tickets.staging",
    "insert into tickets.staging (dataset, source_key, line) values ('inc', 'a', 1)",
    "insert into tickets.ingest_files (dataset, source_key, status) values ('inc', 'a', 'applied')",
    "update tickets.ingest_files set status = 'applied'",
    "delete from tickets.ingest_files",
    "update tickets.import_meta set metadata = '{}'",
    "delete from tickets.rejected_rows",
    "update tickets.datasets set max_rejected_share = 1",
    "insert into tickets.closure_events (dataset, ticket_id) values ('inc', 'T1')",
    "delete from tickets.status_events",
    "alter table tickets.closure_events disable trigger closure_events_are_append_only",
    "delete from tickets.unrecorded_changes",
    "select from tickets.locks",
    "select from tickets.locks for share",
    "update tickets.inc_daily_snapshot set open = 0",
    "select from tickets.geo_clusters",
    "update tickets.geo_clusters set verified = true",
    "insert into tickets.geo_locations (place, cluster) values ('a', 'b')",
    "delete from tickets.geocoder_requests",
    "update tickets.geocoder_services set per_day = null",
    "update tickets.geocoding set max_distance = 1e9",
    "select tickets.verify_place('a')",
    "select tickets.correct_place('a', -1.3, 36.8)",
    "select tickets.reject_place('a')",
    "alter table tickets.inc add column mine text",
    "drop table tickets.inc_staging",
    "create table tickets.mine ()",
    "create table reporting.mine ()",
    "create function tickets.mine() returns int language sql return 1",
    "create or replace function tickets._now() returns timestamptz language sql stable return null",
    "create trigger mine before insert on tickets.inc_staging for each row execute function pg_catalog.suppress_redundant_updates_trigger()",
    "grant select on tickets.inc to public",
  ]) {
    test(`may not: ${statement.slice(0, 80)}`, async (t) => {
      const { client } = await login(t, database, "fleettickets_loader");
      await assertDenied(client, statement);
    });
  }
});

describe("the reader's role", { skip }, () => {
  test("is granted the views, and no table", async () => {
    const { relations } = await grantsOf("fleettickets_reader");
    const views = await relationsOf(database, "v");
    assert.deepEqual(relations, Object.fromEntries(views.map((view) => [view, ["select"]])));
  });

  for (const call of [
    "select * from reporting.fn_backlog('inc', '2026-06-14', '2026-06-15')",
    "select * from reporting.fn_team_closures('inc', '2026-06-14', '2026-06-15')",
    "select * from reporting.fn_nearest_tickets(-1.2921, 36.8219)",
    "select reporting.tickets_mvt(0, 0, 0)",
  ]) {
    test(`may, and the loader's may not: ${call}`, async (t) => {
      const reader = await login(t, database, "fleettickets_reader");
      await reader.client.query(call);
      const other = await login(t, database, "fleettickets_loader");
      await assertDenied(other.client, call);
    });
  }

  test("reads through the functions what it may not select", async (t) => {
    const copy = await createDatabase(t);
    await copy.pool.query(
      `insert into tickets.ticket (dataset, ticket_id, raw)
       select d.dataset, 'T1', '{"ticket_id": "T1", "latitude": "-1.3", "longitude": "36.8"}'
       from tickets.datasets as d`,
    );
    const statement = `select json_array_length(reporting.fn_tickets_for_map() -> 'features') as map,
       json_array_length(reporting.fn_inc_dashboard() -> 'open' -> 'features') as inc,
       json_array_length(reporting.fn_crq_dashboard() -> 'open' -> 'features') as crq`;
    const { client } = await login(t, copy, "fleettickets_reader");
    const { rows } = await client.query(statement);
    assert.deepEqual(rows, [{ map: 2, inc: 1, crq: 1 }]);
    const { client: loaderClient } = await login(t, copy, "fleettickets_loader");
    await assertDenied(loaderClient, statement);
  });

  test("may call no function that writes", async () => {
    const { rows } = await database.pool.query(
      `select p.oid::regprocedure::text as function
       from pg_proc as p
       where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
         and p.provolatile = 'v'
         and has_function_privilege('fleettickets_reader', p.oid, 'execute')`,
    );
    assert.deepEqual(rows, []);
  });

  for (const statement of [
    "select from tickets.inc",
    "select from tickets.ticket",
    "select from tickets.inc_staging",
    "insert into tickets.inc_staging (ticket_id) values ('T1')",
    "copy tickets.inc_staging (ticket_id) from stdin",
    "select from tickets.ingest_files",
    "select from tickets.import_meta",
    "select from tickets.rejected_rows",
    "select from tickets.datasets",
    "select from tickets.closure_events",
    "select from tickets.status_events",
    "select from tickets.unrecorded_changes",
    "select from tickets.inc_daily_snapshot",
    "delete from tickets.inc",
    "select nextval('tickets.staging_line')",
    "select tickets.start_run('inc')",
    "select tickets.apply_staged()",
    "select tickets.capture_history()",
    "select from tickets.geo_locations",
    "select tickets.start_geocoding('clusters')",
    "select tickets.verify_place('a')",
    "create table reporting.mine ()",
  ]) {
    test(`may not: ${statement}`, async (t) => {
      const { client } = await login(t, database, "fleettickets_reader");
      await assertDenied(client, statement);
    });
  }
});

test(
  "both roles read every view, with tickets and refused files behind it",
  { skip },
  async (t) => {
    const copy = await createDatabase(t);
    const s3 = await startS3(t);
    await s3.put(
      changeKey(1),
      csvOf([{ ticket_id: "T1", mttr: "n/a", latitude: "abc", closed_at: "2026-02-30" }]),
    );
    await s3.put(changeKey(2), "");
    await s3.put(changeKey(3, "crq"), csvOf([{ ticket_id: "T1" }]));
    await loader(serverDatabase(copy), s3).run(["ingest", "all", "--apply"], exitCodes.fileRefused);
    await copy.pool.query("insert into tickets.geo_clusters (cluster) values ('Ruaka')");
    // A run at work.
    await (await copy.connect()).query("select tickets.start_run('inc')");
    const views = await relationsOf(copy, "v");
    assert.ok(views.length >= 3, views.join());
    const failures: string[] = [];
    for (const role of roles) {
      const { client } = await login(t, copy, role);
      for (const view of views) {
        try {
          const { rows } = await client.query(`select * from ${view}`);
          assert.notDeepEqual(rows, [], "is empty");
        } catch (error) {
          failures.push(`${role}, ${view}: ${String(error)}`);
        }
      }
    }
    assert.deepEqual(failures, []);
  },
);

describe("rights", { skip }, () => {
  test("of the loader's role are those in the list", async () => {
    assert.deepEqual(await grantsOf("fleettickets_loader"), granted["fleettickets_loader"]);
  });

  for (const role of ["fleettickets_loader", "fleettickets_reader"]) {
    test(`of ${role} end at the private functions that write, each of which it is denied`, async (t) => {
      const { client } = await login(t, database, role);
      const { rows } = await database.pool.query<{ call: string }>(
        `select format('select %s.%I(%s)', p.pronamespace::regnamespace, p.proname,
           (select string_agg('null::' || format_type(a.type, null), ', ' order by a.n)
            from unnest(p.proargtypes) with ordinality as a (type, n))) as call
         from pg_proc as p
         where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
           and p.proname like '\\_%' and p.provolatile = 'v'
           -- A strict one with nothing but NULL is not called at all.
           and not p.proisstrict
         order by p.oid`,
      );
      assert.ok(rows.length > 3, `${rows.length} functions`);
      for (const { call } of rows) await assertDenied(client, call);
    });
  }

  test("of all others: none", async (t) => {
    const { client } = await login(t, database);
    for (const statement of [
      "select from tickets.inc",
      "select from tickets.freshness",
      "insert into tickets.inc_staging (ticket_id) values ('T1')",
      "select tickets.eat_ts('2026-06-15')",
      "select tickets.start_run('inc')",
    ]) {
      await assertDenied(client, statement);
    }
    assert.deepEqual(await grantsOf("public"), { relations: {}, functions: [] });
  });
});

describe("where the migrating role may not create roles", () => {
  let url: string;
  let superuser: Client;
  let stop = () => Promise.resolve();

  before(async () => {
    // Roles are the server's: it takes one that never had them.
    const cluster = await startCluster({ durable: false });
    stop = () => cluster.stop();
    const server = await connect(cluster.url);
    await server.query("create role migrator login password 'migrator'");
    await server.query("create database tickets owner migrator");
    await server.end();
    const address = new URL(databaseUrl(cluster.url, "tickets"));
    superuser = await connect(address.href);
    await superuser.query("create extension postgis");
    address.username = address.password = "migrator";
    url = address.href;
  });
  after(async () => {
    await superuser.end();
    await stop();
  });

  test("the schema is made without them, with a notice", async () => {
    const args = ["migrate"];
    const result = await runCli(args, { env: { DATABASE_URL: url } });
    assert.equal(result.code, exitCodes.done, describeRun(args, result));
    assert.match(result.stderr, /fleettickets_loader/);
    assert.match(result.stderr, /fleettickets_reader/);
    assert.deepEqual(await rolesOf({ pool: superuser }), []);
  });

  test("the next migration grants them their rights, once they are there", async () => {
    await superuser.query("create role fleettickets_loader");
    await superuser.query("create role fleettickets_reader");
    const args = ["migrate"];
    const result = await runCli(args, { env: { DATABASE_URL: url } });
    assert.equal(result.code, exitCodes.done, describeRun(args, result));
    const { rows } = await superuser.query(
      `select has_function_privilege('fleettickets_loader', 'tickets.start_run(text)', 'execute')
           and has_table_privilege('fleettickets_loader', 'tickets.inc_staging', 'insert')
         as loader,
         has_table_privilege('fleettickets_reader', 'tickets.freshness', 'select') as reader`,
    );
    assert.deepEqual(rows, [{ loader: true, reader: true }]);
  });
});

async function rolesOf({ pool }: { pool: Pick<Client, "query"> }): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select r.rolname as name from pg_roles as r
     where r.rolname in ('fleettickets_loader', 'fleettickets_reader') order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** A user of its own that is a member of the role, or of none, connected to the database. */
async function login(
  t: Scope,
  { url }: TestDatabase,
  role?: string,
): Promise<{ client: Client; url: string }> {
  const attributes = role === undefined ? "" : `in role ${escapeIdentifier(role)}`;
  const userUrl = await createLogin(t, url, { attributes });
  const client = await connect(userUrl);
  t.after(() => client.end());
  return { client, url: userUrl };
}

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function assertDenied(client: Client, statement: string): Promise<void> {
  await assert.rejects(client.query(statement), { code: DENIED }, statement);
}

/** The relations of our schemas of one kind, by name. */
async function relationsOf({ pool }: TestDatabase, kind: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select c.oid::regclass::text as name
     from pg_class as c
     where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and c.relkind = $1
     order by 1`,
    [kind],
  );
  return rows.map(({ name }) => name);
}

/** What a role, or public, may do with what is in our schemas. */
async function grantsOf(
  role: string,
): Promise<{ relations: Record<string, string[]>; functions: string[] }> {
  const relations = await database.pool.query<{ name: string; rights: string[] }>(
    `select c.oid::regclass::text as name, array_agg(p.name order by p.name) as rights
     from pg_class as c
     cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as p (name)
     where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and case
         when p.name in ('delete', 'truncate') then has_table_privilege($1, c.oid, p.name)
         else has_any_column_privilege($1, c.oid, p.name)
       end
     group by c.oid
     order by 1`,
    [role],
  );
  const functions = await database.pool.query<{ name: string }>(
    `select distinct p.pronamespace::regnamespace || '.' || p.proname as name
     from pg_proc as p
     where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and has_function_privilege($1, p.oid, 'execute')
     order by 1`,
    [role],
  );
  return {
    relations: Object.fromEntries(relations.rows.map(({ name, rights }) => [name, rights])),
    functions: functions.rows.map(({ name }) => name),
  };
}
