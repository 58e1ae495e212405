import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, countsOf, freezeTime, only, ownError } from "./staging.ts";

const database = await createDatabase({ after });

const key = changeKey("2026-06-15T06-20-00");

async function refuseFile(
  client: ClientBase,
  { dataset = "inc", etag = "1", bytes = 10, code = "TK107", error = "why", line = 7 } = {},
): Promise<void> {
  await client.query(
    `select tickets.refuse_file(
       p_dataset => $1, p_source_key => $2, p_etag => $3, p_bytes => $4,
       p_error_code => $5, p_error => $6, p_error_line => $7
     )`,
    [dataset, key, etag, bytes, code, error, line],
  );
}

async function ledger(client: ClientBase): Promise<unknown[]> {
  const { rows } = await client.query<{ file: unknown }>(
    "select to_jsonb(f) as file from tickets.ingest_files as f order by f.etag",
  );
  return rows.map(({ file }) => file);
}

const refused = {
  ...countsOf(key, {}),
  etag: "1",
  bytes: 10,
  exported_at: "2026-06-15T03:20:00+00:00",
  status: "rejected",
  error_code: "TK107",
  error: "why",
  error_line: 7,
  extra_columns: [],
  missing_columns: [],
  export_stopped: false,
  seen_at: "2026-06-15T06:30:00+00:00",
  applied_at: null,
  archived_at: null,
  is_replaced: false,
  earlier_loads: [],
};

test("a refused file is in the ledger with its reason and line", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await refuseFile(client);
    assert.deepEqual(await ledger(client), [refused]);
  }));

test("the line may be unknown", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await client.query("select tickets.refuse_file('inc', $1, '1', 10, 'TK107', 'why')", [key]);
    assert.deepEqual(await ledger(client), [{ ...refused, error_line: null }]);
  }));

test("a file that is refused again has the newest reason; another ETag is another file", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await refuseFile(client);
    await refuseFile(client, { etag: "2", bytes: 11 });
    await freezeTime(client, "2026-06-15T07:30:00Z");
    await refuseFile(client, { code: "TK021", error: "another", line: 9 });
    assert.deepEqual(await ledger(client), [
      { ...refused, error_code: "TK021", error: "another", error_line: 9 },
      { ...refused, etag: "2", bytes: 11 },
    ]);
  }));

test("an applied file stays applied, whatever a second reading of it meets", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key, etag: "1", rows: [{ ticket_id: "T1" }] });
    const before = await ledger(client);
    await refuseFile(client);
    assert.deepEqual(await ledger(client), before);
  }));

test("a refused file has no tickets and moves no watermark", () =>
  database.rolledBack(async (client) => {
    await refuseFile(client);
    assert.equal((await client.query("select from tickets.ticket")).rowCount, 0);
    const { rows } = await client.query("select tickets.import_state('inc') as state");
    assert.deepEqual(rows, [{ state: {} }]);
  }));

test("the answer is what a person does about it, which names the object", () =>
  database.rolledBack(async (client) => {
    const adviceOn = async (name: string) => {
      const { rows } = await client.query<{ advice: string }>(
        "select tickets.refuse_file('inc', $1, '1', 10, 'TK107', 'why') as advice",
        [name],
      );
      return only(rows).advice;
    };
    assert.ok((await adviceOn(key)).includes(`fleettickets retry '${key}' --apply`));
    // What is not in the bucket cannot be tried again from there.
    assert.ok(!(await adviceOn("manual:f.csv")).includes("retry"));
  }));

test("hostile reasons and keys stay data", () =>
  database.rolledBack(async (client) => {
    const error = `é"'; drop table tickets.ticket; -- %s \\ \u{1f980}`.repeat(300);
    await refuseFile(client, { etag: error.slice(0, 300), error, code: error });
    const { rows } = await client.query(
      "select f.etag, f.error, f.error_code from tickets.ingest_files as f",
    );
    assert.deepEqual(rows, [{ etag: error.slice(0, 300), error, error_code: error }]);
  }));

test("what is no dataset is TK001, one that another session is loading TK002", async (t) => {
  await database.rolledBack((client) =>
    assert.rejects(refuseFile(client, { dataset: "nope" }), ownError("TK001")),
  );
  const loader = await database.connect();
  t.after(() => loader.query("select tickets.finish_run('inc')"));
  await loader.query("select tickets.start_run('inc')");
  await database.rolledBack((client) => assert.rejects(refuseFile(client), ownError("TK002")));
});
