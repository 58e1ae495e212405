import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { listObjects } from "../src/listing.ts";
import { type Store, type StoredObject, openStore } from "../src/store.ts";
import { runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { type FaultyS3, type ListLies, type Rule, startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  type Loader,
  archiveKey,
  changeKey,
  createServerDatabase,
  dumpOf,
  ledgerOf,
  loader,
  onlyDataset,
  ticketsOf,
} from "./harness/loader.ts";
import type { Scope } from "./harness/scope.ts";

const PEAK_MEMORY = new URL("bench/peak-memory.ts", import.meta.url).href;
// What a run may have at most.
const LIMIT_BYTES = 150 * 1024 * 1024;
const PREFIX = "automations/inc/changes/";
const all = (objects: StoredObject[]) => objects;
const ingest = ["ingest", "inc", "--apply"];

describe("a listing finds every object once and in order, from a store that", () => {
  const stores: readonly [what: string, lies: ListLies][] = [
    ["does all right", {}],
    ["ends a page early and calls it the last", { endsAfter: 2 }],
    ["says that there is more, but not where", { omitsToken: true }],
    ["begins with the key that it was to skip", { startsWithStartAfter: true, omitsToken: true }],
    ["begins a page with the last key of the page before", { repeatsLastKey: true }],
    ["returns the keys of a page in falling order", { reversesPage: true }],
    ["returns ETags without quotes", { etags: "unquoted" }],
    ["returns no ETags", { etags: "missing" }],
    ["counts deleted keys", { countsDeleted: true }],
    [
      "does all of that",
      {
        endsAfter: 2,
        startsWithStartAfter: true,
        repeatsLastKey: true,
        reversesPage: true,
        etags: "missing",
      },
    ],
  ];
  for (const [what, lies] of stores) {
    test(what, async (t) => {
      const { s3, store } = await startStore(t, { pageSize: 3 });
      const keys = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => changeKey(n));
      const expected = [];
      for (const [index, key] of keys.entries()) {
        const etag = (await s3.put(key, "x".repeat(index))).replaceAll('"', "");
        expected.push({ key, etag, bytes: index });
      }
      await s3.put("automations/inc/changes.csv", "beside");
      // Between others, as archiving leaves it.
      await s3.remove(changeKey(2));
      await s3.remove(changeKey(4));
      s3.fail({ operation: "list", does: lies });
      const { objects, isComplete } = await listObjects(store, PREFIX, "all", all);
      assert.deepEqual(
        objects,
        expected.filter((_, index) => index !== 1 && index !== 3),
      );
      assert.equal(isComplete, true);
      assert.ok(listings(s3) < 20, `${listings(s3)} listings`);
    });
  }

  test("has 5,000 objects, some of them under folders", async (t) => {
    const { s3, store } = await startStore(t);
    const names = Array.from({ length: 5000 }, (_, n) => String(n).padStart(5, "0"));
    for (const name of names) await s3.put(`${PREFIX}${name}.csv`, "");
    for (const name of names.slice(0, 50)) await s3.put(`${PREFIX}${name}/below.csv`, "");
    for (const lies of [{}, { endsAfter: 900 }, { reversesPage: true, omitsToken: true }]) {
      s3.fail({ operation: "list", times: 20, does: lies });
      const { objects } = await listObjects(store, PREFIX, "direct", all);
      assert.deepEqual(
        objects.map(({ key }) => key),
        names.map((name) => `${PREFIX}${name}.csv`),
      );
      s3.heal();
    }
    assert.equal((await listObjects(store, PREFIX, "all", all)).objects.length, 5050);
  });
});

test("a listing that says that there is more, and shows the same page for ever, ends", async (t) => {
  const { s3, store } = await startStore(t, { pageSize: 2 });
  for (const n of [1, 2, 3]) await s3.put(changeKey(n), "");
  s3.fail({ operation: "list", does: { repeatsFirstPage: true } });
  const { objects, isComplete } = await listObjects(store, PREFIX, "all", all);
  assert.deepEqual(
    objects.map(({ key }) => key),
    [1, 2].map((n) => changeKey(n)),
  );
  assert.equal(isComplete, false);
  assert.ok(listings(s3) < 10, `${listings(s3)} listings`);
});

describe("a listing of more keys than can be", () => {
  for (const command of [ingest, ["ingest", "inc", "--snapshot", "--apply"], ["status"]]) {
    test(`ends ${command.join(" ")} with exit code 4, in bounded memory`, async (t) => {
      const { s3, env } = await startRun(t);
      s3.fail({ operation: "list", does: { inventsPages: Infinity } });
      const { code, peakBytes } = await runWithPeak(command, env);
      assert.equal(code, exitCodes.objectStore);
      assert.ok(peakBytes < LIMIT_BYTES, `${peakBytes} bytes`);
    });
  }
});

test("100,000 files that are loaded and stay in their place need no memory", async (t) => {
  const { db, s3, env } = await startRun(t);
  const pages = 100;
  s3.fail({ operation: "list", key: /\/inc\//, does: { inventsPages: pages } });
  // As the listing has them: one a second.
  await db.look((query) =>
    query(
      `insert into tickets.ingest_files (dataset, source_key, etag, bytes, status, exported_at)
       select 'inc', $1 || to_char(s.at, 'YYYY-MM-DD"T"HH24-MI-SS') || '.csv', repeat('0', 32), 0,
         'applied', s.at
       from generate_series(0, $2::integer - 1) as n,
         lateral (select timestamp '2026-01-01' + n * interval '1 second') as s (at)`,
      [PREFIX, pages * 1000],
    ),
  );
  await db.look((query) => query("analyze tickets.ingest_files"));
  for (const command of [[...ingest, "--no-archive"], ["status"]]) {
    const { code, peakBytes } = await runWithPeak(command, env);
    assert.equal(code, exitCodes.done);
    assert.ok(peakBytes < LIMIT_BYTES, `${command.join(" ")}: ${peakBytes} bytes`);
  }
});

test("an empty folder is listed in one request", async (t) => {
  const { s3, store } = await startStore(t);
  const { objects, isComplete } = await listObjects(store, PREFIX, "all", all);
  assert.deepEqual([objects, isComplete], [[], true]);
  assert.equal(listings(s3), 1);
});

describe("a run", () => {
  test("loads what it can list, and ends with exit code 4 where there is more", async (t) => {
    const { db, s3, report } = await startRun(t, { pageSize: 2 });
    for (const n of [1, 2, 3]) await s3.put(changeKey(n), csvOf([{ ticket_id: `T${n}` }]));
    s3.fail({ operation: "list", does: { repeatsFirstPage: true } });
    // What the first page has gives way to the next when it is archived.
    await report([...ingest, "--no-archive"], exitCodes.objectStore);
    const tickets = await db.look((query) => ticketsOf(query, "inc"));
    assert.deepEqual([...tickets.keys()], ["T1", "T2"]);
    s3.heal();
    const { files } = onlyDataset(await report(ingest));
    assert.deepEqual(
      files.map((file) => file.key),
      [changeKey(3)],
    );
  });

  test("loads a file that one listing left out", async (t) => {
    const { s3, report } = await startRun(t);
    for (const n of [1, 2, 3]) await s3.put(changeKey(n), csvOf([{ ticket_id: `T${n}` }]));
    s3.fail({ operation: "list", times: 2, does: { hides: new RegExp(changeKey(2)) } });
    const { files } = onlyDataset(await report(ingest));
    assert.deepEqual(
      files.map((file) => file.key),
      [1, 3, 2].map((n) => changeKey(n)),
    );
  });

  test("loads next time a file that all its listings left out", async (t) => {
    const { s3, report } = await startRun(t);
    for (const n of [1, 2, 3]) await s3.put(changeKey(n), csvOf([{ ticket_id: `T${n}` }]));
    s3.fail({ operation: "list", does: { hides: new RegExp(changeKey(2)) } });
    await report(ingest);
    s3.heal();
    const { files } = onlyDataset(await report(ingest));
    assert.deepEqual(
      files.map((file) => file.key),
      [changeKey(2)],
    );
  });

  test("loads a file that is exported while it runs", async (t) => {
    const { s3, report } = await startRun(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    s3.fail({
      operation: "get",
      times: 1,
      before: () => s3.put(changeKey(2), csvOf([{ ticket_id: "T2" }])),
    });
    const { files } = onlyDataset(await report(ingest));
    assert.deepEqual(
      files.map((file) => file.key),
      [1, 2].map((n) => changeKey(n)),
    );
  });

  test("finds a new file behind a page full of deleted ones", async (t) => {
    const { s3, report } = await startRun(t, { pageSize: 2 });
    s3.fail({ operation: "list", does: { countsDeleted: true } });
    for (const n of [1, 2, 3, 4, 5]) {
      await s3.put(changeKey(n), csvOf([{ ticket_id: `T${n}` }]));
      const { files } = onlyDataset(await report(ingest));
      assert.deepEqual(
        files.map((file) => file.key),
        [changeKey(n)],
      );
    }
  });

  for (const etags of ["missing", "unquoted"] as const) {
    test(`loads a file once whose ETag is ${etags} in listings`, async (t) => {
      const { db, s3, report } = await startRun(t);
      s3.fail({ operation: "list", does: { etags } });
      const etag = await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
      await report([...ingest, "--no-archive"]);
      const { files } = onlyDataset(await report([...ingest, "--no-archive"]));
      assert.deepEqual(files, []);
      const ledger = await db.look((query) =>
        query<{ etag: string }>("select f.etag from tickets.ingest_files as f"),
      );
      assert.deepEqual(ledger, [{ etag: etag.replaceAll('"', "") }]);
    });
  }
});

describe("an object that is not what was listed", () => {
  const [key, next] = [changeKey(1), changeKey(2)];
  const body = csvOf([{ ticket_id: "T1" }, { ticket_id: "T2" }, { ticket_id: "T3" }]);
  const row = body.indexOf("T2");
  const faults: readonly [what: string, fault: (s3: FaultyS3) => Rule][] = [
    [
      "because another one took its place",
      (s3) => {
        let n = 0;
        const replace = () => s3.put(key, `${body}T${10 + ++n}${",".repeat(31)}\n`);
        return { operation: "get", key: /06-20/, before: replace };
      },
    ],
    [
      "because it ends before its size, between two rows",
      () => ({ operation: "get", key: /06-20/, does: { sends: row, then: "shorten" } }),
    ],
    [
      "because it ends before its size, in its last field",
      () => ({ operation: "get", key: /06-20/, does: { sends: body.length - 1, then: "shorten" } }),
    ],
    [
      "because it ends before its size, in its header",
      () => ({ operation: "get", key: /06-20/, does: { sends: 100, then: "shorten" } }),
    ],
    [
      "because it is empty all of a sudden",
      () => ({ operation: "get", key: /06-20/, does: { sends: 0, then: "shorten" } }),
    ],
    [
      "because more bytes come than its size",
      () => ({ operation: "get", key: /06-20/, does: { repeats: 2, onSent: () => undefined } }),
    ],
    [
      "because the connection is closed between two rows",
      () => ({ operation: "get", key: /06-20/, does: { sends: row, then: "close" } }),
    ],
    [
      "because the connection is reset in a row",
      () => ({ operation: "get", key: /06-20/, does: { sends: row + 3, then: "reset" } }),
    ],
  ];
  for (const [what, fault] of faults) {
    test(`${what}, is read once more`, async (t) => {
      const { db, s3, report } = await startRun(t);
      await s3.put(key, body);
      await s3.put(next, csvOf([{ ticket_id: "N1" }]));
      s3.fail({ ...fault(s3), times: 1 });
      const { files } = onlyDataset(await report(ingest));
      assert.deepEqual(
        files.map((file) => [file.key, file.status]),
        [
          [key, "applied"],
          [next, "applied"],
        ],
      );
      assert.equal(reads(s3, key), 2);
      const tickets = await db.look((query) => ticketsOf(query, "inc"));
      assert.deepEqual(
        ["T1", "T2", "T3", "N1"].filter((id) => !tickets.has(id)),
        [],
      );
      assert.deepEqual(await s3.keys(), [key, next].map(archiveKey));
    });

    test(`${what}, twice, is left alone with exit code 4`, async (t) => {
      const { db, s3, report } = await startRun(t);
      await s3.put(key, body);
      const before = await db.look(dumpOf);
      s3.fail(fault(s3));
      await report([...ingest, "--max-files", "1"], exitCodes.objectStore);
      assert.equal(reads(s3, key), 2);
      assert.deepEqual(await db.look(dumpOf), before);
      assert.deepEqual(await s3.keys(), [key]);

      // It holds up no other file, and comes in as soon as it can be read.
      await s3.put(next, csvOf([{ ticket_id: "N1" }]));
      await report(ingest, exitCodes.objectStore);
      s3.heal();
      await report(ingest);
      const statuses = (await db.look(ledgerOf)).map((file) => [file.source_key, file.status]);
      assert.deepEqual(statuses, [
        [key, "applied"],
        [next, "applied"],
      ]);
    });
  }
});

test("an object that is larger than listed is read no further", async (t) => {
  const { db, s3, report } = await startRun(t);
  const body = csvOf(Array.from({ length: 1000 }, (_, n) => ({ ticket_id: `T${n}` })));
  await s3.put(changeKey(1), body);
  const repeats = Math.ceil((128 * 2 ** 20) / body.length);
  let sent = 0;
  const onSent = (bytes: number) => (sent += bytes);
  s3.fail({ operation: "get", does: { repeats, onSent } });
  const { files } = onlyDataset(await report(ingest, exitCodes.objectStore));
  assert.deepEqual(
    files.map((file) => file.status),
    ["unread"],
  );
  // Twice what is on its way at once.
  assert.ok(sent < 64 * 2 ** 20, `${sent} bytes were sent`);
  assert.deepEqual(await db.look(ledgerOf), []);
});

describe("a store that falls silent ends the run in time, with exit code 4", () => {
  const key = changeKey(1);
  const body = csvOf(Array.from({ length: 2000 }, (_, n) => ({ ticket_id: `T${n}` })));
  const silences: readonly [what: string, rule: Rule][] = [
    ["asked for a listing", { operation: "list", does: "stall" }],
    ["asked for an object", { operation: "get", does: "stall" }],
    ["amid the header", { operation: "get", does: { sends: 100, then: "stall" } }],
    ["amid the rows", { operation: "get", does: { sends: 40_000, then: "stall" } }],
    ["asked for a copy", { operation: "copy", does: "stall" }],
    ["asked to delete", { operation: "delete", does: "stall" }],
  ];
  for (const [what, rule] of silences) {
    test(what, async (t) => {
      const s3 = await startFaultyS3(t);
      const started = loader(await createServerDatabase(t), s3);
      const env = { ...started.env, STALL_TIMEOUT: "1" };
      await s3.put(key, body);
      s3.fail(rule);
      const at = Date.now();
      await loader(started.db, { ...s3, env }).report(ingest, exitCodes.objectStore);
      assert.ok(Date.now() - at < 15_000);
      s3.heal();
      await started.report(ingest);
      assert.deepEqual(await s3.keys(), [archiveKey(key)]);
    });
  }

  test("but not a slow one", async (t) => {
    const s3 = await startFaultyS3(t);
    const { db, s3: fixture } = loader(await createServerDatabase(t), s3);
    await s3.put(key, csvOf([{ ticket_id: "T1" }]));
    s3.fail({ operation: "get", does: { bytesAtOnce: 40, everyMs: 300 } });
    const env = { ...fixture.env, STALL_TIMEOUT: "2" };
    const { files } = onlyDataset(await loader(db, { ...fixture, env }).report(ingest));
    assert.equal(files.length, 1);
  });
});

async function runWithPeak(args: readonly string[], env: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-listing-"));
  const file = join(folder, "peak");
  try {
    const { code } = await runCli([...args], {
      env: { ...env, NODE_OPTIONS: `--import=${PEAK_MEMORY}`, PEAK_MEMORY_FILE: file },
    });
    return { code, peakBytes: Number(await readFile(file, "utf8")) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function startStore(
  scope: Scope,
  options: { pageSize?: number } = {},
): Promise<{ s3: FaultyS3; store: Store }> {
  const s3 = await startFaultyS3(scope, options);
  const { endpoint, bucket } = s3;
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  const store = openStore({ endpoint, bucket, region: "us-east-1", credentials }, 10_000);
  scope.after(() => {
    store.close();
    return Promise.resolve();
  });
  return { s3, store };
}

async function startRun(
  scope: Scope,
  options: { pageSize?: number } = {},
): Promise<Loader & { s3: FaultyS3 }> {
  const s3 = await startFaultyS3(scope, options);
  return { ...loader(await createServerDatabase(scope), s3), s3 };
}

function listings({ requests }: FaultyS3): number {
  return requests.filter(({ operation }) => operation === "list").length;
}

function reads({ requests }: FaultyS3, key: string): number {
  return requests.filter((each) => each.operation === "get" && each.key === key).length;
}
