// What a role can do with rights that it was not granted: nothing.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, escapeIdentifier, escapeLiteral } from "pg";
import { pino } from "pino";
import { migrate } from "../src/migrate.ts";
import { contractColumns } from "../src/samples.ts";
import { createLogin } from "./harness/logins.ts";
import { type TestDatabase, createDatabase } from "./harness/postgres.ts";
import { createReleasedDatabase } from "./harness/released.ts";
import type { Scope } from "./harness/scope.ts";
import { applyFile, changeKey, only } from "./sql/staging.ts";

const database = await createDatabase({ after });
const key = changeKey("2026-06-15T06-00-00");

/** Calls of every function that some role may execute; a new function needs one here. */
const calls: Record<string, readonly string[]> = {
  "tickets.applied_migrations": ["select * from tickets.applied_migrations()"],
  "tickets.apply_file": [
    "delete from tickets.inc_staging",
    `select * from tickets.open_file('inc', '${key}', array['ticket_id', 'mttr', 'closed_at', 'latitude'])`,
    `insert into tickets.inc_staging (ticket_id, mttr, closed_at, latitude, cluster)
     values ('T9', '7.5', '2026-06-15 06:00:00', '1', 'QOA'), ('', '7', '', '', ''),
       ('EXPORT STOPPED', '', '', '', '')`,
    `select * from tickets.apply_file(
       'inc', '${key}', 'e', 1, array['ticket_id', 'mttr', 'closed_at', 'latitude'], 3)`,
  ],
  "tickets.apply_staged": [
    "insert into tickets.crq_staging (ticket_id, closed_at) values ('T8', '2026-06-15T06:00')",
    "select * from tickets.apply_staged()",
  ],
  "tickets.capture_history": ["select * from tickets.capture_history()"],
  "tickets.clusters_to_geocode": ["select * from tickets.clusters_to_geocode()"],
  "tickets.dataset_of_key": [`select tickets.dataset_of_key('${key}')`],
  "tickets.eat_ts": ["select tickets.eat_ts('2026-06-15 06:00')"],
  "tickets.finish_geocoding": ["select tickets.finish_geocoding('clusters')"],
  "tickets.finish_run": ["select tickets.finish_run('inc')"],
  "tickets.import_state": ["select tickets.import_state('inc')"],
  "tickets.locations_to_geocode": ["select * from tickets.locations_to_geocode()"],
  "tickets.mark_archived": [`select tickets.mark_archived('inc', '${key}', 'e')`],
  "tickets.open_file": [
    `select * from tickets.open_file('inc', '${key}', array['ticket_id', 'x'])`,
  ],
  "tickets.pause_requests": ["select tickets.pause_requests('nominatim', 1)"],
  "tickets.record_answer": [
    `select * from tickets.record_answer(
       array[null], array['QOA'], 'nominatim', 'q', 'found', -1.3, 36.8, 'ke')`,
  ],
  "tickets.refuse_file": [`select tickets.refuse_file('inc', '${key}', 'r', 1, 'TK107', 'why')`],
  "tickets.reserve_request": ["select * from tickets.reserve_request('nominatim', 1)"],
  "tickets.skip_file": [`select tickets.skip_file('inc', '${key}', 's', 1)`],
  "tickets.sort_files": [`select * from tickets.sort_files('inc', array['${key}'], array['e'])`],
  "tickets.staged_rows": ["select * from tickets.staged_rows('inc')"],
  "tickets.start_geocoding": ["select tickets.start_geocoding('clusters')"],
  "tickets.start_run": ["select tickets.start_run('inc')"],
  "tickets.unarchived_files": ["select * from tickets.unarchived_files('inc')"],
  "reporting.fn_backlog": ["select * from reporting.fn_backlog('inc', '2026-06-14', '2026-06-15')"],
  "reporting.fn_crq_dashboard": ["select reporting.fn_crq_dashboard()"],
  "reporting.fn_inc_dashboard": [
    "select reporting.fn_inc_dashboard('QOA', 'open', '30 days', '2026-06-14')",
  ],
  "reporting.fn_nearest_tickets": ["select * from reporting.fn_nearest_tickets(-1.3, 36.8)"],
  "reporting.fn_team_closures": [
    "select * from reporting.fn_team_closures('inc', '2026-06-14', '2026-06-16')",
  ],
  "reporting.fn_tickets_for_map": ["select reporting.fn_tickets_for_map('inc', 'QOA', 'all')"],
  "reporting.tickets_mvt": [`select reporting.tickets_mvt(0, 0, 0, '{"status": "all"}')`],
};

const { rows: roles } = await database.pool.query<{ name: string }>(
  "select r.rolname as name from pg_roles as r where r.rolname ~ '^fleettickets_(loader|reader)$'",
);
const skip = roles.length === 2 ? false : "the migrating role may not create roles";
const membership: Record<string, string> = {
  "a reader": "in role fleettickets_reader",
  "a loader": "in role fleettickets_loader",
  "a loader who reads": "in role fleettickets_loader, fleettickets_reader",
  "a stranger": "",
};

/** A ticket of each dataset that is open, and one that is closed. */
async function loadTickets(client: Client): Promise<void> {
  const row = {
    ticket_id: "T1",
    cluster: "QOA",
    location_name: "NW_KILIMANI_FDT12 Argwings Kodhek Rd",
    bucket: "closed",
    mttr: "90",
    is_actionable: "true",
    created_at_service: "2026-06-14 08:00:00",
    closed_at: "2026-06-15 05:00",
    latitude: "-1.3",
    longitude: "36.8",
  };
  await client.query("begin");
  for (const dataset of ["inc", "crq"] as const) {
    const first = changeKey("2026-06-15T05-00-00", dataset);
    const rows = [row, { ...row, ticket_id: "T2", bucket: "pending", closed_at: "" }];
    await applyFile(client, { dataset, key: first, rows, header: contractColumns });
  }
  await client.query("commit");
}

describe("with every built-in type and every table of ours shadowed in pg_temp", { skip }, () => {
  before(async () => {
    await loadTickets(await database.connect());
  });

  test("nothing of a reader or a loader runs as another user after the upgrade of 1.3.1", async (t) => {
    const url = await createReleasedDatabase(t, "1.3.1");
    const owner = await connect(t, url);
    await loadTickets(owner);
    await migrate(url, pino({ level: "silent" }));
    for (const attributes of ["in role fleettickets_reader", "in role fleettickets_loader"]) {
      const client = await login(t, attributes, { url });
      const ranAs = witness(client);
      const executable = await executableFunctions(client);
      assert.notEqual(executable.length, 0);
      await shadowing(client, () => outcomes(client, executable, []));
      assert.deepEqual(ranAs, []);
      await client.end();
    }
    const { rows } = await owner.query(
      "select t.dataset, count(*)::integer as tickets from tickets.ticket as t group by 1 order by 1",
    );
    assert.deepEqual(rows, [
      { dataset: "crq", tickets: 2 },
      { dataset: "inc", tickets: 2 },
    ]);
  });

  for (const [who, attributes] of Object.entries(membership)) {
    test(`nothing of ${who} runs as another user`, async (t) => {
      const client = await login(t, attributes);
      const executable = await executableFunctions(client);
      const views = await readableViews(client);
      assert.equal(executable.length > 0, attributes !== "");
      const plain = await outcomes(client, executable, views);
      const ranAs = witness(client);
      const shadowed = await shadowing(client, () => outcomes(client, executable, views));
      assert.deepEqual([...new Set(ranAs)], []);
      assert.deepEqual(shadowed, plain);
    });
  }

  test("the witness sees a function whose search_path is empty", async (t) => {
    const copy = await createDatabase(t);
    await copy.pool.query("alter function tickets.eat_ts set search_path = ''");
    const client = await login(t, membership["a loader"] ?? "", copy);
    const ranAs = witness(client);
    await shadowing(client, () => outcomes(client, ["tickets.sort_files"], []));
    assert.notEqual(ranAs.length, 0);
  });
});

describe("the settings of the schema", { skip }, () => {
  test("the clock of a loader is the server's, whatever tickets.now says", async (t) => {
    const copy = await createDatabase(t);
    const client = await login(t, "in role fleettickets_loader", copy);
    const stopped = "2026-06-15T12:00:00Z";
    await client.query("insert into tickets.inc_staging (ticket_id) values ('T1')");
    await client.query("select set_config('tickets.now', $1, false)", [stopped]);
    await client.query("select * from tickets.apply_staged()");
    await client.query("select * from tickets.capture_history('inc')");
    const { rows } = await copy.pool.query(
      `select (select max(f.applied_at) = $1 from tickets.ingest_files as f) as ledger,
         (select max(s.captured_at) = $1 from tickets.daily_snapshot as s) as day`,
      [stopped],
    );
    assert.deepEqual(rows, [{ ledger: false, day: false }]);
  });

  test("the clock of the owner's session can be stopped", async () => {
    const { rows } = await database.pool.query(
      `select tickets._now() = '2026-06-15T12:00:00Z' as stopped
       from set_config('tickets.now', '2026-06-15T12:00:00Z', false)`,
    );
    await database.pool.query("reset tickets.now");
    assert.deepEqual(rows, [{ stopped: true }]);
  });

  test("who may only write tickets cannot spare the trigger that derives their columns", async (t) => {
    const copy = await createDatabase(t);
    await copy.pool.query(
      `insert into tickets.ticket (dataset, ticket_id, raw)
       values ('inc', 'T1', '{"ticket_id": "T1", "owner": "a"}')`,
    );
    const client = await login(t, "", copy);
    const user = escapeIdentifier((await currentUser(client)) ?? "");
    await copy.pool.query(
      `grant usage on schema tickets to ${user}; grant select, update on tickets.ticket to ${user}`,
    );
    await client.query("begin");
    await client.query(
      "select set_config('tickets.triggers_are_spared_in', pg_current_xact_id()::text, true)",
    );
    await client.query(`update tickets.ticket set raw = raw || '{"owner": "b"}'`);
    const { rows } = await client.query("select t.owner from tickets.ticket as t");
    await client.query("rollback");
    await copy.pool.query(`drop owned by ${user}`);
    assert.deepEqual(rows, [{ owner: "b" }]);
  });

  test("standard_conforming_strings changes no cast and no judgement", async (t) => {
    const client = await login(t, "in role fleettickets_loader");
    await client.query("begin");
    await client.query("set local standard_conforming_strings = off");
    const { rows } = await client.query<{ source_key: string }>(
      "select f.source_key from tickets.sort_files('inc', array[$1, $2], array['e', 'e']) as f",
      [key, key.replace(".csv", "Xcsv")],
    );
    assert.deepEqual(rows, [{ source_key: key }]);
    await client.query(
      `insert into tickets.inc_staging (ticket_id, mttr, latitude, longitude, closed_at)
       values ('T7', '1e3', '1x2', '36.8', '2026-06-15 06:00:00x5'), (' EXPORT STOPPED', '', '', '', '')`,
    );
    const { rows: files } = await client.query<{ inserted: number; dropped_sentinel: number }>(
      "select f.inserted, f.dropped_sentinel from tickets.apply_staged('inc') as f",
    );
    assert.deepEqual(files, [{ inserted: 1, dropped_sentinel: 1 }]);
    const { rows: bad } = await client.query<{ column_name: string }>(
      "select q.column_name from tickets.data_quality as q where q.ticket_id = 'T7' order by 1",
    );
    await client.query("rollback");
    assert.deepEqual(
      bad.map(({ column_name }) => column_name),
      ["closed_at", "latitude", "longitude", "mttr"],
    );
  });
});

describe("who may connect, and nothing else,", { skip }, () => {
  test("holds up no run by taking its lock", async (t) => {
    const copy = await createDatabase(t);
    const outsider = await login(t, "", copy);
    const [one, other] = [
      await login(t, "in role fleettickets_loader", copy),
      await login(t, "in role fleettickets_loader noinherit", copy),
    ];
    for (const name of ["load inc", "geocode clusters"]) {
      await outsider.query("select pg_advisory_lock($1)", [await keyOf(copy, name)]);
    }
    await one.query("select tickets.start_run('inc')");
    await one.query("select tickets.start_geocoding('clusters')");
    await other.query("set role fleettickets_loader");
    await assert.rejects(other.query("select tickets.start_run('inc')"), { code: "TK002" });
    await assert.rejects(other.query("select tickets.start_geocoding('clusters')"), {
      code: "TK051",
    });
    await one.query("insert into tickets.inc_staging (ticket_id) values ('T1')");
    await one.query("select * from tickets.apply_staged('inc')");
    await one.query("select tickets.finish_run('inc')");
    await other.query("select tickets.start_run('inc')");
    await assert.rejects(one.query("select tickets.start_run('inc')"), { code: "TK002" });
  });

  test("holds up no writer, whatever advisory locks and waiting there are", async (t) => {
    const copy = await createDatabase(t);
    const outsider = await login(t, "", copy);
    for (const name of ["<gazetteers>", "<tickets> inc", "inc"]) {
      await outsider.query("select pg_advisory_lock(hashtext('fleettickets'), hashtext($1))", [
        name,
      ]);
    }
    for (const name of ["load inc", "tickets inc", "gazetteers"]) {
      await outsider.query("select pg_advisory_lock($1)", [await keyOf(copy, name)]);
      await assert.rejects(
        outsider.query("select 1 from tickets.locks as l where l.name = $1 for share", [name]),
        { code: "42501" },
      );
    }
    const client = await login(t, "in role fleettickets_loader", copy);
    await client.query("set statement_timeout = '30s'");
    await client.query("insert into tickets.inc_staging (ticket_id) values ('T1')");
    await client.query("select * from tickets.apply_staged()");
  });
});

async function keyOf({ pool }: TestDatabase, name: string): Promise<string> {
  const { rows } = await pool.query<{ key: string }>(
    "select l.key from tickets.locks as l where l.name = $1",
    [name],
  );
  return only(rows).key;
}

async function currentUser(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ name: string }>("select session_user as name");
  return rows[0]?.name;
}

async function login(
  t: Scope,
  attributes: string,
  { url }: { url: string } = database,
): Promise<Client> {
  return connect(t, await createLogin(t, url, { attributes }));
}

async function connect(t: Scope, url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  t.after(() => client.end());
  return client;
}

async function executableFunctions(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select distinct n.nspname || '.' || p.proname as name
     from pg_proc as p
     join pg_namespace as n on n.oid = p.pronamespace
     where n.nspname in ('tickets', 'reporting')
       and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
     order by 1`,
  );
  return rows.map(({ name }) => name);
}

async function readableViews(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_class as c
     join pg_namespace as n on n.oid = c.relnamespace
     where n.nspname in ('tickets', 'reporting') and c.relkind = 'v'
       and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
     order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** How each call ends: with ok, or with its SQLSTATE. */
async function outcomes(
  client: Client,
  functions: readonly string[],
  views: readonly string[],
): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  const all = [
    ...functions.map((name) => [name, calls[name]] as const),
    ...views.map((name) => [name, [`select * from ${name}`]] as const),
  ];
  for (const [name, statements] of all) {
    assert.ok(statements, `${name} has no call in this test`);
    const ends: string[] = [];
    await client.query("begin");
    for (const statement of statements) {
      try {
        await client.query(statement);
        ends.push("ok");
      } catch (error) {
        ends.push((error as { code?: string }).code ?? String(error));
      }
    }
    await client.query("rollback");
    await client.query("select pg_catalog.pg_advisory_unlock_all()");
    found[name] = ends;
  }
  return found;
}

/** Users as whom code of this session ran, its own aside; they are gathered as calls go on. */
function witness(client: Client): string[] {
  const ranAs: string[] = [];
  client.on("notice", ({ message }) => {
    const user = /^attack ran as (.*)$/.exec(message ?? "")?.[1];
    if (user !== undefined) ranAs.push(user);
  });
  return ranAs;
}

/** Does the work while every built-in type and every table of ours has a namesake in pg_temp. */
async function shadowing<T>(client: Client, work: () => Promise<T>): Promise<T> {
  try {
    await shadowEverything(client);
    return await work();
  } finally {
    // Else the role cannot be dropped.
    await client.query("discard temp");
  }
}

async function shadowEverything(client: Client): Promise<void> {
  await client.query(
    `create function pg_temp.attack() returns pg_catalog.bool language plpgsql as $$
     begin
       if current_user <> session_user then
         raise notice 'attack ran as %', current_user;
       end if;
       return true;
     end $$`,
  );
  const { rows: types } = await client.query<{ name: string }>(
    `select t.typname as name from pg_catalog.pg_type as t
     where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r', 'm')
       and t.typname !~ '^_'`,
  );
  assert.ok(types.length > 80);
  for (const { name } of types) {
    const type = escapeIdentifier(name);
    await client.query(
      `create domain pg_temp.${type} as pg_catalog.${type} check (pg_temp.attack())`,
    );
  }
  const { rows: relations } = await database.pool.query<{ name: string }>(
    `select c.relname as name from pg_class as c
     where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and c.relkind in ('r', 'p', 'v')`,
  );
  for (const { name } of relations) {
    await client.query(
      `create view pg_temp.${escapeIdentifier(name)} as
       select pg_temp.attack() as attack, ${escapeLiteral(name)}::pg_catalog.text as dataset`,
    );
  }
}
