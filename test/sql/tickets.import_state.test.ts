import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, only } from "./staging.ts";

const database = await createDatabase({ after });

async function importState(client: ClientBase, dataset: string): Promise<unknown> {
  const { rows } = await client.query<{ state: unknown }>(
    "select tickets.import_state(p_dataset => $1) as state",
    [dataset],
  );
  return only(rows).state;
}

test("a dataset of which nothing was loaded has an empty state", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await importState(client, "inc"), {});
    assert.deepEqual(await importState(client, "crq"), {});
  }));

test("it is what tickets.import_meta says of the dataset, watermark and snapshot ETag", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-20-00");
    await applyFile(client, { key, etag: "a", rows: [], isSnapshot: true });
    const state = { source_max_key: key, source_etag: "a" };
    assert.deepEqual(await importState(client, "inc"), state);
    assert.deepEqual(await importState(client, "crq"), {});
    const { rows } = await client.query(
      "select m.dataset, m.metadata from tickets.import_meta as m order by m.dataset",
    );
    assert.deepEqual(rows, [
      { dataset: "crq", metadata: {} },
      { dataset: "inc", metadata: state },
    ]);
  }));

test("what is no dataset has no state", () =>
  database.rolledBack(async (client) => {
    assert.equal(await importState(client, "nope"), null);
  }));
