// The order of a ticket's versions: whatever the order in which files are applied, and however
// often, the tables end the same, and as a model of a few lines says they must.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import type { ClientBase } from "pg";
import type { FileCounts } from "../../src/api/load.ts";
import { createDatabase } from "../harness/postgres.ts";
import {
  type Row,
  type StagedFile,
  type Ticket,
  applyFile,
  changeKey,
  closureRows,
  countsOf,
  freezeTime,
  only,
  ticketRow,
  ticketRows,
  ticketVersions,
  without,
} from "./staging.ts";

const database = await createDatabase({ after });

// What rows may say, and what is kept of it: few, so that tickets often repeat themselves.
const contents: readonly { row: Row; raw: Row; closedAt?: string | null }[] = [
  {
    row: { bucket: "pending", raw_status: "OPEN", owner: "Ann" },
    raw: { bucket: "pending", raw_status: "OPEN", owner: "Ann" },
  },
  {
    // Other text, the same content.
    row: { bucket: "pending", raw_status: " open ", owner: "Ann", mttr: " ", week_start: "24" },
    raw: { bucket: "pending", raw_status: "OPEN", owner: "Ann" },
  },
  {
    row: { bucket: "pending", raw_status: "OPEN", owner: "Bob" },
    raw: { bucket: "pending", raw_status: "OPEN", owner: "Bob" },
  },
  {
    row: { bucket: "closed", raw_status: "DONE", closed_at: "2026-06-15 07:00:00", mttr: "30" },
    raw: { bucket: "closed", raw_status: "DONE", closed_at: "2026-06-15 07:00:00", mttr: "30" },
    closedAt: "2026-06-15T04:00:00+00:00",
  },
  {
    row: { bucket: "closed", raw_status: "DONE" },
    raw: { bucket: "closed", raw_status: "DONE" },
    closedAt: null,
  },
];

/** A file as the properties make it: its place in time, and what it says of which ticket. */
interface ExportFile {
  minute: number;
  /** Goes into the key: files of the same time are in the order of their keys' bytes. */
  name: string;
  rows: readonly { ticket: string; content: number }[];
}

const exportFile: fc.Arbitrary<ExportFile> = fc.record({
  minute: fc.nat(3),
  name: fc.constantFrom("", "a", "Z", "é", "\u{10000}", "\u{ffee}"),
  rows: fc.array(
    fc.record({
      ticket: fc.constantFrom("T1", "T2", "T3", "t1", "é'; --"),
      content: fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 3, 4),
    }),
    // Many, so that most tickets are in most files: a file of ten takes no longer than one of one.
    { minLength: 6, maxLength: 12 },
  ),
});
const exportFiles = fc.uniqueArray(exportFile, { selector: keyOf, minLength: 2, maxLength: 8 });

/** The files in any order, each at least once and some of them again. */
function replayed<T>(files: readonly T[]): fc.Arbitrary<T[]> {
  return fc
    .tuple(
      fc.array(fc.constantFrom(...files), { maxLength: 4 }),
      fc.shuffledSubarray([...files], { minLength: files.length }),
      fc.array(fc.constantFrom(...files), { maxLength: 2 }),
    )
    .map((parts) => parts.flat());
}

function keyOf({ minute, name }: ExportFile): string {
  return changeKey(`${name}2026-06-15T06-0${minute}-00`);
}

function exportedAt({ minute }: ExportFile): string {
  return `2026-06-15T03:0${minute}:00+00:00`;
}

function staged(file: ExportFile, more: Partial<StagedFile> = {}): StagedFile {
  return {
    key: keyOf(file),
    rows: file.rows.map(({ ticket, content }) => ({
      ticket_id: ticket,
      ...contents[content]?.row,
    })),
    ...more,
  };
}

function inOrder(files: readonly ExportFile[]): ExportFile[] {
  return [...files].sort(
    (one, other) => one.minute - other.minute || compareBytes(keyOf(one), keyOf(other)),
  );
}

type ModelTicket = Pick<
  Ticket,
  | "ticket_id"
  | "raw"
  | "source_key"
  | "exported_at"
  | "previous_source_key"
  | "previous_exported_at"
>;

interface Version extends ModelTicket {
  closedAt?: string | null | undefined;
}

/** Every version of each ticket, oldest first: the last line of the ticket in each file. */
function versionsOf(files: readonly ExportFile[]): Map<string, Version[]> {
  const versions = new Map<string, Version[]>();
  for (const file of inOrder(files)) {
    const last = new Map(file.rows.map(({ ticket, content }) => [ticket, contents[content]]));
    for (const [ticket_id, content] of last) {
      const earlier = versions.get(ticket_id) ?? [];
      const version: Version = {
        ticket_id,
        raw: { ticket_id, ...content?.raw },
        source_key: keyOf(file),
        exported_at: exportedAt(file),
        previous_source_key: earlier.at(-1)?.source_key ?? null,
        previous_exported_at: earlier.at(-1)?.exported_at ?? null,
        closedAt: content?.closedAt,
      };
      versions.set(ticket_id, [...earlier, version]);
    }
  }
  return versions;
}

function compareBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

/** The newest content, from the first version of those that say nothing else up to the newest. */
function expectedTickets(files: readonly ExportFile[]): ModelTicket[] {
  return [...versionsOf(files).values()]
    .map((versions) => {
      const newest = versions.at(-1);
      const lastOther = versions.findLastIndex(({ raw }) => !isDeepStrictEqual(raw, newest?.raw));
      return without(only(versions.slice(lastOther + 1, lastOther + 2)), "closedAt");
    })
    .sort((one, other) => compareBytes(one.ticket_id, other.ticket_id));
}

function expectedClosures(files: readonly ExportFile[]): string[] {
  const closures = [...versionsOf(files).values()]
    .flat()
    .filter(({ closedAt }) => closedAt !== undefined)
    .map(({ ticket_id, closedAt = null }) => closureName(ticket_id, closedAt));
  return [...new Set(closures)].sort();
}

/** What applying each file in turn counts. */
function expectedCounts(order: readonly ExportFile[]): FileCounts[] {
  return order.map((file, index) => {
    const earlier = order.slice(0, index);
    const known = versionsOf([...new Set(earlier)]);
    const said = [...versionsOf([file]).values()].flat();
    const outcomes = said.map((version) => {
      const newest = known.get(version.ticket_id)?.at(-1);
      if (newest === undefined) return "inserted";
      if (isNewer(newest, version)) return "stale";
      return isDeepStrictEqual(newest.raw, version.raw) ? "unchanged" : "updated";
    });
    const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
    return countsOf(keyOf(file), {
      staged: file.rows.length,
      duplicates: file.rows.length - said.length,
      stale: count("stale"),
      inserted: count("inserted"),
      updated: count("updated"),
      unchanged: count("unchanged"),
      closures: expectedClosures([...earlier, file]).length - expectedClosures(earlier).length,
    });
  });
}

function isNewer(one: Version, other: Version): boolean {
  if (one.exported_at !== other.exported_at) {
    return String(one.exported_at) > String(other.exported_at);
  }
  return compareBytes(String(one.source_key), String(other.source_key)) > 0;
}

function closureName(ticketId: string, closedAt: string | null): string {
  return `${ticketId} closed ${closedAt}`;
}

function modelled(tickets: readonly Ticket[]): ModelTicket[] {
  return tickets.map((ticket) => ({
    ticket_id: ticket.ticket_id,
    raw: ticket.raw,
    source_key: ticket.source_key,
    exported_at: ticket.exported_at,
    previous_source_key: ticket.previous_source_key,
    previous_exported_at: ticket.previous_exported_at,
  }));
}

/** What the tables say after some files, which are undone again. */
async function outcomeOf(client: ClientBase, files: readonly StagedFile[]) {
  await client.query("savepoint before");
  try {
    const counts = [];
    for (const file of files) counts.push(await applyFile(client, file));
    const closures = await closureRows(client);
    return {
      counts,
      tickets: await ticketRows(client),
      closures: closures.map((row) => closureName(row.ticket_id, row.closed_at)).sort(),
    };
  } finally {
    await client.query("rollback to before");
  }
}

test("files in any order, some of them again, end in the rows of the model", () =>
  database.rolledBack(async (client) => {
    await fc.assert(
      fc.asyncProperty(exportFiles.chain(replayed), async (order) => {
        const { tickets, closures, counts } = await outcomeOf(
          client,
          order.map((file) => staged(file)),
        );
        assert.deepEqual(modelled(tickets), expectedTickets([...new Set(order)]));
        assert.deepEqual(closures, expectedClosures(order));
        assert.deepEqual(counts, expectedCounts(order));
      }),
      { numRuns: 50 },
    );
  }));

test("any two orders of the same files end in the same whole rows and closures", () =>
  database.rolledBack(async (client) => {
    const orders = exportFiles.chain((files) => fc.tuple(replayed(files), replayed(files)));
    await fc.assert(
      fc.asyncProperty(orders, async ([one, other]) => {
        const ofOne = await outcomeOf(
          client,
          one.map((file) => staged(file)),
        );
        const ofOther = await outcomeOf(
          client,
          other.map((file) => staged(file)),
        );
        assert.deepEqual(without(ofOne, "counts"), without(ofOther, "counts"));
      }),
      { numRuns: 10 },
    );
  }));

test("a ticket's row does not depend on what other tickets its files carry", () =>
  database.rolledBack(async (client) => {
    await fc.assert(
      fc.asyncProperty(exportFiles.chain(replayed), async (order) => {
        const { tickets } = await outcomeOf(
          client,
          order.map((file) => staged(file)),
        );
        const alone = await outcomeOf(
          client,
          order.map((file) =>
            staged({ ...file, rows: file.rows.filter(({ ticket }) => ticket === "T1") }),
          ),
        );
        assert.deepEqual(
          tickets.filter((ticket) => ticket.ticket_id === "T1"),
          alone.tickets,
        );
      }),
      { numRuns: 8 },
    );
  }));

test("the datasets do not see each other's versions", () =>
  database.rolledBack(async (client) => {
    await fc.assert(
      fc.asyncProperty(exportFiles, exportFiles, async (ofInc, ofCrq) => {
        const inc = ofInc.map((file) => staged(file));
        const crq = ofCrq.map((file) => staged(file, { dataset: "crq" }));
        const mixed = crq.flatMap((file, index) => [file, ...inc.slice(index, index + 1)]);
        const together = await outcomeOf(client, [...mixed, ...inc.slice(crq.length)]);
        const [apart, other] = [await outcomeOf(client, crq), await outcomeOf(client, inc)];
        assert.deepEqual(together.tickets, [...apart.tickets, ...other.tickets]);
        assert.deepEqual(together.closures, [...apart.closures, ...other.closures].sort());
      }),
      { numRuns: 6 },
    );
  }));

test("whichever object is replaced, each ticket says what its newest file says now", () =>
  database.rolledBack(async (client) => {
    const cases = exportFiles.chain((files) =>
      fc.record({
        order: replayed(files),
        files: fc.constant(files),
        replaced: fc.constantFrom(...files),
        content: fc.nat(contents.length - 1),
      }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ({ order, files, replaced, content }) => {
        const replacement: ExportFile = {
          ...replaced,
          rows: replaced.rows.map(({ ticket }) => ({ ticket, content })),
        };
        const { tickets } = await outcomeOf(client, [
          ...order.map((file) => staged(file)),
          staged(replacement, { etag: "another" }),
        ]);
        const now = files.map((file) => (file === replaced ? replacement : file));
        assert.deepEqual(
          tickets.map(({ raw }) => raw),
          expectedTickets(now).map(({ raw }) => raw),
        );
      }),
      { numRuns: 20 },
    );
  }));

test("snapshots in their order end in the rows of the model", () =>
  database.rolledBack(async (client) => {
    await fc.assert(
      fc.asyncProperty(exportFiles, async (files) => {
        const { tickets, closures } = await outcomeOf(
          client,
          inOrder(files).map((file) => staged(file, { isSnapshot: true })),
        );
        assert.deepEqual(modelled(tickets), expectedTickets(files));
        assert.deepEqual(closures, expectedClosures(files));
      }),
      { numRuns: 12 },
    );
  }));

test("files with whatever columns, in their order, keep what a file does not carry", () =>
  database.rolledBack(async (client) => {
    const value = fc.constantFrom("", " ", "x", "y");
    const partialFile = fc.record({
      carries: fc.subarray(["owner", "cluster", "bucket", "mttr"]),
      extra: fc.subarray(["fibre core", "ONT", "geom"]),
      order: fc.integer(),
      values: fc.record({
        owner: value,
        cluster: value,
        bucket: value,
        mttr: value,
        "fibre core": value,
        ONT: value,
        geom: value,
      }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(partialFile, { minLength: 2, maxLength: 6 }), async (files) => {
        let raw: Row = {};
        const partials = files.map(({ carries, extra, order, values }, index): StagedFile => {
          const columns = [...carries, ...extra];
          const said = columns.filter((name) => values[name as keyof typeof values].trim() !== "");
          const kept = Object.entries(raw).filter(
            ([name]) => name in values && !columns.includes(name) && !isExtra(name),
          );
          raw = Object.fromEntries([
            ...kept,
            ...said.map((name) => [name, values[name as keyof typeof values]] as const),
          ]);
          const header = ["ticket_id", ...columns];
          return {
            key: changeKey(`2026-06-15T06-0${index}-00`),
            header: order % 2 === 0 ? header : header.reverse(),
            rows: [{ ticket_id: "T1", ...values }],
          };
        });
        const { tickets } = await outcomeOf(client, partials);
        assert.deepEqual(only(tickets).raw, { ticket_id: "T1", ...raw });
      }),
      { numRuns: 20 },
    );
  }));

function isExtra(name: string): boolean {
  return ["fibre core", "ONT", "geom"].includes(name);
}

// The same by example, and what the properties do not reach -----------------------------------------

const [first, second, third, fourth, fifth] = [0, 1, 2, 3, 4].map((n) =>
  changeKey(`2026-06-15T06-${n}0-00`),
) as [string, string, string, string, string];
const pending = { ticket_id: "T1", bucket: "pending", raw_status: "OPEN", owner: "Ann" };
const other = { ...pending, owner: "Bob" };
const closed = { ticket_id: "T1", bucket: "closed", closed_at: "2026-06-15 06:05:00" };

test("an older file never overwrites a newer one, it is counted stale", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: second, rows: [pending] });
    assert.deepEqual(
      await applyFile(client, { key: first, rows: [other] }),
      countsOf(first, { staged: 1, stale: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, pending);
    assert.equal(ticket.source_key, second);
  }));

test("a newer file that repeated a ticket unchanged holds off an older one that comes late", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    assert.deepEqual(
      await applyFile(client, { key: third, rows: [pending] }),
      countsOf(third, { staged: 1, unchanged: 1 }),
    );
    assert.equal((await ticketRow(client, "T1")).source_key, first);

    assert.deepEqual(
      await applyFile(client, { key: second, rows: [other] }),
      countsOf(second, { staged: 1, stale: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, pending);
    // It has changed there and back.
    assert.equal(ticket.source_key, third);
    assert.equal(ticket.previous_source_key, second);
  }));

test("an older file with the newest content is where that content began", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: third, rows: [pending] });
    await applyFile(client, { key: first, rows: [other] });
    assert.deepEqual(
      await applyFile(client, { key: second, rows: [pending] }),
      countsOf(second, { staged: 1, stale: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual([ticket.source_key, ticket.previous_source_key], [second, first]);
  }));

test("what a late file has cut off does not come back with another one", () =>
  database.rolledBack(async (client) => {
    for (const key of [first, second, fifth]) await applyFile(client, { key, rows: [pending] });
    await applyFile(client, { key: third, rows: [other] });
    await applyFile(client, { key: fourth, rows: [pending] });
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual([ticket.source_key, ticket.previous_source_key], [fourth, third]);
  }));

test("a late file shows a closure that a reopening has covered up", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: third, rows: [pending] });
    assert.deepEqual(
      await applyFile(client, { key: second, rows: [closed] }),
      countsOf(second, { staged: 1, stale: 1, closures: 1 }),
    );
    assert.deepEqual(await closureRows(client), [
      { dataset: "inc", ticket_id: "T1", closed_at: "2026-06-15T03:05:00+00:00" },
    ]);
    assert.deepEqual((await ticketRow(client, "T1"))["is_open"], true);
  }));

test("an unchanged repeat does not touch the ticket's row", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    const before = await ticketVersions(client);
    for (const key of [second, third, fourth]) await applyFile(client, { key, rows: [pending] });
    assert.deepEqual(await ticketVersions(client), before);
  }));

test("a snapshot of unchanged tickets writes nothing about them into the log of the server", async (t) => {
  const client = await (await createDatabase(t)).connect();
  try {
    await client.query("create extension if not exists pg_walinspect");
  } catch {
    t.skip("the extension pg_walinspect is not installed");
    return;
  }
  // The log can be read as far as it is flushed.
  await client.query("set synchronous_commit = on");
  const rows = Array.from({ length: 300 }, (_, n) => ({ ...pending, ticket_id: `T${n}` }));
  const beforeFirst = await logPosition(client);
  await applySnapshot(client, { key: first, rows });
  assert.notEqual((await loggedAboutTickets(client, beforeFirst)).length, 0);

  await client.query("vacuum tickets.inc");
  const before = await ticketVersions(client);
  const beforeSecond = await logPosition(client);
  assert.deepEqual(
    await applySnapshot(client, { key: second, rows }),
    countsOf(second, { staged: 300, unchanged: 300 }),
  );
  assert.deepEqual(await ticketVersions(client), before);
  assert.deepEqual(await loggedAboutTickets(client, beforeSecond), []);
});

async function applySnapshot(client: ClientBase, file: StagedFile) {
  await client.query("begin");
  const counts = await applyFile(client, { ...file, isSnapshot: true });
  await client.query("commit");
  return counts;
}

async function logPosition(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ at: string }>("select pg_current_wal_insert_lsn() as at");
  return only(rows).at;
}

/** What the server logged since then of the table of tickets, its indexes and its long values. */
async function loggedAboutTickets(client: ClientBase, since: string): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    `select w.record_type, w.block_ref
     from pg_get_wal_records_info($1, pg_current_wal_flush_lsn()) as w
     where exists (
       select from pg_class as c
       join pg_database as d on d.datname = current_database()
       where (
           c.oid = 'tickets.inc'::regclass
           or c.oid in (select indexrelid from pg_index where indrelid = 'tickets.inc'::regclass)
           or c.oid in (select reltoastrelid from pg_class where oid = 'tickets.inc'::regclass)
         )
         and w.block_ref ~ format('rel \\d+/%s/%s\\M', d.oid, pg_relation_filenode(c.oid))
     )`,
    [since],
  );
  return rows;
}

test("a file applied again changes nothing", () =>
  database.rolledBack(async (client) => {
    const files: StagedFile[] = [
      { key: first, rows: [pending, { ...pending, ticket_id: "T2" }] },
      { key: second, rows: [other, { ...closed, ticket_id: "T3" }] },
      { key: third, rows: [closed, { ...pending, ticket_id: "T2" }] },
    ];
    for (const file of files) await applyFile(client, file);
    const before = [await ticketVersions(client), await ticketRows(client), await history(client)];

    assert.deepEqual(
      [
        await applyFile(client, only(files.slice(0, 1))),
        await applyFile(client, only(files.slice(1, 2))),
        await applyFile(client, only(files.slice(2))),
      ],
      [
        countsOf(first, { staged: 2, stale: 2 }),
        countsOf(second, { staged: 2, stale: 1, unchanged: 1 }),
        countsOf(third, { staged: 2, unchanged: 2 }),
      ],
    );
    assert.deepEqual(
      [await ticketVersions(client), await ticketRows(client), await history(client)],
      before,
    );
  }));

async function history(client: ClientBase): Promise<unknown> {
  const { rows } = await client.query(
    `select (select json_agg(e order by e.closure_event_id) from tickets.closure_events as e) as c,
       (select json_agg(e order by e.status_event_id) from tickets.status_events as e) as s,
       (select json_agg(d order by d.cluster) from tickets.daily_snapshot as d) as d,
       (select json_agg(r order by r.ticket_id) from tickets.ticket_repeats as r) as r`,
  );
  return rows;
}

test("an object replaced under its key wins over what it said before", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    await applyFile(client, { key: second, etag: "1", rows: [other] });
    assert.deepEqual(
      await applyFile(client, { key: second, etag: "2", rows: [closed] }),
      countsOf(second, { staged: 1, updated: 1, closures: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, closed);
    assert.deepEqual([ticket.source_key, ticket.previous_source_key], [second, first]);
    const { rows } = await client.query(
      "select f.etag, f.updated from tickets.ingest_files as f where f.source_key = $1 order by f.etag",
      [second],
    );
    assert.deepEqual(rows, [
      { etag: "1", updated: 1 },
      { etag: "2", updated: 1 },
    ]);
  }));

test("an object replaced under its key replaces its repeat of a ticket, not those before", async () => {
  for (const repeated of [[second], [second, third], [second, third, fourth]]) {
    await database.rolledBack(async (client) => {
      const keys = [first, ...repeated];
      for (const key of keys) await applyFile(client, { key, etag: "1", rows: [pending] });
      const [previous, replaced = ""] = keys.slice(-2);
      await applyFile(client, { key: replaced, etag: "2", rows: [other] });
      const ticket = await ticketRow(client, "T1");
      assert.deepEqual(ticket.raw, other);
      assert.deepEqual([ticket.source_key, ticket.previous_source_key], [replaced, previous]);
    });
  }
});

test("an object replaced after newer ones were applied does not win over those", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, etag: "1", rows: [pending] });
    await applyFile(client, { key: second, rows: [other] });
    await applyFile(client, { key: first, etag: "2", rows: [closed] });
    assert.deepEqual((await ticketRow(client, "T1")).raw, other);
  }));

test("change files that come late around snapshots undo nothing newer", () =>
  database.rolledBack(async (client) => {
    const cases = exportFiles.chain((files) =>
      fc.record({
        files: fc.constant(files),
        isSnapshot: fc.array(fc.boolean(), { minLength: files.length, maxLength: files.length }),
        order: fc.shuffledSubarray([...files], { minLength: files.length }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ({ files, isSnapshot, order }) => {
        // Snapshots come in their order: of several that wait, only the newest is loaded.
        const snapshots = inOrder(files.filter((_, n) => isSnapshot[n]));
        const waiting = [...snapshots];
        const loaded = order.map((file) =>
          snapshots.includes(file)
            ? staged(waiting.shift() ?? file, { isSnapshot: true })
            : staged(file),
        );
        const { tickets } = await outcomeOf(client, loaded);
        assert.deepEqual(
          tickets.map(({ ticket_id, raw }) => [ticket_id, raw]),
          expectedTickets(files).map(({ ticket_id, raw }) => [ticket_id, raw]),
        );
      }),
      { numRuns: 40 },
    );
  }));

test("a snapshot's repeats hold off older files, too", () =>
  database.rolledBack(async (client) => {
    const snapshot = (minute: number): StagedFile => ({
      key: `automations/inc/2026-06-15T0${minute}-00-00.csv`,
      rows: [pending],
      isSnapshot: true,
    });
    for (const hour of [1, 3, 5]) await applyFile(client, snapshot(hour));
    assert.deepEqual(
      await applyFile(client, { key: changeKey("2026-06-15T04-00-00"), rows: [other] }),
      countsOf(changeKey("2026-06-15T04-00-00"), { staged: 1, stale: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, pending);
    assert.equal(ticket.source_key, "automations/inc/2026-06-15T05-00-00.csv");
  }));

test("a ticket that leaves the snapshots still holds off files older than its last one", () =>
  database.rolledBack(async (client) => {
    const hourly = (hour: number, rows: Row[]): StagedFile => ({
      key: `automations/inc/2026-06-15T0${hour}-00-00.csv`,
      rows,
      isSnapshot: true,
    });
    const others = { ...pending, ticket_id: "T2" };
    await applyFile(client, hourly(1, [pending, others]));
    await applyFile(client, hourly(3, [pending, others]));
    await applyFile(client, hourly(5, [others]));
    const late = changeKey("2026-06-15T02-00-00");
    assert.deepEqual(
      await applyFile(client, { key: late, rows: [other] }),
      countsOf(late, { staged: 1, stale: 1 }),
    );
    const later = changeKey("2026-06-15T04-00-00");
    assert.deepEqual(
      await applyFile(client, { key: later, rows: [other] }),
      countsOf(later, { staged: 1, updated: 1 }),
    );
  }));

test("a ticket that is absent from a newer snapshot stays", () =>
  database.rolledBack(async (client) => {
    const rows = [pending, { ...pending, ticket_id: "T2" }];
    await applyFile(client, { key: first, rows, isSnapshot: true });
    await applyFile(client, { key: second, rows: [pending], isSnapshot: true });
    assert.deepEqual(
      (await ticketRows(client)).map(({ ticket_id }) => ticket_id),
      ["T1", "T2"],
    );
  }));

test("columns that a file lacks keep their last value", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [{ ...pending, cluster: "QOA" }] });
    await applyFile(client, {
      key: second,
      header: ["bucket", "ticket_id"],
      rows: [{ ticket_id: "T1", bucket: "closed" }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ...pending,
      cluster: "QOA",
      bucket: "closed",
    });
    // A column that is there but blank is something else.
    await applyFile(client, {
      key: third,
      header: ["ticket_id", "cluster", "owner"],
      rows: [{ ticket_id: "T1", owner: " " }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ticket_id: "T1",
      raw_status: "OPEN",
      bucket: "closed",
    });
  }));

test("a whole file that repeats what a partial one left is unchanged, and the other way round", () =>
  database.rolledBack(async (client) => {
    const partial: Omit<StagedFile, "key"> = {
      header: ["ticket_id", "owner"],
      rows: [{ ticket_id: "T1", owner: "Ann" }],
    };
    await applyFile(client, { key: first, rows: [pending] });
    const before = await ticketVersions(client);
    for (const file of [
      { key: second, ...partial },
      { key: third, rows: [pending] },
      { key: fourth, ...partial },
    ]) {
      assert.deepEqual(
        await applyFile(client, file),
        countsOf(file.key, { staged: 1, unchanged: 1 }),
      );
    }
    assert.deepEqual(await ticketVersions(client), before);
  }));

test("columns that the contract does not know are kept, until a later file lacks them", () =>
  database.rolledBack(async (client) => {
    const header = ["fibre core", "ticket_id", "owner", "ONT; drop"];
    await applyFile(client, {
      key: first,
      header,
      rows: [{ ticket_id: "T1", owner: "Ann", "fibre core": " 7 ", "ONT; drop": "x" }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ticket_id: "T1",
      owner: "Ann",
      "fibre core": " 7 ",
      "ONT; drop": "x",
    });
    await applyFile(client, {
      key: second,
      header: header.slice(0, 3),
      rows: [{ ticket_id: "T1", owner: "Ann", "fibre core": "8" }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ticket_id: "T1",
      owner: "Ann",
      "fibre core": "8",
    });
    await applyFile(client, { key: third, rows: [{ ticket_id: "T1", owner: "Ann" }] });
    assert.deepEqual((await ticketRow(client, "T1")).raw, { ticket_id: "T1", owner: "Ann" });
  }));

test("a ticket deleted by hand is back with the next file that carries it, be it the same", async () => {
  for (const again of [
    { key: second, etag: "1" },
    { key: second, etag: "2" },
    { key: third, etag: "1" },
  ]) {
    await database.rolledBack(async (client) => {
      await applyFile(client, { key: first, rows: [pending] });
      await applyFile(client, { key: second, etag: "1", rows: [pending] });
      await client.query("delete from tickets.ticket");
      assert.deepEqual(
        await applyFile(client, { ...again, rows: [pending] }),
        countsOf(again.key, { staged: 1, inserted: 1 }),
      );
      const ticket = await ticketRow(client, "T1");
      assert.deepEqual(ticket.raw, pending);
      assert.deepEqual([ticket.source_key, ticket.previous_source_key], [again.key, null]);

      // What was known of the deleted one holds off nothing.
      await applyFile(client, { key: fourth, rows: [other] });
      assert.deepEqual((await ticketRow(client, "T1")).raw, other);
    });
  }
});

test("raw that was changed by hand is restored by a newer file with the content of before", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    await client.query(`update tickets.ticket set raw = raw || '{"owner": "by hand"}'`);
    assert.deepEqual(
      await applyFile(client, { key: second, rows: [pending] }),
      countsOf(second, { staged: 1, updated: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, pending);
    assert.equal(ticket["owner"], "Ann");
    assert.equal(ticket.source_key, second);
  }));

test("raw that was changed by hand is restored by applying its file again", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    await applyFile(client, { key: second, rows: [pending] });
    await client.query(`update tickets.ticket set raw = raw - 'owner'`);
    assert.deepEqual(
      await applyFile(client, { key: second, rows: [pending] }),
      countsOf(second, { staged: 1, updated: 1 }),
    );
    assert.deepEqual((await ticketRow(client, "T1")).raw, pending);
  }));

test("any file is newer than a ticket written by hand, which has no file", async () => {
  for (const byHand of [pending, other]) {
    await database.rolledBack(async (client) => {
      await client.query("insert into tickets.inc (ticket_id, raw) values ('T1', $1)", [byHand]);
      assert.deepEqual(
        await applyFile(client, { key: first, rows: [pending] }),
        countsOf(first, { staged: 1, updated: 1 }),
      );
      const ticket = await ticketRow(client, "T1");
      assert.deepEqual(ticket.raw, pending);
      assert.deepEqual([ticket.source_key, ticket.previous_source_key], [first, null]);
    });
  }
});

test("ingested_at is when the content was written, not when it was repeated or placed in time", () =>
  database.rolledBack(async (client) => {
    const ingestedAt = async () => {
      const { rows } = await client.query<{ ingested_at: Date }>(
        "select t.ingested_at from tickets.ticket as t",
      );
      return only(rows).ingested_at.toISOString();
    };
    await freezeTime(client, "2026-06-15T04:00:00Z");
    await applyFile(client, { key: second, rows: [pending] });
    assert.equal(await ingestedAt(), "2026-06-15T04:00:00.000Z");

    await freezeTime(client, "2026-06-15T05:00:00Z");
    await applyFile(client, { key: third, rows: [pending] });
    await applyFile(client, { key: first, rows: [pending] });
    assert.equal(await ingestedAt(), "2026-06-15T04:00:00.000Z");

    await applyFile(client, { key: fourth, rows: [other] });
    assert.equal(await ingestedAt(), "2026-06-15T05:00:00.000Z");
  }));
