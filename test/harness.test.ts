import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { PGlite } from "@electric-sql/pglite";
import { postgis } from "@electric-sql/pglite-postgis";
import { Client } from "pg";
import { describeRun, runCli } from "./harness/cli.ts";
import { createEmbeddedDatabase } from "./harness/embedded.ts";
import { createDatabase, startCluster, startStandby } from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";

describe("a test database", () => {
  test("is a copy of the migrated template", async (t) => {
    const { pool } = await createDatabase(t);
    const { rows } = await pool.query(
      "select to_regnamespace('tickets') is not null as migrated, postgis_version() as postgis",
    );
    assert.equal(rows[0].migrated, true);
    assert.match(rows[0].postgis, /^3/);
  });

  test("shares nothing with another one", async (t) => {
    const [one, other] = await Promise.all([createDatabase(t), createDatabase(t)]);
    await one.pool.query("create table public.only_here ()");
    const { rows } = await other.pool.query("select to_regclass('public.only_here') as found");
    assert.equal(rows[0].found, null);
  });

  test("forgets what was done in a rolled-back transaction", async (t) => {
    const { pool, rolledBack } = await createDatabase(t);
    await rolledBack((client) => client.query("create table public.passing ()"));
    const { rows } = await pool.query("select to_regclass('public.passing') as found");
    assert.equal(rows[0].found, null);
  });

  test("is dropped at the end of its scope", async (t) => {
    const cleanUps: (() => Promise<void>)[] = [];
    const { url } = await createDatabase({ after: (cleanUp) => cleanUps.push(cleanUp) });
    for (const cleanUp of cleanUps) await cleanUp();
    const { pool } = await createDatabase(t);
    const { rowCount } = await pool.query("select from pg_database where datname = $1", [
      new URL(url).pathname.slice(1),
    ]);
    assert.equal(rowCount, 0);
  });
});

describe("a cluster of its own", () => {
  test("does not run as root", async (t) => {
    const cluster = await startCluster();
    t.after(cluster.stop);
    // PostgreSQL wants its data directory to belong to whom it runs as.
    assert.notEqual(statSync(cluster.dataDir).uid, 0);
  });

  test("keeps what was committed over kill9 and start, and nothing else", async (t) => {
    const cluster = await startCluster();
    t.after(cluster.stop);
    const before = await clientOf(cluster.url);
    await before.query("create table public.kept (n int)");
    await before.query("insert into public.kept values (1)");
    await before.query("begin");
    await before.query("insert into public.kept values (2)");

    await cluster.kill9();
    await assert.rejects(clientOf(cluster.url), { code: "ECONNREFUSED" });
    await cluster.start();

    const after = await clientOf(cluster.url);
    t.after(() => after.end());
    const { rows } = await after.query("select n from public.kept");
    assert.deepEqual(rows, [{ n: 1 }]);
  });

  test("is removed by stop", async () => {
    const cluster = await startCluster();
    await cluster.stop();
    assert.equal(existsSync(dirname(cluster.dataDir)), false);
    await assert.rejects(clientOf(cluster.url), { code: "ECONNREFUSED" });
  });

  test("is removed when the process that started it is killed", async () => {
    const module = new URL("harness/postgres.ts", import.meta.url).href;
    const script = `
      const { startCluster } = await import(${JSON.stringify(module)});
      const { url, dataDir } = await startCluster();
      console.log(JSON.stringify({ url, dataDir }));
      setInterval(() => {}, 1000);
    `;
    const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface(owner.stdout), "line")) as [string];
    const { url, dataDir } = JSON.parse(line) as { url: string; dataDir: string };
    owner.kill("SIGKILL");
    await eventually(() => !existsSync(dirname(dataDir)));
    await assert.rejects(clientOf(url), { code: "ECONNREFUSED" });
  });
});

test("a standby has what its cluster has, and what comes to it, and takes no writes", async (t) => {
  const cluster = await startCluster({ durable: false });
  t.after(cluster.stop);
  const primary = await clientOf(cluster.url);
  await primary.query("create table public.followed as select 1 as n");
  const standby = await startStandby(cluster);
  t.after(standby.stop);
  const follower = await clientOf(standby.url);
  t.after(() => follower.end());

  await primary.query("insert into public.followed values (2)");
  await primary.end();
  await eventually(async () => (await follower.query("select from followed")).rowCount === 2);
  await assert.rejects(follower.query("delete from public.followed"), { code: "25006" });
});

describe("an S3 fixture", () => {
  test("stores, lists, returns and removes objects", async (t) => {
    const s3 = await startS3(t);
    await s3.put("b/2.csv", "two");
    await s3.put("b/1.csv", "one");
    await s3.put("a.csv", "");
    assert.deepEqual(await s3.keys("b/"), ["b/1.csv", "b/2.csv"]);
    assert.equal(String(await s3.get("b/2.csv")), "two");
    await s3.remove("b/1.csv");
    assert.deepEqual(await s3.keys(), ["a.csv", "b/2.csv"]);
  });

  test("takes objects larger than one request may be", async (t) => {
    const s3 = await startS3(t);
    const body = Buffer.alloc(20_000_001, "0123456789");
    await s3.put("large.csv", body);
    assert.ok(body.equals(await s3.get("large.csv")));
  });

  test("shares nothing with another one", async (t) => {
    const [one, other] = await Promise.all([startS3(t), startS3(t)]);
    await one.put("a.csv", "only here");
    assert.deepEqual(await other.keys(), []);
  });
});

test("an embedded database is a copy of the migrated folder that shares nothing", async (t) => {
  const [one, other] = [await createEmbeddedDatabase(t), await createEmbeddedDatabase(t)];
  await inEmbedded(one.folder, "create table public.only_here ()");
  const rows = await inEmbedded(
    other.folder,
    `select to_regclass('public.only_here') as found,
            to_regnamespace('tickets') is not null as migrated,
            postgis_version() as postgis`,
  );
  assert.equal(rows[0]?.["found"], null);
  assert.equal(rows[0]?.["migrated"], true);
  assert.match(String(rows[0]?.["postgis"]), /^3/);
});

test("the command line runs to its end and says how it ended", async () => {
  const result = await runCli(["--help"]);
  assert.equal(result.code, 0, describeRun(["--help"], result));
  assert.match(result.stdout, /Usage: fleettickets/);
});

describe("the runner", () => {
  test("fails when no file matches", async () => {
    const { code, stderr } = await runRunner("test/no-such-file.test.ts");
    assert.equal(code, 1);
    assert.match(stderr, /no test file matches/);
  });

  test("fails when no test ran", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "fleettickets-runner-"));
    t.after(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "empty.test.ts"), "");
    const { code, stderr } = await runRunner(join(folder, "empty.test.ts"));
    assert.equal(code, 1);
    assert.match(stderr, /no test ran/);
  });
});

async function clientOf(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {
    // the server is killed under it
  });
  await client.connect();
  return client;
}

async function inEmbedded(folder: string, statement: string): Promise<Record<string, unknown>[]> {
  const database = await PGlite.create(folder, { extensions: { postgis } });
  try {
    const { rows } = await database.query<Record<string, unknown>>(statement);
    return rows;
  } finally {
    await database.close();
  }
}

async function runRunner(file: string): Promise<{ code: number | null; stderr: string }> {
  const { PATH, TEST_SERVER_URL } = process.env;
  const runner = spawn(
    process.execPath,
    [fileURLToPath(new URL("run.ts", import.meta.url)), file],
    {
      env: { PATH, TEST_DATABASE_URL: TEST_SERVER_URL },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const [stderr, [code]] = await Promise.all([
    text(runner.stderr),
    once(runner, "close") as Promise<[number | null]>,
  ]);
  return { code, stderr };
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`not within 20 s: ${String(condition)}`);
    await sleep(50);
  }
}
