import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Client, type Pool } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { type FaultyS3, type ListLies, startFaultyS3 } from "./faulty-s3.ts";
import { createDatabase } from "./postgres.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import type { Scope } from "./scope.ts";

// What takes longer on this machine, without a network in between, does not come.
const PENDING_MS = 200;

describe("a faulty S3 server without rules", () => {
  test("stores, shows, copies and deletes objects as S3 does", async (t) => {
    const s3 = await startFaultyS3(t);
    const target = { Bucket: s3.bucket, Key: "a b/1&2.csv" };
    const { ETag } = await s3.client.send(new PutObjectCommand({ ...target, Body: "one" }));
    assert.equal(ETag, '"f97c5d29941bfb1b2fdab0874906ab82"');
    assert.equal(await read(s3, target.Key), "one");
    const head = await s3.client.send(new HeadObjectCommand(target));
    assert.deepEqual([head.ContentLength, head.ETag], [3, ETag]);

    await copy(s3, target.Key, "copy.csv");
    await s3.client.send(new DeleteObjectCommand(target));
    assert.deepEqual(await s3.keys(), ["copy.csv"]);
    await assert.rejects(read(s3, target.Key), { name: "NoSuchKey" });
    await assert.rejects(s3.client.send(new HeadObjectCommand(target)), { name: "NotFound" });
  });

  test("refuses what no longer has the ETag that was asked for", async (t) => {
    const s3 = await startFaultyS3(t);
    const target = { Bucket: s3.bucket, Key: "a.csv" };
    const etag = await s3.put(target.Key, "old");
    await s3.client.send(new GetObjectCommand({ ...target, IfMatch: etag }));
    await s3.put(target.Key, "new");
    const changed = { name: "PreconditionFailed" };
    await assert.rejects(
      s3.client.send(new GetObjectCommand({ ...target, IfMatch: etag })),
      changed,
    );
    await assert.rejects(copy(s3, target.Key, "b.csv", etag), changed);
  });

  test("lists page by page, folders once", async (t) => {
    const s3 = await startFaultyS3(t, { pageSize: 2 });
    for (const key of ["x/1.csv", "x/2.csv", "x/old/1.csv", "x/old/2.csv", "x/z.csv", "y.csv"]) {
      await s3.put(key, key);
    }
    const one = await list(s3, { Prefix: "x/", Delimiter: "/" });
    assert.deepEqual(one, { names: ["x/1.csv", "x/2.csv"], isTruncated: true, token: one.token });
    const two = await list(s3, { Prefix: "x/", Delimiter: "/", ContinuationToken: one.token });
    assert.deepEqual(two, { names: ["x/z.csv", "x/old/"], isTruncated: false, token: undefined });
    assert.deepEqual((await list(s3, { StartAfter: "x/z.csv" })).names, ["y.csv"]);
    assert.deepEqual((await list(s3, { MaxKeys: 1 })).names, ["x/1.csv"]);
  });

  test("shows the ETag of a multipart upload, which a copy does not keep", async (t) => {
    const s3 = await startFaultyS3(t);
    assert.match(await s3.put("a.csv", "one", { parts: 2 }), /-2"$/);
    await copy(s3, "a.csv", "b.csv");
    const copied = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: "b.csv" }));
    assert.doesNotMatch(copied.ETag ?? "", /-/);
  });

  test("keeps a log of the requests, and only of them", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "one");
    await list(s3, { Prefix: "a" });
    await copy(s3, "a.csv", "b.csv");
    assert.deepEqual(
      s3.requests.map(({ operation, method, key }) => [operation, method, key]),
      [
        ["list", "GET", "a"],
        ["copy", "PUT", "b.csv"],
      ],
    );
  });
});

describe("a rule of a faulty S3 server", () => {
  test("applies to its keys, as often as it says, and the first one alone", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "a");
    await s3.put("b.csv", "b");
    s3.fail({ operation: "get", key: /^a/, times: 1, does: 500 });
    s3.fail({ operation: "get", key: /^a/, times: 1, does: 503 });
    assert.equal(await read(s3, "b.csv"), "b");
    await assert.rejects(read(s3, "a.csv"), { name: "InternalError" });
    await assert.rejects(read(s3, "a.csv"), { name: "SlowDown" });
    assert.equal(await read(s3, "a.csv"), "a");
  });

  test("is forgotten when the server heals", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "a");
    s3.fail({ operation: "get", does: "reset" });
    await assert.rejects(read(s3, "a.csv"), { code: "ECONNRESET" });
    s3.heal();
    assert.equal(await read(s3, "a.csv"), "a");
  });

  test("can change the bucket before the request is served", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "old");
    s3.fail({ operation: "get", before: (key) => s3.put(key, "new") });
    assert.equal(await read(s3, "a.csv"), "new");
  });
});

describe("a listing can", () => {
  const cases: { name: string; lies: ListLies; first: Partial<Page>; second?: string[] }[] = [
    { name: "end early", lies: { endsAfter: 1 }, first: { names: ["1"], isTruncated: false } },
    { name: "hide keys", lies: { hides: /2/ }, first: { names: ["1", "3"], isTruncated: true } },
    {
      name: "omit the token",
      lies: { omitsToken: true },
      first: { isTruncated: true, token: undefined },
    },
    {
      name: "repeat a key",
      lies: { repeatsLastKey: true },
      first: { names: ["1", "2"] },
      second: ["2", "3"],
    },
    {
      name: "stay at a page",
      lies: { repeatsFirstPage: true },
      first: { names: ["1", "2"] },
      second: ["1", "2"],
    },
    {
      name: "reverse a page",
      lies: { reversesPage: true },
      first: { names: ["2", "1"] },
      second: ["4", "3"],
    },
  ];
  for (const { name, lies, first, second } of cases) {
    test(name, async (t) => {
      const s3 = await bucketOfFour(t);
      s3.fail({ operation: "list", does: lies });
      const page = await list(s3);
      assert.partialDeepStrictEqual(page, first);
      if (!second) return;
      assert.deepEqual((await list(s3, { ContinuationToken: page.token })).names, second);
    });
  }

  test("begin with the key that it should skip", async (t) => {
    const s3 = await bucketOfFour(t);
    s3.fail({ operation: "list", does: { startsWithStartAfter: true } });
    assert.deepEqual((await list(s3, { StartAfter: "2" })).names, ["2", "3"]);
  });

  test("take deleted keys for a reason to end, and go on behind the last key", async (t) => {
    const s3 = await bucketOfFour(t);
    await s3.remove("2");
    await s3.remove("3");
    s3.fail({ operation: "list", does: { countsDeleted: true } });
    assert.partialDeepStrictEqual(await list(s3), { names: ["1"], isTruncated: false });
    await s3.remove("1");
    assert.partialDeepStrictEqual(await list(s3), { names: [], isTruncated: false });
    assert.deepEqual((await list(s3, { StartAfter: "3" })).names, ["4"]);
  });

  test("show ETags without quotes, or none", async (t) => {
    const s3 = await startFaultyS3(t);
    const etag = await s3.put("a.csv", "a");
    s3.fail({ operation: "list", times: 1, does: { etags: "unquoted" } });
    s3.fail({ operation: "list", does: { etags: "missing" } });
    const etags = async () => {
      const page = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket }));
      return page.Contents?.map(({ ETag }) => ETag);
    };
    assert.deepEqual(await etags(), [etag.slice(1, -1)]);
    assert.deepEqual(await etags(), [undefined]);
  });
});

describe("a body can", () => {
  for (const then of ["close", "reset"] as const) {
    test(`break off: ${then}`, async (t) => {
      const s3 = await startFaultyS3(t);
      await s3.put("a.csv", "0123456789");
      s3.fail({ operation: "get", does: { sends: 4, then } });
      await assert.rejects(read(s3, "a.csv"), { code: "ECONNRESET" });
    });
  }

  test("be shorter than listed, with a Content-Length that says so", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    s3.fail({ operation: "get", does: { sends: 4, then: "shorten" } });
    assert.equal(await read(s3, "a.csv"), "0123");
  });

  test("come several times over, with no Content-Length, until nobody reads them", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    let sent = 0;
    const onSent = (bytes: number) => (sent += bytes);
    s3.fail({ operation: "get", times: 1, does: { repeats: 3, onSent } });
    assert.equal(await read(s3, "a.csv"), "0123456789".repeat(3));
    assert.equal(sent, 30);
  });

  test("come slowly", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    s3.fail({ operation: "get", does: { bytesAtOnce: 2, everyMs: 20 } });
    const start = Date.now();
    assert.equal(await read(s3, "a.csv"), "0123456789");
    assert.ok(Date.now() - start >= 80);
  });

  test("stall before the headers, after them, and amid the bytes", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    const get = new GetObjectCommand({ Bucket: s3.bucket, Key: "a.csv" });
    s3.fail({ operation: "get", times: 1, does: "stall" });
    await assertPending(s3.client.send(get));
    for (const sends of [0, 4]) {
      s3.fail({ operation: "get", times: 1, does: { sends, then: "stall" } });
      const { Body, ContentLength } = await s3.client.send(get);
      assert.equal(ContentLength, 10);
      await assertPending(Body?.transformToString());
    }
  });

  test("become another one half-way", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    s3.fail({
      operation: "get",
      times: 1,
      does: { sends: 4, then: (key) => s3.put(key, "abcdefghijkl") },
    });
    assert.equal(await read(s3, "a.csv"), "0123efghij");
    s3.fail({ operation: "get", does: { sends: 4, then: (key) => s3.put(key, "abcdef") } });
    await assert.rejects(read(s3, "a.csv"), { code: "ECONNRESET" });
  });
});

describe("an archive can be refused or lied to when it", () => {
  test("copies", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "one");
    s3.fail({ operation: "copy", times: 1, does: 500 });
    s3.fail({ operation: "copy", times: 1, does: "error in 200" });
    s3.fail({ operation: "copy", times: 1, does: { stores: "two" } });
    await assert.rejects(copy(s3, "a.csv", "b.csv"), { name: "InternalError" });
    await assert.rejects(copy(s3, "a.csv", "b.csv"), { name: "InternalError" });
    assert.deepEqual(await s3.keys(), ["a.csv"]);
    await copy(s3, "a.csv", "b.csv");
    assert.equal(String(await s3.get("b.csv")), "two");
  });

  test("looks at the copy", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "one");
    s3.fail({ operation: "head", does: { bytes: 2, etag: '"other"' } });
    const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: "a.csv" }));
    assert.deepEqual([head.ContentLength, head.ETag], [2, '"other"']);
  });

  test("deletes", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "one");
    const remove = () =>
      s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: "a.csv" }));
    s3.fail({ operation: "delete", times: 1, does: 403 });
    s3.fail({ operation: "delete", times: 1, does: "pretend" });
    await assert.rejects(remove(), { name: "AccessDenied" });
    await remove();
    assert.deepEqual(await s3.keys(), ["a.csv"]);
    await remove();
    assert.deepEqual(await s3.keys(), []);
  });
});

describe("a proxy", () => {
  test("keeps user, password and database of the address", async (t) => {
    const { url } = await startProxy(t, "postgres://u:p%40ss@[::1]/some_name?sslmode=disable");
    assert.match(url, /^postgres:\/\/u:p%40ss@127\.0\.0\.1:\d+\/some_name\?sslmode=disable$/);
  });

  test("passes bytes on, and the ends of connections", async (t) => {
    const { url, pool } = await createDatabase(t);
    const { client, pid } = await connectBy(await startProxy(t, url));
    const { rows } = await client.query("select length($1) as length", ["x".repeat(1_000_000)]);
    assert.deepEqual(rows, [{ length: 1_000_000 }]);
    await client.end();
    await eventually(async () => !(await isRunning(pool, pid)));
  });

  test("lets nothing through while frozen, and everything when thawed", async (t) => {
    const { url } = await createDatabase(t);
    const proxy = await startProxy(t, url);
    const { client } = await connectBy(proxy);
    proxy.freeze();
    const answer = client.query("select 1 as one");
    const connection = connectBy(proxy);
    await assertPending(answer);
    await assertPending(connection);
    proxy.thaw();
    assert.deepEqual((await answer).rows, [{ one: 1 }]);
    await connection;
  });

  test("hides from the server, while frozen, that the client has gone", async (t) => {
    const { url, pool } = await createDatabase(t);
    const proxy = await startProxy(t, url);
    const { client, pid } = await connectBy(proxy);
    proxy.freeze();
    await assertPending(client.end());
    assert.ok(await isRunning(pool, pid));
    proxy.thaw();
    await eventually(async () => !(await isRunning(pool, pid)));
  });

  test("resets connections, and takes new ones", async (t) => {
    const { url } = await createDatabase(t);
    const proxy = await startProxy(t, url);
    const { client } = await connectBy(proxy);
    const answer = client.query("select pg_sleep(60)");
    proxy.reset();
    await assert.rejects(answer, { code: "ECONNRESET" });
    await connectBy(proxy);
  });

  test("resets connections once, amid a COPY, after so many bytes", async (t) => {
    const { url, pool } = await createDatabase(t);
    await pool.query("create table public.copied (line text)");
    const proxy = await startProxy(t, url);
    const { client } = await connectBy(proxy);
    proxy.resetAfter(100_000);
    const rows = Readable.from(Array.from({ length: 1_000 }, () => "x".repeat(999) + "\n"));
    await assert.rejects(pipeline(rows, client.query(copyFrom("copy public.copied from stdin"))), {
      code: "ECONNRESET",
    });
    const { client: next } = await connectBy(proxy);
    assert.equal((await next.query("select from public.copied")).rowCount, 0);
  });

  test("refuses connections once it is closed", async (t) => {
    const { url } = await createDatabase(t);
    const proxy = await startProxy(t, url);
    const { client } = await connectBy(proxy);
    await proxy.close();
    await assert.rejects(client.query("select 1"));
    await assert.rejects(connectBy(proxy), { code: "ECONNREFUSED" });
  });

  test("stands in front of an S3 server as well", async (t) => {
    const s3 = await startFaultyS3(t);
    await s3.put("a.csv", "0123456789");
    const proxy = await startProxy(t, s3.endpoint);
    const get = async () => (await fetch(new URL(`${s3.bucket}/a.csv`, proxy.url))).text();
    assert.equal(await get(), "0123456789");
    proxy.resetAfter(10);
    await assert.rejects(get(), { message: "fetch failed" });
  });
});

interface Page {
  names: (string | undefined)[];
  isTruncated: boolean | undefined;
  token: string | undefined;
}

async function list(
  s3: FaultyS3,
  input: Omit<ListObjectsV2CommandInput, "Bucket"> = {},
): Promise<Page> {
  const page = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, ...input }));
  return {
    names: [
      ...(page.Contents ?? []).map(({ Key }) => Key),
      ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
    ],
    isTruncated: page.IsTruncated,
    token: page.NextContinuationToken,
  };
}

async function read(s3: FaultyS3, key: string): Promise<string | undefined> {
  const get = new GetObjectCommand({ Bucket: s3.bucket, Key: key });
  const { Body } = await s3.client.send(get);
  return Body?.transformToString();
}

async function copy(s3: FaultyS3, from: string, to: string, ifMatch?: string): Promise<void> {
  await s3.client.send(
    new CopyObjectCommand({
      Bucket: s3.bucket,
      Key: to,
      CopySource: encodeURI(`${s3.bucket}/${from}`),
      CopySourceIfMatch: ifMatch,
    }),
  );
}

/** A bucket with the keys 1 to 4, listed two by two. */
async function bucketOfFour(scope: Scope): Promise<FaultyS3> {
  const s3 = await startFaultyS3(scope, { pageSize: 2 });
  for (const key of ["1", "2", "3", "4"]) await s3.put(key, key);
  return s3;
}

/** A session by way of the proxy, which ends with it. */
async function connectBy({ url }: Proxy): Promise<{ client: Client; pid: number }> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {
    // the proxy breaks it off
  });
  await client.connect();
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const [{ pid }] = rows as [{ pid: number }];
  return { client, pid };
}

async function isRunning(pool: Pool, pid: number): Promise<boolean> {
  const { rowCount } = await pool.query("select from pg_stat_activity where pid = $1", [pid]);
  return rowCount === 1;
}

async function assertPending(promise: Promise<unknown> | undefined): Promise<void> {
  assert.equal(await Promise.race([promise, sleep(PENDING_MS, "pending")]), "pending");
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`not within 10 s: ${String(condition)}`);
    await sleep(20);
  }
}
