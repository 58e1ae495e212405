import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { only, ownError } from "./staging.ts";

const database = await createDatabase({ after });

async function datasetOfKey(client: ClientBase, key: string): Promise<string> {
  const { rows } = await client.query<{ dataset: string }>(
    "select tickets.dataset_of_key(p_source_key => $1) as dataset",
    [key],
  );
  return only(rows).dataset;
}

test("a key belongs to the dataset whose prefix it has", () =>
  database.rolledBack(async (client) => {
    assert.equal(await datasetOfKey(client, "automations/inc/changes/x.csv"), "inc");
    assert.equal(await datasetOfKey(client, "automations/crq/2026-06-15T06-00-00.csv"), "crq");
  }));

test("the longest prefix counts, and none is a pattern", () =>
  database.rolledBack(async (client) => {
    await client.query(
      "update tickets.datasets set key_prefix = 'automations/' where dataset = 'inc'",
    );
    assert.equal(await datasetOfKey(client, "automations/crq/x.csv"), "crq");
    assert.equal(await datasetOfKey(client, "automations/other/x.csv"), "inc");
    await client.query("update tickets.datasets set key_prefix = 'a_c%/' where dataset = 'inc'");
    assert.equal(await datasetOfKey(client, "a_c%/x.csv"), "inc");
    await assert.rejects(datasetOfKey(client, "abcd/x.csv"), ownError("TK003"));
  }));

test("a key that belongs to no dataset is TK003", async () => {
  for (const key of [
    "",
    "x.csv",
    "automations/inc",
    "Automations/inc/x.csv",
    "'; --".repeat(500),
  ]) {
    await database.rolledBack((client) =>
      assert.rejects(datasetOfKey(client, key), ownError("TK003")),
    );
  }
});
