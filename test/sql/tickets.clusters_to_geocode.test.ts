import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { insertGazetteerRow, insertTickets } from "./places.ts";
import { freezeTime } from "./staging.ts";

const database = await createDatabase({ after });

async function due(client: ClientBase): Promise<unknown[][]> {
  const { rows } = await client.query<{ cluster: string; query: string; tickets: number }>(
    "select c.* from tickets.clusters_to_geocode() as c",
  );
  return rows.map(({ cluster, query, tickets }) => [cluster, query, tickets]);
}

test("every cluster of a ticket is asked for, open or closed, of whatever dataset", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "Ruaka", isOpen: false });
    await insertTickets(client, { cluster: "Thika", dataset: "crq", isActionable: false });
    await insertTickets(client, {});
    assert.deepEqual(await due(client), [
      ["Ruaka", "Ruaka, Kenya", 1],
      ["Thika", "Thika, Kenya", 1],
    ]);
  }));

test("those with most tickets come first, then by name", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "b" });
    await insertTickets(client, { cluster: "a" });
    await insertTickets(client, { cluster: "C" });
    await insertTickets(client, { cluster: "z" }, 2);
    await insertTickets(client, { cluster: "y", dataset: "crq" }, 3);
    assert.deepEqual(
      (await due(client)).map(([cluster]) => cluster),
      ["y", "z", "C", "a", "b"],
    );
  }));

test("an alias is asked for by the name of its cluster", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "QOA" });
    await insertTickets(client, { cluster: "PTMP" });
    assert.deepEqual(await due(client), [
      ["PTMP", "Pipeline, Kenya", 1],
      ["QOA", "Quarry Road, Kenya", 1],
    ]);
  }));

test("a cluster with a point of its own, or through its alias, is not asked for", () =>
  database.rolledBack(async (client) => {
    for (const cluster of ["Ruaka", "QOA", "PTMP"]) await insertTickets(client, { cluster });
    await insertGazetteerRow(client, { cluster: "Ruaka", at: [-1.21, 36.78] });
    await insertGazetteerRow(client, { cluster: "Quarry Road", at: [-1.28, 36.84] });
    assert.deepEqual(await due(client), [["PTMP", "Pipeline, Kenya", 1]]);
  }));

describe("a cluster that was asked for before", () => {
  const now = "2026-06-15T06:00:00Z";
  const cases: [what: string, row: object, isDue: boolean][] = [
    ["without an answer is asked for again", { status: "error" }, true],
    [
      "without a match is left for 30 days",
      { status: "no_match", fetchedAt: "2026-05-16T06:00:01Z" },
      false,
    ],
    [
      "without a match is asked for after 30 days",
      { status: "no_match", fetchedAt: "2026-05-16T06:00:00Z" },
      true,
    ],
    ["and refused as too far is not asked for", { status: "rejected_far", at: [-1, 30] }, false],
    [
      "and verified without a point is never asked for",
      { status: "no_match", verified: true, fetchedAt: "2020-01-01" },
      false,
    ],
    ["and verified after an error is never asked for", { status: "error", verified: true }, false],
    ["and stands there without its point is asked for", { status: "ok" }, true],
  ];
  for (const [what, row, isDue] of cases) {
    test(what, () =>
      database.rolledBack(async (client) => {
        await freezeTime(client, now);
        await insertTickets(client, { cluster: "Ruaka" });
        await insertGazetteerRow(client, { cluster: "Ruaka", ...row });
        assert.equal((await due(client)).length, isDue ? 1 : 0);
      }),
    );
  }
});

test("how long a missing match is believed is configuration", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    await insertTickets(client, { cluster: "Ruaka" });
    await insertGazetteerRow(client, {
      cluster: "Ruaka",
      status: "no_match",
      fetchedAt: "2026-06-13T06:00:00Z",
    });
    assert.deepEqual(await due(client), []);
    await client.query("update tickets.geocoding set ask_again_after = '2 days'");
    assert.equal((await due(client)).length, 1);
  }));

test("one whose last request failed comes after those that were never asked for", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "failing" }, 3);
    await insertTickets(client, { cluster: "new" });
    await insertGazetteerRow(client, { cluster: "failing", status: "error" });
    assert.deepEqual(
      (await due(client)).map(([cluster]) => cluster),
      ["new", "failing"],
    );
  }));
