import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { type Row, applyFile, changeKey, ownError } from "./staging.ts";

const database = await createDatabase({ after });

interface Range {
  dataset?: string | null;
  from?: string | null;
  to?: string | null;
}

/** The rows as lists in the order of the columns. */
async function teamClosures(
  client: ClientBase,
  { dataset = "inc", from = "2026-06-15T00:00+03", to = "2026-06-16T00:00+03" }: Range = {},
): Promise<unknown[]> {
  await client.query("set local timezone = 'Africa/Nairobi'");
  const { rows } = await client.query<{ row: unknown }>(
    `select json_build_array(
       c.team, c.owner, c.closures, c.mttr_median_minutes, c.mttr_p90_minutes,
       c.mttr_mean_minutes, c.last_closed_at
     ) as row
     from reporting.fn_team_closures(
       p_dataset => $1::text, p_from => $2::timestamptz, p_to => $3::timestamptz
     ) as c`,
    [dataset, from, to],
  );
  return rows.map(({ row }) => row);
}

function closed(ticket_id: string, closed_at: string, more: Row = {}): Row {
  return { ticket_id, bucket: "closed", closed_at, ...more };
}

test("closures are counted by team and owner, most of them first", () =>
  database.rolledBack(async (client) => {
    const ann = { assigned_team: "North", owner: "Ann" };
    await applyFile(client, {
      key: changeKey("2026-06-15T18-00-00"),
      rows: [
        closed("T1", "2026-06-15 08:00:00", { ...ann, mttr: "10" }),
        closed("T2", "2026-06-15 10:00:00", { ...ann, mttr: "20" }),
        closed("T3", "2026-06-15 09:00:00", { ...ann, mttr: "60" }),
        closed("T4", "2026-06-15 07:00:00", ann),
        closed("T5", "2026-06-15 08:00:00", { assigned_team: "North", mttr: "7" }),
        closed("T6", "2026-06-15 08:30:00", { owner: "Bob" }),
        closed("T7", "2026-06-15 08:00:00"),
        closed("T8", "2026-06-15 08:00:00", { assigned_team: "East", owner: "Cy", mttr: "1" }),
        closed("T9", "2026-06-15 08:00:00", { assigned_team: "East", owner: "Cy", mttr: "2" }),
      ],
    });
    // Of 10, 20, 60: the ninth tenth lies at 20 + 0.8 * 40.
    assert.deepEqual(await teamClosures(client), [
      ["North", "Ann", 4, 20, 52, 30, "2026-06-15T10:00:00+03:00"],
      ["East", "Cy", 2, 1.5, 1.9, 1.5, "2026-06-15T08:00:00+03:00"],
      ["North", null, 1, 7, 7, 7, "2026-06-15T08:00:00+03:00"],
      [null, "Bob", 1, null, null, null, "2026-06-15T08:30:00+03:00"],
      [null, null, 1, null, null, null, "2026-06-15T08:00:00+03:00"],
    ]);
  }));

test("the first instant belongs to the range, the last one does not", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, {
      key: changeKey("2026-06-17T06-00-00"),
      rows: [
        closed("T1", "2026-06-14 23:59:59"),
        closed("T2", "2026-06-15 00:00:00"),
        closed("T3", "2026-06-15 23:59:59.9"),
        closed("T4", "2026-06-16 00:00:00"),
      ],
    });
    assert.deepEqual(await teamClosures(client), [
      [null, null, 2, null, null, null, "2026-06-15T23:59:59.9+03:00"],
    ]);
    assert.deepEqual(await teamClosures(client, { to: "2026-06-15T00:00+03" }), []);
    assert.deepEqual(await teamClosures(client, { from: "-infinity", to: "infinity" }), [
      [null, null, 4, null, null, null, "2026-06-16T00:00:00+03:00"],
    ]);
  }));

test("a ticket closed twice counts for who had it each time, also when it is open again", () =>
  database.rolledBack(async (client) => {
    const versions = [
      closed("T1", "2026-06-15 08:00:00", { owner: "Ann", mttr: "30" }),
      { ticket_id: "T1", bucket: "pending", owner: "Bob" },
      closed("T1", "2026-06-15 11:00:00", { owner: "Bob", mttr: "90" }),
      { ticket_id: "T1", bucket: "pending" },
    ];
    for (const [n, row] of versions.entries()) {
      await applyFile(client, { key: changeKey(`2026-06-15T1${n}-00-00`), rows: [row] });
    }
    assert.deepEqual(await teamClosures(client), [
      [null, "Ann", 1, 30, 30, 30, "2026-06-15T08:00:00+03:00"],
      [null, "Bob", 1, 90, 90, 90, "2026-06-15T11:00:00+03:00"],
    ]);
  }));

test("a closure whose time is known in one file and not in another counts once", () =>
  database.rolledBack(async (client) => {
    for (const [n, closed_at] of ["", "2026-06-15 08:00:00", "2026-02-30"].entries()) {
      const key = changeKey(`2026-06-15T1${n}-00-00`);
      await applyFile(client, { key, rows: [closed("T1", closed_at)] });
    }
    assert.deepEqual(await teamClosures(client), [
      [null, null, 1, null, null, null, "2026-06-15T08:00:00+03:00"],
    ]);
  }));

test("datasets are told apart, and an empty database has no closures", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await teamClosures(client), []);
    const key = changeKey("2026-06-15T18-00-00", "crq");
    await applyFile(client, { dataset: "crq", key, rows: [closed("T1", "2026-06-15 08:00:00")] });
    assert.deepEqual(await teamClosures(client), []);
    assert.equal((await teamClosures(client, { dataset: "crq" })).length, 1);
  }));

test("what is no range of time is TK035, what is no dataset TK001", async () => {
  const cases: [Range, string][] = [
    [{ dataset: "nope" }, "TK001"],
    [{ dataset: null }, "TK001"],
    [{ from: null }, "TK035"],
    [{ to: null }, "TK035"],
    [{ to: "2026-06-14T23:59:59+03" }, "TK035"],
  ];
  for (const [range, code] of cases) {
    await database.rolledBack((client) =>
      assert.rejects(teamClosures(client, range), ownError(code)),
    );
  }
});
