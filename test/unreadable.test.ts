// Objects that cannot be read, or whose keys are no text: the others are loaded all the same.

import assert from "node:assert/strict";
import { createServer as createTlsServer } from "node:https";
import { describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { listObjects } from "../src/listing.ts";
import { openStore } from "../src/store.ts";
import { csvOf } from "./harness/csv.ts";
import { type FaultyS3, type Rule, startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  type Loader,
  archiveKey,
  changeKey,
  createServerDatabase,
  ledgerOf,
  loader,
  onlyDataset,
} from "./harness/loader.ts";
import type { Scope } from "./harness/scope.ts";

const ingest = ["ingest", "inc", "--apply"];
const [bad, good, better] = [changeKey(1), changeKey(2), changeKey(3)];
const isBad = /06-20-00\.csv$/;

const faults: readonly [what: string, rules: readonly Rule[]][] = [
  ["is gone", [{ operation: "get", key: isBad, does: 404 }]],
  ["is forbidden", [{ operation: "get", key: isBad, does: 403 }]],
  ["fails", [{ operation: "get", key: isBad, does: 500 }]],
  ["comes without an ETag", [{ operation: "get", key: isBad, does: { etag: "missing" } }]],
  ["stays silent", [{ operation: "get", key: isBad, does: "stall" }]],
  [
    "is gone, and cannot be looked at",
    [
      { operation: "get", key: isBad, does: 404 },
      { operation: "head", key: isBad, does: 404 },
    ],
  ],
  [
    "fails, as does a look at it",
    [
      { operation: "get", key: isBad, does: 500 },
      { operation: "head", key: isBad, does: 500 },
    ],
  ],
  [
    "is listed without an ETag, and a look at it is forbidden",
    [
      { operation: "list", does: { etags: "missing" } },
      { operation: "head", key: isBad, does: 403 },
    ],
  ],
  [
    "is listed without an ETag, and has none",
    [
      { operation: "list", does: { etags: "missing" } },
      { operation: "head", key: isBad, does: { etag: "" } },
    ],
  ],
];

describe("an object that cannot be read is left aside, and tried again by the next run, when it", () => {
  for (const [what, rules] of faults) {
    test(what, async (t) => {
      const { db, s3, report } = await startRun(t);
      await fill(s3, [bad, good, better]);
      for (const rule of rules) s3.fail(rule);
      // It holds up the others no more when a run ends after so many files.
      const { files, error } = onlyDataset(
        await report([...ingest, "--max-files", "2"], exitCodes.objectStore),
      );
      assert.deepEqual(
        [error, files.map(({ key, status }) => [key, status])],
        [
          null,
          [
            [bad, "unread"],
            [good, "applied"],
            [better, "applied"],
          ],
        ],
      );
      assert.deepEqual(await s3.keys(), [bad, ...[good, better].map(archiveKey)]);
      s3.heal();
      await report(ingest);
      const ledger = await db.look(ledgerOf);
      assert.deepEqual(
        ledger.map(({ source_key, status }) => [source_key, status]),
        [bad, good, better].map((key) => [key, "applied"]),
      );
    });
  }

  test("is a snapshot: the one before it is loaded", async (t) => {
    const { s3, report } = await startRun(t);
    const [older, newer] = ["05", "06"].map(
      (hour) => `automations/inc/2026-06-15T${hour}-20-00.csv`,
    );
    assert.ok(older !== undefined && newer !== undefined);
    await fill(s3, [older, newer]);
    s3.fail({ operation: "get", key: isBad, does: 500 });
    const { files } = onlyDataset(
      await report(["ingest", "inc", "--snapshot", "--apply"], exitCodes.objectStore),
    );
    assert.deepEqual(
      files.map(({ key, status }) => [key, status]),
      [
        [newer, "unread"],
        [older, "applied"],
      ],
    );
  });

  test("is to be retried beside others", async (t) => {
    const { s3, report } = await startRun(t);
    await fill(s3, [bad, good]);
    s3.fail({ operation: "head", key: isBad, does: 403 });
    const { files } = onlyDataset(
      await report(["retry", bad, good, "--apply"], exitCodes.objectStore),
    );
    assert.deepEqual(
      files.map(({ key, status }) => [key, status]),
      [
        [bad, "unread"],
        [good, "applied"],
      ],
    );
  });
});

describe("a store that is down as a whole ends the run at the first object that", () => {
  const operations = ["get", "head", "copy"] as const;
  for (const operation of operations) {
    test(`it cannot ${operation}`, async (t) => {
      const { s3, report } = await startRun(t);
      await fill(s3, [bad, good, better]);
      const goesDown = () => {
        for (const each of ["list", "head", "get", "copy"] as const) {
          s3.fail({ operation: each, does: 503 });
        }
      };
      s3.fail({ operation, times: 1, before: goesDown, does: 403 });
      const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
      assert.equal(error?.name, "ObjectStoreError");
      const reads = s3.requests.filter((each) => each.operation === "get");
      assert.equal(new Set(reads.map(({ key }) => key)).size, 1);
    });
  }

  test("stays silent for the third time", async (t) => {
    const { s3, report } = await startRun(t);
    const keys = [1, 2, 3, 4, 5].map((n) => changeKey(n));
    await fill(s3, keys);
    s3.fail({ operation: "get", does: "stall" });
    const { error, files } = onlyDataset(await report(ingest, exitCodes.objectStore));
    assert.equal(error?.name, "SilentStore");
    assert.equal(files.length, 2);
  });
});

describe("a key that PostgreSQL cannot take is ignored and counted:", () => {
  const names = {
    "with a NUL": "2026-06-15T06-20-00\0.csv",
    "that ends in a NUL": "2026-06-15T06-20-00.csv\0",
    "with a lone surrogate": "\ud800.csv",
    "with a character of few encodings": "😀.csv",
  };
  for (const [what, name] of Object.entries(names)) {
    test(what, async (t) => {
      const { s3, report, run } = await startRun(t);
      await s3.put(`automations/inc/changes/${name}`, "no export");
      await fill(s3, [good]);
      await run(["status"]);
      const { files, ignored } = onlyDataset(await report(ingest));
      assert.deepEqual([files.length, ignored], [1, 1]);
    });
  }
});

describe("an answer that is no listing is not taken for an empty bucket:", () => {
  const answers = {
    "a console": "<!doctype html><html><title>Console</title></html>",
    "a login page in XHTML": '<?xml version="1.0"?><html xmlns="x"><Name>me</Name></html>',
    nothing: "",
    "the list of buckets": "<ListAllMyBucketsResult></ListAllMyBucketsResult>",
    JSON: '{"ok":true}',
    "a listing without its elements": "<ListBucketResult/>",
    "a listing that breaks off": "<ListBucketResult><Name>b</Name><Contents><Key>a",
  };
  for (const [what, answer] of Object.entries(answers)) {
    test(what, async (t) => {
      const { s3, report, run } = await startRun(t);
      s3.fail({ operation: "list", does: { answers: answer } });
      const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
      assert.ok(error?.message.includes(JSON.stringify(answer.slice(0, 20)).slice(1, -1)));
      await run(["status"], exitCodes.objectStore);
      await run(["doctor"], exitCodes.objectStore);
    });
  }

  test("but an empty folder is one, with and without KeyCount", async (t) => {
    const { s3, report } = await startRun(t);
    for (const own of [
      "<KeyCount>0</KeyCount>",
      "<Name>b</Name>",
      "<IsTruncated>false</IsTruncated>",
    ]) {
      const root = 'ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
      const answer = `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${own}</ListBucketResult>\n`;
      s3.fail({ operation: "list", does: { answers: answer } });
      assert.deepEqual(onlyDataset(await report(ingest)).files, []);
      s3.heal();
    }
  });

  test("one that falls silent in its middle ends in time", async (t) => {
    const { s3, report } = await startRun(t);
    await fill(s3, [good]);
    s3.fail({ operation: "list", does: { comes: { sends: 80, then: "stall" } } });
    const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
    assert.equal(error?.name, "SilentStore");
  });

  test("keys come with all their signs", async (t) => {
    const s3 = await startFaultyS3(t);
    const names = [`a&b<c>"d'e`, "&amp;", "ü 😀", "  x  ", "]]>"];
    for (const name of names) await s3.put(`p/${name}`, "");
    const credentials = { accessKeyId: "test", secretAccessKey: "test" };
    const { endpoint, bucket } = s3;
    const store = openStore({ endpoint, bucket, region: "us-east-1", credentials }, 10_000);
    const { objects } = await listObjects(store, "p/", "all", (page) => page);
    assert.deepEqual(new Set(objects.map(({ key }) => key.slice(2))), new Set(names));
    store.close();
  });
});

describe("what is wrong with the access to the store is said:", () => {
  test("https where the store speaks http", async (t) => {
    const { s3, env, db } = await startRun(t);
    const RUSTFS_ENDPOINT = s3.endpoint.replace("http:", "https:");
    const { report } = loader(db, { ...s3, env: { ...env, RUSTFS_ENDPOINT } });
    const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
    assert.match(error?.message ?? "", /speaks http/);
    assert.match(error?.hint ?? "", /RUSTFS_ENDPOINT/);
  });

  test("http where the store speaks https", async (t) => {
    const { s3, env, db } = await startRun(t);
    const server = createTlsServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const { report } = loader(db, {
      ...s3,
      env: { ...env, RUSTFS_ENDPOINT: `http://127.0.0.1:${port}` },
    });
    const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
    assert.match(error?.hint ?? "", /RUSTFS_ENDPOINT/);
  });

  test("no credentials at all", async (t) => {
    const { s3, env, db } = await startRun(t);
    const keys = { RUSTFS_ACCESS_KEY: "", RUSTFS_SECRET_KEY: "" };
    const others = { AWS_EC2_METADATA_DISABLED: "true", HOME: "/nonexistent" };
    const { report } = loader(db, { ...s3, env: { ...env, ...keys, ...others } });
    const { error } = onlyDataset(await report(ingest, exitCodes.objectStore));
    assert.match(error?.hint ?? "", /RUSTFS_ACCESS_KEY/);
  });
});

async function startRun(scope: Scope): Promise<Loader & { s3: FaultyS3 }> {
  const s3 = await startFaultyS3(scope);
  const started = loader(await createServerDatabase(scope), {
    ...s3,
    env: { ...s3.env, STALL_TIMEOUT: "1" },
  });
  return { ...started, s3 };
}

async function fill(s3: FaultyS3, keys: readonly string[]): Promise<void> {
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key }]));
}
