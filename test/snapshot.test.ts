import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { type SampleCsvOptions, sampleCsv } from "../src/samples.ts";
import { csvOf } from "./harness/csv.ts";
import { type FaultyS3, startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  type Loader,
  archiveKey,
  changeKey,
  createServerDatabase,
  dumpOf,
  exportTime,
  ledgerOf,
  loader,
  objectsOf,
  onlyDataset,
  rawOf,
  ticketPlacesOf,
  ticketsOf,
} from "./harness/loader.ts";
import type { Scope } from "./harness/scope.ts";

const ingest = ["ingest", "inc", "--snapshot", "--apply"];
const bad = "ticket_id,owner\nT1\n";

test("only the newest snapshot is read; the older ones are archived with it", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  for (const n of [1, 2, 3]) await s3.put(snapshotKey(n), csvOf([{ ticket_id: `T${n}` }]));
  const result = onlyDataset(await report(ingest));
  assert.deepEqual(
    [result.files.map((file) => file.key), result.skipped, result.archived],
    [[snapshotKey(3)], 2, 3],
  );
  assert.deepEqual(keysRead(s3), [snapshotKey(3)]);
  assert.deepEqual(await s3.keys(), [1, 2, 3].map(snapshotKey).map(archiveKey));
  const found = await db.look(async (query) => ({
    tickets: [...(await ticketsOf(query, "inc")).keys()],
    ledger: (await ledgerOf(query)).map((file) => [file.source_key, file.status, file.is_archived]),
  }));
  assert.deepEqual(found, {
    tickets: ["T3"],
    ledger: [
      [snapshotKey(1), "skipped", true],
      [snapshotKey(2), "skipped", true],
      [snapshotKey(3), "applied", true],
    ],
  });
});

test("a snapshot with the ETag of the last one is not read", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  const body = csvOf([{ ticket_id: "T1" }]);
  await s3.put(snapshotKey(1), body);
  await report(ingest);
  const before = await db.look(ticketPlacesOf);

  await s3.put(snapshotKey(2), body);
  const result = onlyDataset(await report(ingest));
  assert.deepEqual([result.files, result.skipped, result.archived], [[], 1, 1]);
  assert.deepEqual(keysRead(s3), [snapshotKey(1)]);
  assert.deepEqual(await db.look(ticketPlacesOf), before);
  assert.deepEqual(await s3.keys(), [1, 2].map(snapshotKey).map(archiveKey));
});

describe("a snapshot of 500 tickets", () => {
  const options: SampleCsvOptions = { dataset: "inc", seed: 7, rows: 500, changedShare: 0.1 };

  for (const [what, share, updated] of [
    ["in which nothing has changed rewrites no ticket", 0, 0],
    ["of which a tenth has changed rewrites a tenth", 0.1, 50],
  ] as const) {
    test(what, async (t) => {
      const { db, s3, report } = await startSnapshots(t);
      for (const revision of [0, 1]) {
        const body = Buffer.concat([...sampleCsv({ ...options, changedShare: share, revision })]);
        await s3.put(snapshotKey(revision), body);
        if (revision === 0) await report(ingest);
      }
      const before = await db.look(ticketPlacesOf);
      const { files } = onlyDataset(await report(ingest));
      assert.deepEqual(
        files.map((file) => file.status === "applied" && [file.unchanged, file.updated]),
        [[500 - updated, updated]],
      );
      const after = await db.look(ticketPlacesOf);
      const same = new Set(before.map((place) => JSON.stringify(place)));
      assert.equal(after.filter((place) => !same.has(JSON.stringify(place))).length, updated);
    });
  }
});

test("tickets that a snapshot no longer has stay as they are", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  await s3.put(
    snapshotKey(1),
    csvOf([
      { ticket_id: "T1", owner: "a" },
      { ticket_id: "T2", owner: "a" },
    ]),
  );
  await report(ingest);
  await s3.put(snapshotKey(2), csvOf([{ ticket_id: "T2", owner: "b" }]));
  await report(ingest);
  const owners = [...(await db.look((query) => ticketsOf(query, "inc"))).values()];
  assert.deepEqual(
    owners.map(({ raw }) => raw["owner"]),
    ["a", "b"],
  );
});

test("where the newest snapshot is refused, the next one is loaded", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  await s3.put(snapshotKey(1), csvOf([{ ticket_id: "T1", owner: "1" }]));
  await s3.put(snapshotKey(2), csvOf([{ ticket_id: "T1", owner: "2" }]));
  await s3.put(snapshotKey(3), bad);
  const { files, skipped } = onlyDataset(await report(ingest, exitCodes.fileRefused));
  assert.deepEqual(
    files.map(({ key, status }) => [key, status]),
    [
      [snapshotKey(3), "refused"],
      [snapshotKey(2), "applied"],
    ],
  );
  assert.equal(skipped, 1);
  assert.equal((await db.look(rawOf))["owner"], "2");
  assert.deepEqual(await s3.keys(), [snapshotKey(3), ...[1, 2].map(snapshotKey).map(archiveKey)]);

  const again = onlyDataset(await report(ingest));
  assert.deepEqual([again.files, again.refused_earlier], [[], 1]);
});

test("a mended snapshot is loaded under its old name, also by retry", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  await s3.put(snapshotKey(1), bad);
  await report(ingest, exitCodes.fileRefused);
  await report(["retry", snapshotKey(1), "--apply"], exitCodes.fileRefused);
  await s3.put(snapshotKey(1), csvOf([{ ticket_id: "T1", owner: "a" }]));
  await report(["retry", snapshotKey(1), "--apply"]);
  assert.equal((await db.look(rawOf))["owner"], "a");
  assert.deepEqual(await s3.keys(), [archiveKey(snapshotKey(1))]);
});

test("an older snapshot that comes late changes no ticket of the newer one", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  await s3.put(snapshotKey(2), csvOf([{ ticket_id: "T1", owner: "new" }]));
  await report(ingest);
  await s3.put(snapshotKey(1), csvOf([{ ticket_id: "T1", owner: "old" }]));
  await report(ingest);
  assert.equal((await db.look(rawOf))["owner"], "new");
  assert.deepEqual(await s3.keys(), [1, 2].map(snapshotKey).map(archiveKey));
});

test("--reseed loads a snapshot once more", async (t) => {
  const { s3, report } = await startSnapshots(t);
  const body = csvOf([{ ticket_id: "T1" }]);
  await s3.put(snapshotKey(1), body);
  await report(ingest);
  await s3.put(snapshotKey(1), body);
  const { files } = onlyDataset(await report([...ingest, "--reseed"]));
  assert.deepEqual(
    files.map((file) => file.status === "applied" && file.unchanged),
    [1],
  );
});

test("a dry run counts alike and leaves no trace", async (t) => {
  const { db, s3, report } = await startSnapshots(t);
  for (const n of [1, 2]) await s3.put(snapshotKey(n), csvOf([{ ticket_id: `T${n}` }]));
  await s3.put(snapshotKey(3), bad);
  const [before, objects] = [await db.look(dumpOf), await objectsOf(s3)];
  const args = ["ingest", "inc", "--snapshot"];
  const dry = onlyDataset(await report(args, exitCodes.fileRefused));
  assert.deepEqual(await db.look(dumpOf), before);
  assert.deepEqual(await objectsOf(s3), objects);
  const real = onlyDataset(await report(ingest, exitCodes.fileRefused));
  assert.deepEqual([dry.files, dry.skipped], [real.files, real.skipped]);
});

test("each mode leaves the objects of the other alone", async (t) => {
  const { s3, report } = await startSnapshots(t);
  await s3.put(snapshotKey(1), csvOf([{ ticket_id: "T1" }]));
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T2" }]));
  await report(ingest);
  assert.deepEqual(await s3.keys(), [changeKey(1), archiveKey(snapshotKey(1))]);
  await s3.put(snapshotKey(2), csvOf([{ ticket_id: "T1" }]));
  await report(["ingest", "inc", "--apply"]);
  assert.deepEqual(await s3.keys("automations/inc/2"), [snapshotKey(2)]);
  assert.deepEqual(await s3.keys("automations/inc/changes/"), []);
});

async function startSnapshots(scope: Scope): Promise<Loader & { s3: FaultyS3 }> {
  const s3 = await startFaultyS3(scope);
  return { ...loader(await createServerDatabase(scope), s3), s3 };
}

function snapshotKey(n: number): string {
  return `automations/inc/${exportTime(n)}.csv`;
}

function keysRead({ requests }: FaultyS3): string[] {
  return requests.filter(({ operation }) => operation === "get").map(({ key }) => key);
}
