import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Client, escapeIdentifier } from "pg";
import type { ServerFacts } from "../src/api/diagnose.ts";
import { inspectConfig } from "../src/config.ts";
import type { Check } from "../src/check.ts";
import { examineClock } from "../src/doctor-store.ts";
import { examineGeocoder, examinePostgis, examineRights, examineVersion } from "../src/doctor.ts";
import { type ExitCode, exitCodes } from "../src/errors.ts";
import { describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { createEmbeddedDatabase } from "./harness/embedded.ts";
import { startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  changeKey,
  createServerDatabase,
  dumpOf,
  embeddedDatabase,
  startLoader,
} from "./harness/loader.ts";
import { createLogin } from "./harness/logins.ts";
import { createDatabase, createEmptyDatabase } from "./harness/postgres.ts";
import { startProxy } from "./harness/proxy.ts";
import type { Scope } from "./harness/scope.ts";

/** What the doctor says, with the exit code that it is to end with. */
async function examine(env: Record<string, string>, code: ExitCode): Promise<Check[]> {
  const args = ["doctor", "--json"];
  const result = await runCli(args, { env: { STALL_TIMEOUT: "5", ...env } });
  assert.equal(result.code, code, describeRun(args, result));
  const { checks, exit_code } = result.json as { checks: Check[]; exit_code: number };
  assert.equal(exit_code, code);
  for (const { check, status, cure } of checks) {
    assert.equal(cure !== null, status === "failed" || status === "warning", check);
  }
  return checks;
}

/** Those that failed, each as its name and cure. */
function failures(checks: readonly Check[]): { check: string; cure: string }[] {
  return checks.flatMap(({ check, status, cure }) =>
    status === "failed" ? [{ check, cure: cure ?? "" }] : [],
  );
}

function only<T>(things: readonly T[]): T {
  const [thing, ...others] = things;
  assert.ok(thing !== undefined && others.length === 0, JSON.stringify(things));
  return thing;
}

function named(checks: readonly Check[], name: string): Check {
  return only(checks.filter(({ check }) => check === name));
}

describe("the doctor finds nothing wrong", () => {
  test("where all is well, changes nothing, and says so in a line a check", async (t) => {
    const { db, s3, env, run } = await startLoader(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await s3.put(changeKey(1, "crq"), csvOf([{ ticket_id: "T1" }]));
    const url = await createLogin(t, db.url, { attributes: "in role fleettickets_loader" });
    await closeDatabase(t, db.url);
    const before = await db.look(dumpOf);
    const checks = await examine(
      { ...env, DATABASE_URL: url, GEOCODER_PROVIDER: "locationiq", GEOCODER_API_KEY: "a key" },
      exitCodes.done,
    );
    assert.deepEqual(
      checks.filter(({ status }) => status !== "ok"),
      [],
    );
    assert.deepEqual([await db.look(dumpOf), (await s3.keys()).length], [before, 2]);
    const { stdout } = await run(["doctor"]);
    for (const name of ["configuration", "database", "PostGIS", "schema", "rights", "bucket"]) {
      assert.match(stdout, new RegExp(`^ok +${name} `, "m"));
    }
  });

  test("in an embedded database", async (t) => {
    const { env } = await startLoader(t, async (scope) =>
      embeddedDatabase(await createEmbeddedDatabase(scope)),
    );
    assert.deepEqual(failures(await examine(env, exitCodes.done)), []);
  });
});

async function setOfDatabase(url: string, setting: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>("select current_database() as name");
    await client.query(`alter database ${escapeIdentifier(rows[0]?.name ?? "")} set ${setting}`);
  } finally {
    await client.end();
  }
}

/**
 * Does what the page on deploying recommends: an owner of its own, and no rights of all.
 *
 * @returns the address for the owner
 */
async function closeDatabase(t: Scope, url: string): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "../docs/how-to/deploy.md"), "utf8");
  const [changeOwner = "", revoke = ""] = [
    ...page.slice(page.indexOf("## Who may do what")).matchAll(/```sql\n(.*?)```/gs),
  ].map(([, statements]) => statements);
  const address = await createLogin(t, url);
  const owner = new URL(address).username;
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>("select current_database() as name");
    await client.query(changeOwner.replaceAll("fleettickets_owner", owner));
    await client.query(
      revoke.replaceAll("database fleettickets", `database ${rows[0]?.name ?? ""}`),
    );
  } finally {
    await client.end();
  }
  return address;
}

describe("the doctor finds, and knows the cure for", () => {
  test("a schema that belongs to a superuser, and rights that every role has", async (t) => {
    const { db, env } = await startLoader(t);
    const checks = await examine(env, exitCodes.done);
    assert.equal(named(checks, "owner").status, "warning");
    assert.match(named(checks, "rights of all").cure ?? "", /^As the owner: revoke connect on /);
    await closeDatabase(t, db.url);
    const after = await examine(env, exitCodes.done);
    for (const name of ["owner", "rights of all"]) assert.equal(named(after, name).status, "ok");
  });

  test("the same superuser, when he migrates", async (t) => {
    const { db } = await startLoader(t);
    const logOf = async (DATABASE_URL: string) => {
      const args = ["migrate"];
      const result = await runCli(args, { env: { DATABASE_URL } });
      assert.equal(result.code, exitCodes.done, describeRun(args, result));
      return result.stderr;
    };
    assert.match(await logOf(db.url), /a superuser, as whom its functions run/);
    const owner = await closeDatabase(t, db.url);
    assert.doesNotMatch(await logOf(owner), /superuser/);
  });

  test("a clock that somebody has stopped: exit code 3", async (t) => {
    const { db, env } = await startLoader(t);
    const url = new URL(db.url);
    url.searchParams.set("options", "-c tickets.now=2026-06-15T12:00:00Z");
    const stopped = async (DATABASE_URL: string) =>
      failures(await examine({ ...env, DATABASE_URL }, exitCodes.database)).map(
        ({ check }) => check,
      );
    assert.deepEqual(await stopped(url.href), ["test clock"]);
    await setOfDatabase(db.url, "tickets.now = '2026-06-15T12:00:00Z'");
    assert.deepEqual(await stopped(db.url), ["test clock"]);
  });

  test("a configuration that is not there: exit code 2", async () => {
    const found = failures(await examine({ LOG_LEVEL: "loud" }, exitCodes.usage));
    assert.deepEqual(
      found.map(({ check }) => check),
      ["configuration", "configuration", "configuration"],
    );
    for (const { cure } of found) assert.match(cure, /^set /);
  });

  test("a configuration that is wrong in part, and examines the rest", async (t) => {
    const { env } = await startLoader(t);
    const checks = await examine({ ...env, RUSTFS_SECRET_KEY: "" }, exitCodes.usage);
    assert.equal(named(checks, "bucket").status, "skipped");
    assert.equal(named(checks, "schema").status, "ok");
  });

  test("a database that does not answer: exit code 3", async (t) => {
    const { env } = await startLoader(t);
    const url = "postgres://nobody@127.0.0.1:1/nowhere";
    const checks = await examine({ ...env, DATABASE_URL: url }, exitCodes.database);
    assert.match(only(failures(checks)).cure, /DATABASE_URL/);
    assert.equal(named(checks, "bucket").status, "ok");
  });

  test("a database that falls silent", async (t) => {
    const { env, db } = await startLoader(t);
    const proxy = await startProxy(t, db.url);
    proxy.freeze();
    const silent = { ...env, DATABASE_URL: proxy.url, STALL_TIMEOUT: "1" };
    assert.match(only(failures(await examine(silent, exitCodes.database))).check, /^database$/);
  });

  test("a wrong password, which it does not repeat", async (t) => {
    const { env, db } = await startLoader(t);
    const url = new URL(
      await createLogin(t, db.url, { attributes: "in role fleettickets_loader" }),
    );
    url.password = "not-the-password";
    const checks = await examine({ ...env, DATABASE_URL: url.href }, exitCodes.database);
    assert.match(only(failures(checks)).cure, /password in DATABASE_URL/);
    assert.doesNotMatch(JSON.stringify(checks), /not-the-password/);
  });

  test("a database without PostGIS and without our schema", async (t) => {
    const { env } = await startLoader(t);
    const url = await createEmptyDatabase(t);
    const found = failures(await examine({ ...env, DATABASE_URL: url }, exitCodes.database));
    assert.deepEqual(
      found.map(({ check }) => check),
      ["PostGIS", "schema"],
    );
    assert.match(found[0]?.cure ?? "", /create extension postgis schema public/);
    assert.match(found[1]?.cure ?? "", /fleettickets migrate/);
  });

  test("a folder without an embedded database, which it does not make", async (t) => {
    const { env } = await startLoader(t);
    const { folder } = await createEmbeddedDatabase(t);
    const url = `pglite:${join(folder, "not-here")}`;
    for (const time of [1, 2]) {
      const checks = await examine({ ...env, DATABASE_URL: url }, exitCodes.database);
      assert.match(only(failures(checks)).cure, /fleettickets migrate/, `time ${time}`);
    }
  });

  test("a schema older than the program", async (t) => {
    const { env, pool } = await migrated(t);
    await pool.query(
      `delete from graphile_migrate.migrations
       where filename = (select max(filename) from graphile_migrate.migrations)`,
    );
    const found = only(failures(await examine(env, exitCodes.database)));
    assert.deepEqual([found.check, /fleettickets migrate/.test(found.cure)], ["schema", true]);
  });

  test("a schema from before it could be asked for its migrations", async (t) => {
    const { env, pool } = await migrated(t);
    await pool.query("drop function tickets.applied_migrations()");
    const found = only(failures(await examine(env, exitCodes.database)));
    assert.deepEqual([found.check, /fleettickets migrate/.test(found.cure)], ["schema", true]);
  });

  test("a schema newer than the program", async (t) => {
    const { env, pool } = await migrated(t);
    await pool.query(
      "insert into graphile_migrate.migrations (hash, filename) values ('sha1:0', '999999.sql')",
    );
    const found = only(failures(await examine(env, exitCodes.database)));
    assert.deepEqual([found.check, /update this one/.test(found.cure)], ["schema", true]);
  });

  test("a user who is no loader", async (t) => {
    const { env, url } = await migrated(t);
    const login = await createLogin(t, url);
    const checks = await examine({ ...env, DATABASE_URL: login }, exitCodes.database);
    const { check, cure } = only(failures(checks));
    const name = new URL(login).username;
    assert.deepEqual(
      [check, cure.includes(`grant fleettickets_loader to "${name}"`)],
      ["rights", true],
    );
  });

  test("nothing in a reader, whom it does not tell to become a loader", async (t) => {
    const { env, url } = await migrated(t);
    const login = await createLogin(t, url, { attributes: "in role fleettickets_reader" });
    const checks = await examine({ ...env, DATABASE_URL: login }, exitCodes.done);
    const { status, cure } = named(checks, "rights");
    assert.equal(status, "warning");
    assert.doesNotMatch(cure ?? "", /grant/);
  });

  test("which server and database it is that it looks at, without the password", async (t) => {
    const { env, url } = await migrated(t);
    const { host, pathname, password } = new URL(url);
    const place = `${host}${pathname}`;
    const dead = url.replace(/:\d+\//, ":1/");
    const found = await Promise.all([
      examine(env, exitCodes.done),
      examine({ ...env, DATABASE_URL: dead }, exitCodes.database),
    ]);
    const findings = found.map((checks) => named(checks, "database").finding);
    assert.ok(findings[0]?.includes(place), findings[0]);
    assert.ok(findings[1]?.includes(place.replace(/:\d+\//, ":1/")), findings[1]);
    assert.ok(password !== "" && !JSON.stringify(found).includes(password));
  });

  test("a loader's role that lacks its rights", async (t) => {
    const { env, url, pool } = await migrated(t);
    const login = await createLogin(t, url, { attributes: "in role fleettickets_loader" });
    await pool.query("revoke insert on tickets.crq_staging from fleettickets_loader");
    const checks = await examine({ ...env, DATABASE_URL: login }, exitCodes.database);
    const { check, cure } = only(failures(checks));
    assert.deepEqual([check, /fleettickets migrate/.test(cure)], ["rights", true]);
  });

  test("an object store that does not answer: exit code 4", async (t) => {
    const { env } = await migrated(t);
    const dead = { ...env, RUSTFS_ENDPOINT: "http://127.0.0.1:1" };
    assert.match(
      only(failures(await examine(dead, exitCodes.objectStore))).cure,
      /RUSTFS_ENDPOINT/,
    );
  });

  test("an object store that falls silent", async (t) => {
    const { env } = await migrated(t);
    const server = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(async () => {
      await new Promise((closed) => server.close(closed));
    });
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const silent = { ...env, RUSTFS_ENDPOINT: endpoint, STALL_TIMEOUT: "1" };
    assert.match(
      only(failures(await examine(silent, exitCodes.objectStore))).cure,
      /STALL_TIMEOUT/,
    );
  });

  test("a bucket that is not there", async (t) => {
    const { env } = await migrated(t);
    const wrong = { ...env, RUSTFS_BUCKET: "not-this-one" };
    assert.match(only(failures(await examine(wrong, exitCodes.objectStore))).cure, /RUSTFS_BUCKET/);
  });

  for (const operation of ["list", "get"] as const) {
    test(`a bucket whose objects may not be ${operation === "list" ? "listed" : "read"}`, async (t) => {
      const { url } = await createServerDatabase(t);
      const s3 = await startFaultyS3(t);
      await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
      s3.fail({ operation, does: 403 });
      const checks = await examine({ ...s3.env, DATABASE_URL: url }, exitCodes.objectStore);
      assert.match(only(failures(checks)).cure, /RUSTFS_ACCESS_KEY/);
    });
  }

  test("an object that comes without its bytes", async (t) => {
    const { url } = await createServerDatabase(t);
    const s3 = await startFaultyS3(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    s3.fail({ operation: "get", does: { sends: 0, then: "shorten" } });
    const checks = await examine({ ...s3.env, DATABASE_URL: url }, exitCodes.objectStore);
    assert.equal(only(failures(checks)).check, "reading");
  });

  test("a prefix with nothing below it, as a warning", async (t) => {
    const { env, s3 } = await migrated(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const checks = await examine(env, exitCodes.done);
    assert.equal(named(checks, "automations/inc/").status, "ok");
    assert.match(named(checks, "automations/crq/").cure ?? "", /RUSTFS_BUCKET/);
  });

  test("clocks that differ from this machine's", async (t) => {
    const { env } = await migrated(t);
    const anHourAhead = "const now = Date.now; Date.now = () => now() + 3_600_000";
    const RealDate =
      "const D = Date; Date = class extends D { constructor(...a) { a.length ? super(...a) : super(D.now()) } }";
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(`${anHourAhead}; ${RealDate}`)}`;
    const checks = await examine({ ...env, NODE_OPTIONS }, exitCodes.database);
    assert.deepEqual(
      failures(checks).map(({ check }) => check),
      ["database's clock", "store's clock"],
    );
    for (const { cure } of failures(checks)) assert.match(cure, /NTP/);
  });

  test("rows left over in staging, as a warning", async (t) => {
    const { env, pool } = await migrated(t);
    await pool.query("insert into tickets.inc_staging (ticket_id) values ('T1')");
    const checks = await examine(env, exitCodes.done);
    assert.match(named(checks, "staging of inc").cure ?? "", /apply_staged\('inc'\)/);
    assert.equal(named(checks, "staging of crq").status, "ok");
  });

  test("a lock that another session has, as a warning", async (t) => {
    const { env, connect } = await migrated(t);
    const other = await connect();
    await other.query("select tickets.start_run('inc')");
    const checks = await examine(env, exitCodes.done);
    assert.match(named(checks, "lock of inc").cure ?? "", /pg_terminate_backend\(\d+\)/);
    assert.equal(named(checks, "staging of inc").status, "skipped");
    assert.equal(named(checks, "staging of crq").status, "ok");
  });

  test("a geocoder without its key: exit code 7", async (t) => {
    const { env } = await migrated(t);
    const half = { ...env, GEOCODER_PROVIDER: "opencage" };
    assert.match(only(failures(await examine(half, exitCodes.geocoderRefused))).cure, /^set it/);
  });

  test("several things at once: the exit code is that of what a run would meet first", async () => {
    const env = {
      DATABASE_URL: "postgres://nobody@127.0.0.1:1/nowhere",
      RUSTFS_ENDPOINT: "http://127.0.0.1:1",
      RUSTFS_ACCESS_KEY: "key",
      RUSTFS_SECRET_KEY: "secret",
      GEOCODER_PROVIDER: "opencage",
    };
    assert.equal(failures(await examine(env, exitCodes.database)).length, 3);
  });
});

describe("the doctor judges", () => {
  const facts: ServerFacts = {
    version: "15.1",
    version_number: 150_001,
    postgis_version: "3.3.2",
    postgis_schema: "public",
    login: "cron",
    is_loader: true,
    is_reader: false,
    has_schema: true,
    is_standby: false,
    now: new Date(),
  };

  for (const [version, version_number, status] of [
    ["14.12", 140_012, "failed"],
    ["15.0", 150_000, "ok"],
    ["18.3", 180_003, "ok"],
    ["19beta1", 190_000, "warning"],
  ] as const) {
    test(`PostgreSQL ${version}: ${status}`, () => {
      const check = examineVersion({ ...facts, version, version_number }, "db:5432/tickets");
      assert.deepEqual([check.status, check.finding.includes("db:5432/tickets")], [status, true]);
    });
  }

  for (const [postgis_version, postgis_schema, status] of [
    ["3.2.9", "public", "failed"],
    ["3.3.0", "public", "ok"],
    ["3.6.1", "public", "ok"],
    ["4.0.0", "public", "ok"],
    ["3.3.2", "gis", "failed"],
    [null, null, "failed"],
  ] as const) {
    test(`PostGIS ${postgis_version ?? "missing"} in ${postgis_schema ?? "no schema"}: ${status}`, () => {
      const check = examinePostgis({ ...facts, postgis_version, postgis_schema });
      assert.equal(check.status, status);
    });
  }

  test("many missing rights in one line", () => {
    const { finding } = examineRights(facts, ["a", "b", "c", "d", "e"]);
    assert.match(finding, /a, b, c and 2 more$/);
  });

  test("a clock by five minutes", () => {
    const now = new Date();
    const after = (seconds: number) => new Date(now.getTime() + seconds * 1000);
    const judge = (seconds: number) =>
      examineClock("a clock", exitCodes.objectStore, after(seconds), now).status;
    assert.deepEqual([-301, -300, 0, 300, 301].map(judge), ["failed", "ok", "ok", "ok", "failed"]);
  });

  for (const [what, env, status] of [
    ["none", {}, "skipped"],
    ["one that is unknown", { GEOCODER_PROVIDER: "google" }, "failed"],
    ["a key missing", { GEOCODER_PROVIDER: "locationiq" }, "failed"],
    ["a Nominatim without its address", { GEOCODER_PROVIDER: "nominatim" }, "failed"],
    ["a Nominatim", { GEOCODER_PROVIDER: "nominatim", GEOCODER_URL: "http://n" }, "ok"],
    ["a provider with its key", { GEOCODER_PROVIDER: "opencage", GEOCODER_API_KEY: "k" }, "ok"],
  ] as const) {
    test(`a geocoder, ${what}: ${status}`, () => {
      const { config, problems } = inspectConfig(env, {}, ["geocoder if named"]);
      assert.equal(only(examineGeocoder(config.geocoder, problems)).status, status);
    });
  }
});

/** A database of a test's own with a bucket beside it. */
async function migrated(t: Parameters<typeof createDatabase>[0]) {
  const database = await createDatabase(t);
  const { env, s3 } = await startLoader(t, () =>
    Promise.resolve({ url: database.url, look: () => Promise.reject(new Error("not here")) }),
  );
  return { ...database, env, s3 };
}
