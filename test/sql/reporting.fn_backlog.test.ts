import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, freezeTime, ownError } from "./staging.ts";

const database = await createDatabase({ after });

interface Range {
  dataset?: string | null;
  from: string | null;
  to: string | null;
  cluster?: string;
}

/** The days as numbers in the order of the columns. */
async function backlog(
  client: ClientBase,
  { dataset = "inc", from, to, cluster }: Range,
): Promise<unknown[]> {
  const { rows } = await client.query<{ row: unknown }>(
    `select json_build_array(b.day, b.open, b.actionable, b.breached, b.created, b.closed) as row
     from reporting.fn_backlog(
       p_dataset => $1::text, p_from => $2::date, p_to => $3::date, p_cluster => $4::text
     ) as b`,
    [dataset, from, to, cluster ?? null],
  );
  return rows.map(({ row }) => row);
}

/** Writes the history of three days in June, one of them without a run; INC's target is 48 hours. */
async function loadDays(client: ClientBase): Promise<void> {
  // 23:30 in Nairobi, on the 14th.
  await freezeTime(client, "2026-06-14T20:30:00Z");
  const opened = { bucket: "pending", is_actionable: "true" };
  await applyFile(client, {
    key: changeKey("2026-06-14T23-20-00"),
    rows: [
      { ...opened, ticket_id: "T1", cluster: "QOA", created_at_service: "2026-06-14 00:00:00" },
      { ...opened, ticket_id: "T2", cluster: "QOA", created_at_service: "2026-06-12 23:29:59" },
      { ...opened, ticket_id: "T3", cluster: "PTMP", first_seen_at: "2026-06-13 23:59:59" },
      { bucket: "pending", ticket_id: "T4", is_actionable: "false" },
    ],
  });
  // 00:00 in Nairobi, on the 16th: T1 and T2 have grown old.
  await freezeTime(client, "2026-06-15T21:00:00Z");
  await applyFile(client, {
    key: changeKey("2026-06-15T23-40-00"),
    rows: [
      { ticket_id: "T3", cluster: "PTMP", bucket: "closed", closed_at: "2026-06-16 00:00:00" },
      { ticket_id: "T4", bucket: "closed", closed_at: "2026-06-15 23:59:59" },
    ],
  });
}

test("a row a day, summed over the clusters, and NULL for a day on which nobody looked", () =>
  database.rolledBack(async (client) => {
    await loadDays(client);
    assert.deepEqual(await backlog(client, { from: "2026-06-13", to: "2026-06-17" }), [
      ["2026-06-13", null, null, null, null, null],
      ["2026-06-14", 4, 3, 1, 1, 0],
      ["2026-06-15", null, null, null, null, null],
      ["2026-06-16", 2, 2, 1, 0, 1],
      ["2026-06-17", null, null, null, null, null],
    ]);
  }));

test("one cluster alone, with 0 on a day that has a snapshot in which it has nothing", () =>
  database.rolledBack(async (client) => {
    await loadDays(client);
    const days = { from: "2026-06-14", to: "2026-06-16" };
    assert.deepEqual(await backlog(client, { ...days, cluster: "PTMP" }), [
      ["2026-06-14", 1, 1, 0, 0, 0],
      ["2026-06-15", null, null, null, null, null],
      ["2026-06-16", 0, 0, 0, 0, 1],
    ]);
    assert.deepEqual(await backlog(client, { ...days, cluster: "nowhere" }), [
      ["2026-06-14", 0, 0, 0, 0, 0],
      ["2026-06-15", null, null, null, null, null],
      ["2026-06-16", 0, 0, 0, 0, 0],
    ]);
  }));

test("a cluster is found by the whole of a name that the snapshot has cut", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T09:00:00Z");
    const cluster = "é".repeat(300);
    await applyFile(client, {
      key: changeKey("2026-06-15T11-40-00"),
      rows: [{ ticket_id: "T1", bucket: "pending", cluster }],
    });
    const day = { from: "2026-06-15", to: "2026-06-15" };
    assert.deepEqual(await backlog(client, { ...day, cluster }), [["2026-06-15", 1, 0, 0, 0, 0]]);
  }));

test("datasets are told apart", () =>
  database.rolledBack(async (client) => {
    await loadDays(client);
    const day = { from: "2026-06-14", to: "2026-06-14" };
    assert.deepEqual(await backlog(client, { ...day, dataset: "crq" }), [
      ["2026-06-14", null, null, null, null, null],
    ]);
  }));

test("an empty database has days without numbers", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await backlog(client, { from: "2026-02-28", to: "2026-03-01" }), [
      ["2026-02-28", null, null, null, null, null],
      ["2026-03-01", null, null, null, null, null],
    ]);
  }));

test("what is no range of days is TK035, what is no dataset TK001", async () => {
  const days = { from: "2026-06-14", to: "2026-06-16" };
  const cases: [Range, string][] = [
    [{ ...days, dataset: "nope" }, "TK001"],
    [{ ...days, dataset: null }, "TK001"],
    [{ ...days, to: "2026-06-13" }, "TK035"],
    [{ ...days, from: null }, "TK035"],
    [{ ...days, to: null }, "TK035"],
    [{ ...days, to: "infinity" }, "TK035"],
    [{ ...days, from: "-infinity" }, "TK035"],
    [{ from: "2016-06-15", to: "2026-06-23" }, "TK035"],
  ];
  for (const [range, code] of cases) {
    await database.rolledBack((client) => assert.rejects(backlog(client, range), ownError(code)));
  }
  await database.rolledBack(async (client) => {
    const longest = await backlog(client, { from: "2016-06-15", to: "2026-06-22" });
    assert.equal(longest.length, 3660);
  });
});
