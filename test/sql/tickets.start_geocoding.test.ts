// With tickets.finish_geocoding, which gives back what it takes.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { only, ownError } from "./staging.ts";

const database = await createDatabase({ after });

async function start(client: ClientBase, kind: string | null): Promise<string> {
  const { rows } = await client.query<{ country: string }>(
    "select tickets.start_geocoding(p_kind => $1) as country",
    [kind],
  );
  return only(rows).country;
}

async function finish(client: ClientBase, kind: string): Promise<boolean> {
  const { rows } = await client.query<{ had: boolean }>(
    "select tickets.finish_geocoding(p_kind => $1) as had",
    [kind],
  );
  return only(rows).had;
}

test("a run begins with the code of the country to look in", async () => {
  const client = await database.connect();
  assert.equal(await start(client, "clusters"), "ke");
  assert.equal(await finish(client, "clusters"), true);
});

test("a second run of a kind is TK051 at once, until the first one has ended", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  await start(one, "locations");
  const before = performance.now();
  await assert.rejects(start(other, "locations"), ownError("TK051"));
  assert.ok(performance.now() - before < 1000, "it waited");
  assert.equal(await finish(other, "locations"), false);
  assert.equal(await finish(one, "locations"), true);
  await start(other, "locations");
  await finish(other, "locations");
});

test("the kinds, and the loading of files, go side by side", async () => {
  const [one, two] = [await database.connect(), await database.connect()];
  const three = await database.connect();
  await start(one, "clusters");
  await start(two, "locations");
  await three.query("select tickets.start_run('inc')");
  await three.query("select tickets.finish_run('inc')");
  await finish(one, "clusters");
  await finish(two, "locations");
});

for (const kind of ["inc", "", null]) {
  test(`what is no kind is TK050: ${JSON.stringify(kind)}`, () =>
    database.rolledBack((client) => assert.rejects(start(client, kind), ownError("TK050"))));
}
