// A partition of tickets.ticket that is itself partitioned by hash, as outgrowing-one-machine.md has
// it: whatever is loaded and done by hand, it ends as in a database without.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import type { Client } from "pg";
import { type SampleFile, sampleExports } from "../../src/samples.ts";
import { createDatabase } from "../harness/postgres.ts";
import { type StagedFile, applyFile, changeKey, freezeTime, only } from "./staging.ts";

const page = read("docs/explanation/outgrowing-one-machine.md");
const [, recipe = assert.fail("the page has no recipe")] =
  /^```sql\n(begin;\n.*?partition by hash.*?)^```$/ms.exec(page) ?? [];
const partitions = ["inc_0", "inc_1", "inc_2", "inc_3"];

const inc = { dataset: "inc", seed: 41 } as const;
const [first] = sampleExports({
  ...inc,
  files: 1,
  // From a thousand rows on, a first file is written without indexes.
  ticketsPerFile: 1200,
  firstExport: "2026-06-15T05-00-00",
});
const [second, third, fourth, fifth] = sampleExports({
  ...inc,
  files: 4,
  ticketsPerFile: 80,
  repeatShare: 0.3,
});
const [crq] = sampleExports({ dataset: "crq", seed: 41, files: 1, ticketsPerFile: 40 });
assert.ok(first && second && third && fourth && fifth && crq);

/** What is done to a database, a transaction each. */
const steps: readonly [what: string, work: (client: Client) => Promise<unknown>][] = [
  ["a first file", (client) => applyFile(client, staged(first))],
  ["a change file", (client) => applyFile(client, staged(second))],
  ["a file of CRQ", (client) => applyFile(client, staged(crq))],
  ["a change file before its time", (client) => applyFile(client, staged(fourth))],
  ["one that comes late", (client) => applyFile(client, staged(third))],
  ["a snapshot", (client) => applyFile(client, snapshot(first, "2026-06-15T08-00-00"))],
  ["an unchanged snapshot", (client) => applyFile(client, snapshot(first, "2026-06-15T08-20-00"))],
  ["a file behind the snapshot", (client) => applyFile(client, staged(fifth))],
  [
    "tickets by hand",
    (client) =>
      client.query(
        `insert into tickets.inc (ticket_id, raw)
         select i.id, jsonb_build_object('ticket_id', i.id, 'cluster', 'QOA', 'bucket', i.bucket)
         from (values ('HAND1', 'pending'), ('HAND2', 'closed'), ('HAND3', 'pending'))
           as i (id, bucket)
         on conflict (ticket_id, dataset) do update set raw = excluded.raw;
         update tickets.ticket as t
         set raw = t.raw || '{"bucket": "closed", "closed_at": "2026-06-15 08:30:00"}'
         where t.dataset = 'inc' and t.is_open and t.ticket_id like '%7';
         -- To another partition, perhaps.
         update tickets.ticket as t
         set ticket_id = t.ticket_id || 'b',
           raw = t.raw || jsonb_build_object('ticket_id', t.ticket_id || 'b')
         where t.dataset = 'inc' and t.ticket_id like '%33';
         delete from tickets.inc as t where t.ticket_id like '%9'`,
      ),
  ],
  ["the history", (client) => client.query("select * from tickets.capture_history()")],
  ["points for clusters", (client) => client.query(read("migrations/seeds/clusters.sql"))],
  ["a file once more", (client) => applyFile(client, { ...staged(second), etag: "another" })],
  [
    "a file by hand",
    (client) =>
      client.query(
        `insert into tickets.inc_staging (source_key, ticket_id, owner, bucket)
         values ('manual:1', 'HAND1', 'Ann', 'closed'), ('manual:1', 'HAND4', 'Bob', 'pending');
         select * from tickets.apply_staged('inc')`,
      ),
  ],
  ["the next day", (client) => client.query("select * from tickets.capture_history()")],
];

/** What is read, each one text. */
const questions = [
  "select reporting.fn_tickets_for_map(null, null, 'all')::text as answer",
  "select reporting.fn_inc_dashboard(p_window => '30d')::text as answer",
  "select json_agg(b) as answer from reporting.fn_backlog('inc', '2026-06-15', '2026-06-16') as b",
  `select json_agg(c) as answer
   from reporting.fn_team_closures('inc', '-infinity', 'infinity') as c`,
  `select json_agg(n) as answer from reporting.fn_nearest_tickets(-1.2921, 36.8219, 100) as n`,
  `select encode(reporting.tickets_mvt(9, 308, 257, '{"status": "all"}'), 'hex') as answer`,
];

/** Where is looked at what came of it: before anything is done by hand, and in the end. */
const loaded = steps.findIndex(([what]) => what === "tickets by hand") - 1;
const last = steps.length - 1;

const whole = await played({ to: last });

describe("a dataset in partitions by hash has the same rows, history, days and answers", () => {
  for (const [when, step] of [
    ["when it is divided before its first file", 0],
    ["when it is divided with tickets and a snapshot in it", 6],
  ] as const) {
    test(when, async () => {
      const { found, counts } = await played({ to: last, divideBefore: step });
      assertAlike(found, whole.found);
      assert.deepEqual(Object.keys(counts), partitions);
      for (const count of Object.values(counts)) assert.ok(count > 200, JSON.stringify(counts));
    });
  }

  test("when parallel workers have a share in it", async () => {
    const { found, plans } = await played({ to: loaded, divideBefore: 0, isParallel: true });
    assertAlike(found, whole.found.slice(0, 1));
    assert.match(plans, /Parallel Seq Scan on inc_staging/);
    assert.match(plans, /Parallel \w+( \w+)* Scan.* on inc_[0-3]/);
  });
});

test("a first file into partitions by hash is written without indexes, too, and gets them all", async () => {
  const { client, indexes } = await divided();
  const before = await indexes();
  await inTransaction(client, 0, (each) => applyFile(each, staged(first)));
  const built = await indexes();
  assert.deepEqual(
    built.map(({ table, definition }) => [table, definition]),
    before.map(({ table, definition }) => [table, definition]),
  );
  assert.deepEqual([...new Set(built.map(({ table }) => table))], ["inc", ...partitions]);
  for (const [n, { oid, definition, is_valid }] of built.entries()) {
    assert.ok(is_valid, definition);
    // The key stays.
    assert.equal(oid === before[n]?.oid, / UNIQUE /.test(definition), definition);
  }
});

test("a snapshot of unchanged tickets in partitions by hash rewrites none of them", async () => {
  const { client, versions } = await divided();
  const at = (n: number) => `2026-06-15T05-${n}0-00`;
  await inTransaction(client, 0, (each) => applyFile(each, snapshot(first, at(1))));
  const before = await versions();
  await inTransaction(client, 1, (each) => applyFile(each, snapshot(first, at(2))));
  assert.deepEqual(await versions(), before);
});

/** A database of its own with the recipe in it. */
async function divided() {
  const database = await createDatabase({ after });
  const client = await database.connect();
  await client.query(recipe);
  return {
    client,
    async versions() {
      const { rows } = await client.query(
        `select t.tableoid::regclass::text as partition, t.ticket_id, t.ctid::text, t.xmin::text,
           t.xmax::text
         from tickets.inc as t order by t.ticket_id`,
      );
      return rows as unknown[];
    },
    async indexes() {
      const { rows } = await client.query<{
        oid: number;
        table: string;
        definition: string;
        is_valid: boolean;
      }>(
        `select i.indexrelid::integer as oid, c.relname as table, i.indisvalid as is_valid,
           regexp_replace(pg_get_indexdef(i.indexrelid), 'INDEX \\S+', 'INDEX') as definition
         from pg_index as i
         join pg_class as c on c.oid = i.indrelid
         where c.relnamespace = 'tickets'::regnamespace and c.relname ~ '^inc(_\\d)?$'
         order by c.relname, definition`,
      );
      return rows;
    },
  };
}

interface Found {
  after: string;
  tables: Record<string, unknown[]>;
  answers: string[];
}

function assertAlike(found: readonly Found[], expected: readonly Found[]): void {
  assert.equal(found.length, expected.length);
  for (const [n, { after, tables, answers }] of expected.entries()) {
    assert.deepEqual(Object.keys(found[n]?.tables ?? {}), Object.keys(tables));
    for (const [name, rows] of Object.entries(tables)) {
      assert.deepEqual(found[n]?.tables[name], rows, `${name} after ${after}`);
    }
    assert.deepEqual(found[n]?.answers, answers);
  }
}

/** What comes of the steps in a database of its own, and the plans by which it did. */
async function played({
  to,
  divideBefore,
  isParallel = false,
}: {
  to: number;
  divideBefore?: number;
  isParallel?: boolean;
}) {
  const client = await (await createDatabase({ after })).connect();
  const plans: string[] = [];
  if (isParallel) {
    client.on("notice", ({ message = "" }) => plans.push(message));
    await client.query(
      `set min_parallel_table_scan_size = 0; set min_parallel_index_scan_size = 0;
       set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
       load 'auto_explain';
       set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
       set auto_explain.log_level = notice`,
    );
  }
  const found: Found[] = [];
  for (const [n, [what, work]] of steps.slice(0, to + 1).entries()) {
    if (n === divideBefore) await client.query(recipe);
    await inTransaction(client, n, work);
    if (n !== loaded && n !== last) continue;
    const answers: string[] = [];
    await inTransaction(client, n, async () => {
      for (const question of questions) {
        const { rows } = await client.query<{ answer: unknown }>(question);
        answers.push(JSON.stringify(only(rows).answer));
      }
    });
    for (const answer of answers) assert.ok(answer.length > 70, answer);
    found.push({ after: what, tables: await tablesOf(client), answers });
  }
  const { rows } = await client.query<{ partition: string; count: number }>(
    `select c.relname as partition, count(*)::integer as count
     from tickets.inc as t
     join pg_class as c on c.oid = t.tableoid
     group by c.relname order by c.relname`,
  );
  const counts = Object.fromEntries(rows.map(({ partition, count }) => [partition, count]));
  return { found, counts, plans: plans.join("\n") };
}

/** Does one thing at the time of its turn: the last ones come on the next day. */
async function inTransaction(
  client: Client,
  turn: number,
  work: (client: Client) => Promise<unknown>,
): Promise<void> {
  const hours = turn < steps.length - 1 ? turn / 4 : 24;
  await client.query("begin");
  await freezeTime(client, new Date(Date.UTC(2026, 5, 15, 6) + hours * 3_600_000).toISOString());
  await work(client);
  await client.query("commit");
}

/**
 * Everything in the tables, in whichever partition; but for the notes of what history is to look at.
 * A number that is changed by hand can bring a ticket to another partition: to a trigger, that is a
 * ticket that goes and one that comes, and both are noted.
 */
async function tablesOf(client: Client): Promise<Record<string, unknown[]>> {
  const { rows: names } = await client.query<{ name: string }>(
    `select c.oid::regclass::text as name
     from pg_class as c
     where c.relnamespace = 'tickets'::regnamespace and c.relkind in ('r', 'p')
       and not c.relispartition and c.relname <> 'unrecorded_changes'
     order by 1`,
  );
  const tables: Record<string, unknown[]> = {};
  for (const { name } of names) {
    const { rows } = await client.query<{ row: unknown }>(
      // So many rows are compared faster as text.
      `select to_jsonb(t)::text as row from ${name} as t order by 1`,
    );
    tables[name] = rows.map(({ row }) => row);
  }
  return tables;
}

function staged({ key, header, rows }: SampleFile): StagedFile {
  return {
    key,
    dataset: key.includes("/crq/") ? "crq" : "inc",
    header,
    rows: rows.map((row) =>
      Object.fromEntries(header.map((column, n) => [column, row[n] ?? ""] as const)),
    ),
  };
}

function snapshot(file: SampleFile, time: string): StagedFile {
  const key = changeKey(time).replace("changes/", "");
  return { ...staged(file), key, isSnapshot: true };
}

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}
