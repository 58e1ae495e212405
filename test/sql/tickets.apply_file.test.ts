import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import type { ClientBase } from "pg";
import { contractColumns } from "../../src/samples.ts";
import { createDatabase } from "../harness/postgres.ts";
import {
  type Row,
  applyFile,
  changeKey,
  closureRows,
  countsOf,
  freezeTime,
  only,
  openFile,
  ownError,
  stageRows,
  ticketRow,
  ticketRows,
  without,
} from "./staging.ts";
import { anyText } from "./texts.ts";

const database = await createDatabase({ after });

const [first, second, third] = [0, 1, 2].map((n) => changeKey(`2026-06-15T06-${n}0-00`)) as [
  string,
  string,
  string,
];
const pending = { ticket_id: "T1", bucket: "pending", raw_status: "OPEN", owner: "Ann" };

function numbered(count: number): Row[] {
  return Array.from({ length: count }, (_, n) => ({ ticket_id: `T${n}` }));
}

interface RejectedRow {
  dataset: string;
  source_key: string;
  line: number;
  reason: string;
  raw: Row;
}

async function rejectedRows(client: ClientBase): Promise<RejectedRow[]> {
  const { rows } = await client.query<RejectedRow>(
    `select r.dataset, r.source_key, r.line::int, r.reason, r.raw
     from tickets.rejected_rows as r
     order by r.source_key, r.line`,
  );
  return rows;
}

async function stagedRows(client: ClientBase): Promise<number> {
  const { rows } = await client.query("select from tickets.staging");
  return rows.length;
}

// What a row becomes --------------------------------------------------------------------------------

test("a file brings a whole row a ticket, of its dataset and with its place in time", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-20-00", "crq");
    const raw = {
      ticket_id: "CRQ1",
      normalized_status: "open",
      raw_status: "ASSIGNED",
      bucket: "pending",
      is_actionable: "true",
      cluster: "QOA",
      region: "nairobi west",
      location_name: "NW_KILIMANI_FDT12 Argwings Kodhek Rd",
      assigned_team: "Team A",
      owner: "Ann",
      sla_status: "within",
      mttr: "12.5",
      created_at_service: "2026-06-15 05:00:00",
      scheduled_at: "2026-06-16T09:00",
      first_seen_at: "2026-06-15 05:20:00",
      last_seen_at: "2026-06-15 06:20:00",
      source_created_at: "2026-06-15",
      source_updated_at: "2026-06-15T03:00:00Z",
      latitude: "-1.2921",
      longitude: "36.8219",
      service_type: "fibre",
      is_alarm: "false",
      is_auto_created: "no",
      is_auto_closed: "0",
    };
    const dropped = ["week_start", "week_end", "source_s3_bucket", "source_s3_key"]
      .concat("source_snapshot_id", "department", "source_type")
      .map((column) => [column, "dropped"]);
    assert.deepEqual(
      await applyFile(client, {
        dataset: "crq",
        key,
        rows: [{ ...raw, ...(Object.fromEntries(dropped) as Row) }],
      }),
      countsOf(key, { dataset: "crq", staged: 1, inserted: 1 }),
    );
    const ticket = await ticketRow(client, "CRQ1");
    assert.deepEqual(without(ticket, "geom", "geog"), {
      ...without(raw, "service_type", "is_alarm", "is_auto_created", "is_auto_closed"),
      dataset: "crq",
      raw,
      is_actionable: true,
      is_open: true,
      mttr: 13,
      created_at_service: "2026-06-15T02:00:00+00:00",
      scheduled_at: "2026-06-16T06:00:00+00:00",
      closed_at: null,
      first_seen_at: "2026-06-15T02:20:00+00:00",
      last_seen_at: "2026-06-15T03:20:00+00:00",
      source_created_at: "2026-06-14T21:00:00+00:00",
      source_updated_at: "2026-06-15T03:00:00+00:00",
      latitude: -1.2921,
      longitude: 36.8219,
      geo_source: "feed",
      source_key: key,
      exported_at: "2026-06-15T03:20:00+00:00",
      previous_source_key: null,
      previous_exported_at: null,
    });
  }));

test("ticket_id, region and raw_status are trimmed; region is lower-cased, raw_status upper-cased", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, {
      key: first,
      rows: [{ ticket_id: "\t T1 \r\n", region: " Nairobi WEST ", raw_status: " in Progress " }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ticket_id: "T1",
      region: "nairobi west",
      raw_status: "IN PROGRESS",
    });
  }));

test("blank values are absent from raw, be they empty or spaces only", () =>
  database.rolledBack(async (client) => {
    const blanks = Object.fromEntries(
      contractColumns.map((column, n) => [column, ["", " ", "  \t", "\r\n"][n % 4] ?? ""]),
    );
    await applyFile(client, { key: first, rows: [{ ...blanks, ticket_id: "T1" }] });
    assert.deepEqual((await ticketRow(client, "T1")).raw, { ticket_id: "T1" });
  }));

test("everything else is kept to the letter", () =>
  database.rolledBack(async (client) => {
    const trimmed = ["ticket_id", "region", "raw_status", "is_alarm"];
    const columns = contractColumns.slice(0, 25).filter((column) => !trimmed.includes(column));
    const text = fc
      .oneof(
        anyText(40),
        fc.constantFrom(
          "'; drop table tickets.ticket; --",
          '"',
          "\\",
          "\\.",
          "\\N",
          "NULL",
          "null",
        ),
        fc.constantFrom("$$", "{}", "[]", "%s %I", "${x}", "\u{202e}abc", "A\u{300}", "ß", "İ"),
      )
      // Blank is what consists of these; other blanks are text.
      .filter((value) => value.replace(/[ \t\r\n]/g, "") !== "");
    const row = fc.record(Object.fromEntries(columns.map((column) => [column, text])));
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 5 }), async (rows) => {
        await client.query("savepoint before");
        const all = rows.map((each, n): Row => ({ ...each, ticket_id: `T${n}` }));
        await applyFile(client, { key: first, rows: all });
        assert.deepEqual(
          (await ticketRows(client)).map(({ raw }) => raw),
          all,
        );
        await client.query("rollback to before");
      }),
      { numRuns: 30 },
    );
  }));

test("hostile names, keys and values of ten thousand characters stay data", () =>
  database.rolledBack(async (client) => {
    const hostile = `é"'; drop schema tickets cascade; -- \\ %s $1 \u{1f980} `;
    const long = hostile.repeat(Math.ceil(10_000 / hostile.length));
    const key = `automations/inc/changes/'; drop table x; -- "é2026-06-15T06-20-00.csv`;
    const row = {
      ticket_id: hostile.trim(),
      cluster: long,
      assigned_team: long,
      owner: long,
      bucket: "closed",
      closed_at: long,
      mttr: long,
      [hostile]: long,
      [long.slice(0, 2000)]: "x",
    };
    const header = [...Object.keys(row), ...contractColumns.filter((name) => !(name in row))];
    for (const rows of [[row], [{ ...row, owner: `${long}!` }]]) {
      await applyFile(client, { key, header, rows });
    }
    const ticket = await ticketRow(client, hostile.trim());
    assert.deepEqual(ticket.raw, { ...row, owner: `${long}!` });
    assert.equal(ticket.source_key, key);
    const { rows } = await client.query(
      "select f.source_key, f.extra_columns from tickets.ingest_files as f",
    );
    assert.deepEqual(rows, [{ source_key: key, extra_columns: [hostile, long.slice(0, 2000)] }]);
  }));

test("a value that does not cast is kept in raw, its column is NULL, and it counts as a ticket", () =>
  database.rolledBack(async (client) => {
    const raw = { ticket_id: "T1", mttr: "n/a", closed_at: "2026-02-30", is_actionable: "maybe" };
    assert.deepEqual(
      await applyFile(client, { key: first, rows: [raw] }),
      countsOf(first, { staged: 1, inserted: 1 }),
    );
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(
      [ticket.raw, ticket["mttr"], ticket["closed_at"], ticket["is_actionable"]],
      [raw, null, null, null],
    );
  }));

// What is dropped, rejected, counted ----------------------------------------------------------------

test("each row of a file is in exactly one count", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: second, rows: [pending, { ...pending, ticket_id: "T2" }] });
    await applyFile(client, { key: third, rows: [{ ...pending, ticket_id: "T3" }] });
    const key = changeKey("2026-06-15T06-15-00");
    const rows = [
      pending, // unchanged
      { ...pending, ticket_id: "T2", owner: "Bob" }, // updated
      { ...pending, ticket_id: "T3" }, // stale
      { ...pending, ticket_id: "T4" }, // duplicate of the next
      { ticket_id: "T4", bucket: "closed", closed_at: "2026-06-15 06:10" }, // inserted, closed
      { ticket_id: "T5", is_alarm: "TRUE" }, // alarm
      { ticket_id: "EXPORT STOPPED at row 6" }, // sentinel
      ...numbered(20).map(({ ticket_id }) => ({ ticket_id: `N${ticket_id ?? ""}` })), // inserted
      { ticket_id: " " }, // rejected
    ];
    assert.deepEqual(
      await applyFile(client, { key, rows, droppedLines: 1 }),
      countsOf(key, {
        staged: 29,
        dropped_alarm: 1,
        dropped_sentinel: 2,
        rejected: 1,
        duplicates: 1,
        stale: 1,
        inserted: 21,
        updated: 1,
        unchanged: 1,
        closures: 1,
      }),
    );
  }));

test("rows that are alarms are dropped, in any case of true/t/1/yes", () =>
  database.rolledBack(async (client) => {
    const alarms = ["true", "TRUE", "True", "t", "T", "1", "yes", "YES", " Yes "];
    const others = ["false", "f", "0", "no", "", "maybe", "y"];
    assert.deepEqual(
      await applyFile(client, {
        key: first,
        rows: [...alarms, ...others].map((is_alarm, n) => ({ ticket_id: `T${n}`, is_alarm })),
      }),
      countsOf(first, { staged: 16, dropped_alarm: 9, inserted: 7 }),
    );
  }));

test("EXPORT STOPPED is dropped, and noted in the ledger, in whichever column it stands", async () => {
  const header = ["owner", "ticket_id", "bucket"];
  for (const [sentinel, droppedLines] of [
    [{ ticket_id: "EXPORT STOPPED: row limit reached" }, 0],
    [{ ticket_id: " export stopped" }, 0],
    [{ owner: "EXPORT STOPPED: row limit reached", ticket_id: "" }, 0],
    [{ owner: " EXPORT STOPPED", bucket: " " }, 0],
    [undefined, 1],
  ] as const) {
    await database.rolledBack(async (client) => {
      const rows = [{ ticket_id: "T1" }, ...(sentinel ? [sentinel] : []), { ticket_id: "T2" }];
      assert.deepEqual(
        await applyFile(client, { key: first, header, rows, droppedLines }),
        countsOf(first, { staged: 3, dropped_sentinel: 1, inserted: 2 }),
      );
      const { rows: ledger } = await client.query(
        "select f.export_stopped from tickets.ingest_files as f",
      );
      assert.deepEqual(ledger, [{ export_stopped: true }]);
    });
  }
});

test("a file that was not stopped says so, and a value that speaks of it stops nothing", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(
      await applyFile(client, {
        key: first,
        rows: [{ ticket_id: "T1", location_name: "EXPORT STOPPED" }, { ticket_id: "T2" }],
      }),
      countsOf(first, { staged: 2, inserted: 2 }),
    );
    const { rows } = await client.query("select f.export_stopped from tickets.ingest_files as f");
    assert.deepEqual(rows, [{ export_stopped: false }]);
  }));

test("the last line of a ticket wins, others are duplicates", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(
      await applyFile(client, {
        key: first,
        rows: ["Ann", "Bob", "Cid"].map((owner) => ({ ticket_id: "T1", owner })),
        // Whatever the order in which they were staged.
        lines: [40, 7, 12],
      }),
      countsOf(first, { staged: 3, duplicates: 2, inserted: 1 }),
    );
    assert.equal((await ticketRow(client, "T1"))["owner"], "Ann");
  }));

test("a row that is no ticket goes to rejected_rows: file, line, reason and the whole row", () =>
  database.rolledBack(async (client) => {
    const header = ["owner", "fibre core", "ticket_id", ...contractColumns.slice(25)];
    const longId = "é".repeat(1000) + "x";
    const rows: Row[] = [
      ...numbered(40),
      { ticket_id: "", owner: " O'Neil ", "fibre core": "7", week_start: "2026-06-15" },
      { ticket_id: " \t", owner: "" },
      Object.fromEntries(header.map((name) => [name, name])),
      { ticket_id: longId, owner: "Ann" },
      { ticket_id: longId.slice(1), owner: "Ann" },
    ];
    // Quoted newlines: a row may begin lines after the one before it.
    const lines = rows.map((_, index) => 2 + 3 * index);
    assert.deepEqual(
      await applyFile(client, { key: first, header, rows, lines }),
      countsOf(first, { staged: 45, rejected: 4, inserted: 41 }),
    );
    const found = await rejectedRows(client);
    assert.deepEqual(
      found.map((row) => without(row, "reason")),
      [
        {
          line: 122,
          raw: { owner: " O'Neil ", "fibre core": "7", week_start: "2026-06-15" },
        },
        // Blanks are no value, but where nothing else is there, they are the row.
        { line: 125, raw: {} },
        { line: 128, raw: rows[42] },
        { line: 131, raw: rows[43] },
      ].map((row) => ({ dataset: "inc", source_key: first, ...row })),
    );
    assert.equal(new Set(found.map(({ reason }) => reason)).size, 3);
    assert.ok(found.every(({ reason }) => reason.length > 0));
  }));

test("a file applied again states its rejected rows once", () =>
  database.rolledBack(async (client) => {
    const file = { key: first, rows: [...numbered(9), { ticket_id: "", owner: "Ann" }] };
    await applyFile(client, file);
    const before = await rejectedRows(client);
    await applyFile(client, { ...file, etag: "other" });
    assert.deepEqual(await rejectedRows(client), before);
    assert.equal(before.length, 1);
  }));

test("a header alone is a file of zero rows", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await applyFile(client, { key: first, rows: [] }), countsOf(first, {}));
  }));

// Files that are refused ----------------------------------------------------------------------------

test("a tenth of the rows may be rejected, more is TK021", async () => {
  const rows = (tickets: number, rejected: number): Row[] => [
    ...numbered(tickets),
    ...Array.from({ length: rejected }, () => ({ ticket_id: "" })),
  ];
  for (const [tickets, rejected] of [
    [9, 1],
    [90, 10],
    [19, 2],
  ] as const) {
    await database.rolledBack(async (client) => {
      assert.equal(
        (await applyFile(client, { key: first, rows: rows(tickets, rejected) })).rejected,
        rejected,
      );
    });
  }
  for (const [tickets, rejected] of [
    [8, 1],
    [89, 10],
    [0, 1],
    [17, 2],
  ] as const) {
    await database.rolledBack((client) =>
      assert.rejects(
        applyFile(client, { key: first, rows: rows(tickets, rejected) }),
        ownError("TK021"),
      ),
    );
  }
});

test("the share of rejected rows that a file may have is the dataset's to say", async () => {
  for (const [share, rejected] of [
    [0.5, 5],
    [0, 0],
    [1, 10],
  ] as const) {
    await database.rolledBack(async (client) => {
      await client.query(
        "update tickets.datasets set max_rejected_share = $1 where dataset = 'inc'",
        [share],
      );
      const rows = numbered(10).map((row, n) => (n < rejected ? { ticket_id: "" } : row));
      assert.equal((await applyFile(client, { key: first, rows })).rejected, rejected);
      if (rejected === 10) return;
      const oneMore = numbered(10).map((row, n) => (n <= rejected ? { ticket_id: "" } : row));
      await assert.rejects(applyFile(client, { key: second, rows: oneMore }), ownError("TK021"));
    });
  }
});

test("a line break within a ticket_id refuses the file with TK022, be it one row of many", () =>
  database.rolledBack((client) =>
    assert.rejects(
      applyFile(client, {
        key: first,
        rows: [...numbered(100), { ticket_id: "T1\nT2" }, { ticket_id: "" }],
      }),
      ownError("TK022"),
    ),
  ));

test("another number of rows in staging than was sent refuses the file with TK020", async () => {
  for (const rowsSent of [0, 2, 4]) {
    await database.rolledBack((client) =>
      assert.rejects(
        applyFile(client, { key: first, rows: numbered(3), rowsSent }),
        ownError("TK020"),
      ),
    );
  }
});

test("a header that cannot be loaded is refused before a row is copied", async () => {
  const extra = (count: number) => Array.from({ length: count }, (_, n) => `new ${n}`);
  for (const [header, code] of [
    [["owner", "bucket"], "TK010"],
    [["TICKET_ID"], "TK010"],
    [["ticket_id "], "TK010"],
    [[], "TK010"],
    [["ticket_id", "owner", "owner"], "TK011"],
    [["ticket_id", "x", "owner", "x"], "TK011"],
    [["ticket_id", "ticket_id"], "TK011"],
    [["ticket_id", "", "owner"], "TK012"],
    [["ticket_id", "", ""], "TK012"],
    [["ticket_id", ...extra(33)], "TK013"],
  ] as const) {
    await database.rolledBack((client) =>
      assert.rejects(openFile(client, { key: first, header }), ownError(code)),
    );
  }
});

test("a header may have as many unknown columns as there is room for", () =>
  database.rolledBack(async (client) => {
    const extra = Array.from({ length: 32 }, (_, n) => `new ${n}`);
    const row = Object.fromEntries(extra.map((name) => [name, `${name}!`]));
    await applyFile(client, {
      key: first,
      header: [...extra, "ticket_id"],
      rows: [{ ticket_id: "T1", ...row }],
    });
    assert.deepEqual((await ticketRow(client, "T1")).raw, { ticket_id: "T1", ...row });
  }));

test("unknown columns may have the names of anything that is here already", () =>
  database.rolledBack(async (client) => {
    const row = {
      dataset: "crq",
      source_key: "mine",
      line: "7",
      extra_1: "one",
      extra_32: "two",
      geom: "POINT(1 2)",
      raw: "{}",
      is_open: "no",
    };
    await applyFile(client, {
      key: first,
      header: ["ticket_id", ...Object.keys(row)],
      rows: [{ ticket_id: "T1", ...row }],
    });
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(ticket.raw, { ticket_id: "T1", ...row });
    assert.deepEqual(
      [ticket.dataset, ticket.source_key, ticket["geom"], ticket["is_open"]],
      ["inc", first, null, true],
    );
  }));

test("the columns of a file go where their names say, in whatever order they come", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(
      await openFile(client, { key: first, header: ["owner", "ONT", "ticket_id", "fibre core"] }),
      {
        staging_table: "tickets.inc_staging",
        copy_columns: ["owner", "extra_1", "ticket_id", "extra_2"],
        extra_columns: ["ONT", "fibre core"],
        missing_columns: contractColumns.filter((name) => !["owner", "ticket_id"].includes(name)),
      },
    );
    const reversed = contractColumns.toReversed();
    assert.deepEqual(await openFile(client, { dataset: "crq", key: first, header: reversed }), {
      staging_table: "tickets.crq_staging",
      copy_columns: reversed,
      extra_columns: [],
      missing_columns: [],
    });
    await applyFile(client, { key: first, header: reversed, rows: [pending] });
    assert.deepEqual((await ticketRow(client, "T1")).raw, pending);
  }));

test("nothing of a refused file is applied, and the next one is none the worse for it", () =>
  database.rolledBack(async (client) => {
    await client.query("savepoint file");
    await assert.rejects(
      applyFile(client, { key: first, rows: [...numbered(5), { ticket_id: "" }] }),
      { code: "TK021" },
    );
    await client.query("rollback to savepoint file");
    const tables = ["ticket", "ingest_files", "rejected_rows", "daily_snapshot", "staging"];
    for (const table of tables) {
      assert.equal((await client.query(`select from tickets.${table}`)).rowCount, 0, table);
    }
    assert.deepEqual(
      await applyFile(client, { key: second, rows: [pending] }),
      countsOf(second, { staged: 1, inserted: 1 }),
    );
  }));

test("what is no dataset is TK001", () =>
  database.rolledBack(async (client) => {
    const { rows } = await client.query<{ apply: string; open: string }>(
      `select $$select tickets.apply_file('nope', 'k', 'e', 1, '{ticket_id}', 0)$$ as apply,
         $$select * from tickets.open_file('nope', 'k', '{ticket_id}')$$ as open`,
    );
    for (const statement of Object.values(only(rows))) {
      await client.query("savepoint before");
      await assert.rejects(client.query(statement), ownError("TK001"));
      await client.query("rollback to before");
    }
  }));

test("a file cannot be opened or applied while another run loads its dataset: TK002", async (t) => {
  const [one, other] = [await database.connect(), await database.connect()];
  t.after(() => one.query("rollback"));
  await one.query("begin");
  await openFile(one, { key: first });
  for (const statement of [
    "select * from tickets.open_file('inc', 'k', '{ticket_id}')",
    "select tickets.apply_file('inc', 'k', 'e', 1, '{ticket_id}', 0)",
  ]) {
    await assert.rejects(other.query(statement), ownError("TK002"));
  }
  // The other dataset has a lock of its own, and so has the end of the transaction.
  await other.query("select * from tickets.open_file('crq', 'k', '{ticket_id}')");
  await one.query("rollback");
  await other.query("select * from tickets.open_file('inc', 'k', '{ticket_id}')");
});

// Ledger and watermark ------------------------------------------------------------------------------

test("the ledger has a row a file and ETag, with all that is known of it", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T09:30:00+03:00");
    await applyFile(client, {
      key: first,
      etag: "1",
      bytes: 5_000_000_000,
      header: ["ONT", "ticket_id", "fibre core", ...contractColumns.slice(3)],
      rows: [{ ticket_id: "T1" }],
    });
    await applyFile(client, { key: first, etag: "2", rows: [pending] });
    await applyFile(client, { key: first, etag: "2", rows: [pending] });
    const { rows } = await client.query<{ file: unknown }>(
      "select to_jsonb(f) as file from tickets.ingest_files as f order by f.etag",
    );
    const zero = Object.fromEntries(Object.entries(countsOf(first, {})));
    const always = {
      ...zero,
      exported_at: "2026-06-15T03:00:00+00:00",
      status: "applied",
      staged: 1,
      error_code: null,
      error: null,
      error_line: null,
      export_stopped: false,
      seen_at: "2026-06-15T06:30:00+00:00",
      applied_at: "2026-06-15T06:30:00+00:00",
      archived_at: null,
      is_replaced: false,
      earlier_loads: [],
    };
    assert.deepEqual(
      rows.map(({ file }) => file),
      [
        {
          ...always,
          etag: "1",
          bytes: 5_000_000_000,
          inserted: 1,
          is_replaced: true,
          extra_columns: ["ONT", "fibre core"],
          missing_columns: ["normalized_status", "raw_status"],
        },
        {
          ...always,
          etag: "2",
          bytes: 1000,
          unchanged: 1,
          extra_columns: [],
          missing_columns: [],
          earlier_loads: [{ ...earlierLoad, staged: 1, updated: 1 }],
        },
      ],
    );
  }));

const earlierLoad = {
  applied_at: "2026-06-15T09:30:00+03:00",
  staged: 0,
  dropped_alarm: 0,
  dropped_sentinel: 0,
  rejected: 0,
  duplicates: 0,
  stale: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  closures: 0,
};

test("the ledger keeps what each load of a file counted, and takes no refusal for a load", () =>
  database.rolledBack(async (client) => {
    const refuse = () =>
      client.query("select tickets.refuse_file('inc', $1, 'etag', 10, 'TK021', 'bad', 7)", [first]);
    const rows = [pending, { ...pending, ticket_id: "T2" }, { ...pending, ticket_id: "T2" }];
    const found: unknown[] = [];
    for (const [at, load] of [
      ["2026-06-15T09:30:00+03:00", refuse],
      ["2026-06-15T09:31:00+03:00", () => applyFile(client, { key: first, rows })],
      ["2026-06-15T09:32:00+03:00", refuse],
      ["2026-06-15T09:33:00+03:00", () => applyFile(client, { key: first, rows })],
      ["2026-06-15T09:34:00+03:00", () => applyFile(client, { key: first, rows })],
    ] as const) {
      await freezeTime(client, at);
      await load();
      const ledger = await client.query<{ earlier_loads: unknown }>(
        "select h.inserted, h.unchanged, h.earlier_loads from tickets.load_history as h",
      );
      found.push(only(ledger.rows));
    }
    const one = {
      ...earlierLoad,
      ...{ applied_at: "2026-06-15T09:31:00+03:00", staged: 3, duplicates: 1, inserted: 2 },
    };
    const other = {
      ...earlierLoad,
      ...{ applied_at: "2026-06-15T09:33:00+03:00", staged: 3, duplicates: 1, unchanged: 2 },
    };
    assert.deepEqual(found, [
      { inserted: 0, unchanged: 0, earlier_loads: [] },
      { inserted: 2, unchanged: 0, earlier_loads: [] },
      { inserted: 2, unchanged: 0, earlier_loads: [] },
      { inserted: 0, unchanged: 2, earlier_loads: [one] },
      { inserted: 0, unchanged: 2, earlier_loads: [one, other] },
    ]);
  }));

test("a file that was refused is applied once it is mended, and the ledger forgets the reason", () =>
  database.rolledBack(async (client) => {
    await client.query("select tickets.refuse_file('inc', $1, 'etag', 10, 'TK021', 'bad', 7)", [
      first,
    ]);
    await applyFile(client, { key: first, rows: [pending] });
    const { rows } = await client.query(
      `select f.status, f.error_code, f.error, f.error_line, f.bytes::int
       from tickets.ingest_files as f`,
    );
    assert.deepEqual(rows, [
      { status: "applied", error_code: null, error: null, error_line: null, bytes: 1000 },
    ]);
  }));

async function importState(client: ClientBase): Promise<unknown> {
  const { rows } = await client.query<{ state: unknown }>(
    "select tickets.import_state('inc') as state",
  );
  return only(rows).state;
}

test("the watermark is the newest file applied, whatever the order", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await importState(client), {});
    for (const [key, expected] of [
      [second, second],
      [first, second],
      [third, third],
      [second, third],
    ]) {
      await applyFile(client, { key: key ?? "", rows: [pending] });
      assert.deepEqual(await importState(client), { source_max_key: expected });
    }
    // By time, and only then by name.
    const snapshot = "automations/inc/2026-06-15T06-30-00.csv";
    await applyFile(client, { key: snapshot, rows: [pending] });
    assert.deepEqual(await importState(client), { source_max_key: snapshot });
  }));

test("a snapshot leaves its ETag, a change file does not", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, etag: "a", rows: [pending], isSnapshot: true });
    await applyFile(client, { key: second, etag: "b", rows: [pending] });
    assert.deepEqual(await importState(client), { source_max_key: second, source_etag: "a" });
    await applyFile(client, { key: third, etag: "c", rows: [], isSnapshot: true });
    assert.deepEqual(await importState(client), { source_max_key: third, source_etag: "c" });
  }));

test("a local file, whose key begins manual:, never moves the watermark", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [pending] });
    await applyFile(client, { key: "manual:2027-01-01T00-00-00.csv", rows: [pending] });
    assert.deepEqual(await importState(client), { source_max_key: first });
    const { rows } = await client.query("select tickets.import_state('crq') as state");
    assert.deepEqual(rows, [{ state: {} }]);
  }));

test("a key without a time in it is a file of now", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await applyFile(client, { key: "manual:mend.csv", rows: [pending] });
    assert.equal((await ticketRow(client, "T1")).exported_at, "2026-06-15T06:30:00+00:00");
  }));

test("staging is empty afterwards, but for what others have staged", async (t) => {
  await database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: numbered(3) });
    assert.equal(await stagedRows(client), 0);

    await client.query("insert into tickets.inc_staging (ticket_id) values ('by hand')");
    await stageRows(
      client,
      await openFile(client, { dataset: "crq", key: first, header: ["ticket_id"] }),
      { key: first, header: ["ticket_id"], rows: numbered(2) },
    );
    await applyFile(client, { key: second, rows: numbered(3) });
    assert.equal(await stagedRows(client), 3);
  });

  // A session amid its own \copy neither waits for the loader nor makes it wait.
  const [byHand, loader] = [await database.connect(), await database.connect()];
  t.after(async () => {
    await loader.query("rollback");
    await byHand.query("rollback");
  });
  await byHand.query("begin");
  await byHand.query("insert into tickets.inc_staging (ticket_id) values ('by hand')");
  await loader.query("begin; set local lock_timeout = '2s'");
  await applyFile(loader, { key: first, rows: numbered(3) });
  assert.equal(await stagedRows(loader), 0);
  assert.equal(await stagedRows(byHand), 1);
});

// History -------------------------------------------------------------------------------------------

test("each closure is recorded once, with what the ticket said then", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    const closed = {
      ticket_id: "T1",
      bucket: "closed",
      closed_at: "2026-06-15 06:05:00",
      mttr: "64.5",
      cluster: "QOA",
      assigned_team: "Team A",
      owner: "Ann",
    };
    assert.equal((await applyFile(client, { key: first, rows: [closed] })).closures, 1);
    // The same closure, though its ticket says something else.
    const renamed = { ...closed, owner: "Bob" };
    assert.equal((await applyFile(client, { key: second, rows: [renamed] })).closures, 0);
    const { rows } = await client.query<{ event: unknown }>(
      "select to_jsonb(e) - 'closure_event_id' as event from tickets.closure_events as e",
    );
    assert.deepEqual(
      rows.map(({ event }) => event),
      [
        {
          dataset: "inc",
          ticket_id: "T1",
          closed_at: "2026-06-15T03:05:00+00:00",
          mttr: 65,
          cluster: "QOA",
          team: "Team A",
          owner: "Ann",
          observed_at: "2026-06-15T06:30:00+00:00",
          source_key: first,
        },
      ],
    );
  }));

test("a ticket that is reopened and closed again has a closure for each time", () =>
  database.rolledBack(async (client) => {
    const closed = { ticket_id: "T1", bucket: "closed", closed_at: "2026-06-15 06:05:00" };
    await applyFile(client, { key: first, rows: [closed] });
    await applyFile(client, { key: second, rows: [pending] });
    await applyFile(client, { key: third, rows: [{ ...closed, closed_at: "2026-06-15 06:25" }] });
    assert.deepEqual(
      await closureRows(client),
      ["2026-06-15T03:05:00+00:00", "2026-06-15T03:25:00+00:00"].map((closed_at) => ({
        dataset: "inc",
        ticket_id: "T1",
        closed_at,
      })),
    );
  }));

test("a closure without a time is recorded once, too", () =>
  database.rolledBack(async (client) => {
    const closed = { ticket_id: "T1", bucket: "closed", closed_at: "soon" };
    await applyFile(client, { key: first, rows: [closed] });
    await applyFile(client, { key: second, rows: [pending] });
    assert.equal((await applyFile(client, { key: third, rows: [closed] })).closures, 0);
    assert.deepEqual(await closureRows(client), [
      { dataset: "inc", ticket_id: "T1", closed_at: null },
    ]);
  }));

test("each change of open/closed, status, team or owner is recorded from and to", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    const contents: Row[] = [
      { bucket: "pending", raw_status: "open", assigned_team: "A", owner: "Ann" },
      { bucket: "closed", raw_status: "Open", assigned_team: "A", owner: "Ann" },
      // Nothing of it is what is recorded.
      { bucket: "closed", raw_status: "OPEN", assigned_team: "A", owner: "Ann", cluster: "QOA" },
      // Reopened.
      { bucket: "pending", raw_status: "REOPENED", assigned_team: "B" },
      // The export has come to another view of the same status.
      { bucket: "pending", raw_status: "REOPENED", assigned_team: "B", normalized_status: "open" },
    ];
    for (const [n, content] of contents.entries()) {
      await applyFile(client, {
        key: changeKey(`2026-06-15T06-0${n}-00`),
        rows: [{ ticket_id: "T1", ...content }],
      });
    }
    const { rows } = await client.query<{ event: unknown }>(
      `select to_jsonb(e) - 'status_event_id' as event
       from tickets.status_events as e order by e.status_event_id`,
    );
    const always = {
      dataset: "inc",
      ticket_id: "T1",
      from_normalized_status: null,
      to_normalized_status: null,
      from_status: "OPEN",
      from_team: "A",
      from_owner: "Ann",
      observed_at: "2026-06-15T06:30:00+00:00",
    };
    assert.deepEqual(
      rows.map(({ event }) => event),
      [
        {
          ...always,
          from_open: true,
          to_open: false,
          to_status: "OPEN",
          to_team: "A",
          to_owner: "Ann",
          exported_at: "2026-06-15T03:01:00+00:00",
          source_key: changeKey("2026-06-15T06-01-00"),
        },
        {
          ...always,
          from_open: false,
          to_open: true,
          to_status: "REOPENED",
          to_team: "B",
          to_owner: null,
          exported_at: "2026-06-15T03:03:00+00:00",
          source_key: changeKey("2026-06-15T06-03-00"),
        },
        {
          ...always,
          from_open: true,
          to_open: true,
          to_normalized_status: "open",
          from_status: "REOPENED",
          to_status: "REOPENED",
          from_team: "B",
          to_team: "B",
          from_owner: null,
          to_owner: null,
          exported_at: "2026-06-15T03:04:00+00:00",
          source_key: changeKey("2026-06-15T06-04-00"),
        },
      ],
    );
  }));

test("neither a new ticket nor a file that comes late is a change of status", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: second, rows: [pending] });
    await applyFile(client, { key: first, rows: [{ ...pending, owner: "Bob" }] });
    await applyFile(client, { key: third, rows: [pending] });
    assert.equal((await client.query("select from tickets.status_events")).rowCount, 0);
  }));

test("files applied again, in whatever order, are no further changes of status", () =>
  database.rolledBack(async (client) => {
    const files = [first, second, third].map((key, n) => ({
      key,
      rows: [{ ticket_id: "T1", bucket: n === 1 ? "closed" : "pending", owner: `owner ${n}` }],
    }));
    const changes = async () => (await client.query("select from tickets.status_events")).rowCount;
    for (const file of files) await applyFile(client, file);
    assert.equal(await changes(), 2);
    for (const file of [...files, ...files.toReversed()]) await applyFile(client, file);
    assert.equal(await changes(), 2);
  }));

test("today's snapshot is right after each file", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T20:59:00Z");
    const backlog = async () => {
      const { rows } = await client.query(
        `select to_jsonb(d.day) as day, d.cluster, d.open, d.actionable, d.breached, d.created,
           d.closed
         from tickets.inc_daily_snapshot as d order by d.day, d.cluster`,
      );
      return rows as unknown[];
    };
    const row = (id: string, more: Row = {}) => ({ ticket_id: id, cluster: "QOA", ...more });
    await applyFile(client, {
      key: first,
      rows: [
        row("T1", { is_actionable: "yes", created_at_service: "2026-06-15 00:00:00" }),
        row("T2", { created_at_service: "2026-06-14 23:59:59" }),
        // Breached after 48 hours; first_seen_at stands in for created_at_service.
        row("T3", { is_actionable: "no", first_seen_at: "2026-06-13 23:58:59" }),
        row("T4", { created_at_service: "2026-06-13 23:59:00" }),
        row("T5", { closed_at: "2026-06-15 12:00:00", created_at_service: "2026-06-01" }),
        row("T6", { closed_at: "2026-06-14 12:00:00", created_at_service: "2026-06-15 01:00" }),
        { ticket_id: "T7" },
      ],
    });
    const day = "2026-06-15";
    const today = {
      day,
      cluster: "QOA",
      open: 4,
      actionable: 1,
      breached: 1,
      created: 2,
      closed: 1,
    };
    const elsewhere = { ...today, cluster: null, open: 1, actionable: 0, breached: 0 };
    assert.deepEqual(await backlog(), [today, { ...elsewhere, created: 0, closed: 0 }]);

    // A minute later it is the next day in Nairobi.
    await freezeTime(client, "2026-06-15T21:00:00Z");
    await applyFile(client, { key: second, rows: [row("T7", { is_actionable: "1" })] });
    assert.deepEqual(await backlog(), [
      today,
      { ...elsewhere, created: 0, closed: 0 },
      {
        day: "2026-06-16",
        cluster: "QOA",
        open: 5,
        actionable: 2,
        breached: 2,
        created: 0,
        closed: 0,
      },
    ]);
  }));
