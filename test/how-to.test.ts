// The commands of the how-to guides, run as they stand there.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { chmodSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { Client } from "pg";
import { csvOf } from "./harness/csv.ts";
import { exampleExports } from "./harness/examples.ts";
import { findPostgres } from "./harness/find-postgres.ts";
import { type Query, changeKey, startLoader } from "./harness/loader.ts";
import { createEmptyDatabase } from "./harness/postgres.ts";
import type { Scope } from "./harness/scope.ts";

const ROOT = join(import.meta.dirname, "..");

/** The fenced blocks of a page that are in this language. */
function blocksOf(page: string, language: "sh" | "sql" | ""): string[] {
  const text = readFileSync(join(ROOT, "docs/how-to", page), "utf8");
  return Array.from(text.matchAll(/^```(\w*)\n(.*?)^```$/gms)).flatMap(([, found, block = ""]) =>
    found === language ? [block] : [],
  );
}

/** The one block that has this text in it. */
function blockWith(page: string, language: "sh" | "sql" | "", text: string): string {
  const [block, ...others] = blocksOf(page, language).filter((b) => b.includes(text));
  assert.ok(block !== undefined && others.length === 0, `${page}: ${text}`);
  return block;
}

/** A shell as the pages have it: the program and psql at hand, in a folder of its own. */
async function openShell(scope: Scope, env: Record<string, string>) {
  const cwd = await mkdtemp(join(tmpdir(), "fleettickets-how-to-"));
  scope.after(() => rm(cwd, { recursive: true }));
  symlinkSync(join(ROOT, "src/fleettickets.js"), join(cwd, "fleettickets"));
  writeFileSync(join(cwd, "npx"), '#!/bin/sh\nexec "$@"\n');
  chmodSync(join(cwd, "npx"), 0o755);
  const { PATH, HOME } = process.env;
  const path = [cwd, join(process.execPath, ".."), findPostgres().binDir, PATH].join(":");

  return async (script: string, code = 0): Promise<string> => {
    const result = await promisify(execFile)("bash", ["-euc", script], {
      cwd,
      env: { PATH: path, HOME, ...env },
    }).catch((error: unknown) => error as { code: number; stdout: string; stderr: string });
    const ended = "code" in result ? result.code : 0;
    assert.equal(ended, code, `${script}\n${result.stdout}\n${result.stderr}`);
    return result.stdout;
  };
}

/** What the schema holds that comes out of the exports alone. */
async function contentOf(query: Query): Promise<unknown> {
  return [
    await query(
      `select t.dataset, t.ticket_id, t.raw, t.source_key, t.exported_at
       from tickets.ticket as t order by t.dataset, t.ticket_id`,
    ),
    await query(
      `select r.dataset, r.source_key, r.line, r.reason, r.raw
       from tickets.rejected_rows as r order by 1, 2, 3`,
    ),
    await query(
      `select e.dataset, e.ticket_id, e.closed_at, e.source_key
       from tickets.closure_events as e order by 1, 2, 3`,
    ),
    await query(
      `select f.dataset, f.source_key, f.status, f.staged, f.inserted, f.updated, f.closures
       from tickets.ingest_files as f order by 1, 2`,
    ),
  ];
}

describe("restore after losing the server", () => {
  const page = "restore-after-losing-the-server.md";

  test("from a dump, with what was loaded after it", async (t) => {
    const { db, s3, env, run } = await startLoader(t);
    const exports = exampleExports("inc");
    for (const { key, body } of exports.slice(0, 4)) await s3.put(key, body);
    await run(["ingest", "all", "--apply"]);
    const OWNER = await createEmptyDatabase(t);
    const shell = await openShell(t, { ...env, OWNER });
    await shell(blockWith(page, "sh", "pg_dump"));
    for (const { key, body } of exports.slice(4)) await s3.put(key, body);
    await run(["ingest", "all", "--apply"]);
    const before = await db.look(contentOf);

    await shell(`psql -qd "$OWNER" -c 'create extension postgis schema public'`);
    await shell(blockWith(page, "sh", "pg_restore"));
    await copyArchiveBack(s3);
    await shell(`export DATABASE_URL="$OWNER"\n${blockWith(page, "sh", "ingest all --apply")}`);
    assert.deepEqual(await lookAt(OWNER, contentOf), before);
    assert.deepEqual(await s3.keys("automations/inc/changes/"), []);
  });

  test("from the archive alone", async (t) => {
    const { db, s3, env, run } = await startLoader(t);
    for (const { key, body } of exampleExports("inc")) await s3.put(key, body);
    await run(["ingest", "all", "--apply"]);
    const before = await db.look(contentOf);
    const archived = await s3.keys();

    const OWNER = await createEmptyDatabase(t);
    const shell = await openShell(t, { ...env, OWNER });
    const migrate = blocksOf(page, "sh").find(
      (block) => !block.includes("pg_restore") && block.includes("migrate"),
    );
    await shell(migrate ?? assert.fail());
    await copyArchiveBack(s3);
    await shell(`export DATABASE_URL="$OWNER"\n${blockWith(page, "sh", "ingest all --apply")}`);
    assert.deepEqual(await lookAt(OWNER, contentOf), before);
    assert.deepEqual(await s3.keys(), archived);
  });

  /** As `aws s3 cp --recursive` would. */
  async function copyArchiveBack(s3: Awaited<ReturnType<typeof startLoader>>["s3"]): Promise<void> {
    const [, from = "", to = ""] =
      /s3:\/\/isptickets\/(\S+) s3:\/\/isptickets\/(\S+)/.exec(blockWith(page, "", "aws ")) ?? [];
    assert.match(from, /processed\/$/);
    for (const key of await s3.keys(from)) {
      await s3.put(to + key.slice(from.length), await s3.get(key));
    }
  }
});

test("move from the Python version: its rows come over, and nothing else changes them", async (t) => {
  const page = "move-from-the-python-version.md";
  const { db, s3, env } = await startLoader(t);
  const shell = await openShell(t, env);
  const psql = (sql: string) =>
    shell(`psql -qAtd "$DATABASE_URL" -v ON_ERROR_STOP=1 <<'SQL'\n${sql}\nSQL`);
  await psql(`create table public.inc (ticket_id text primary key, raw jsonb not null);
    insert into public.inc
    select 'T' || n, jsonb_build_object(
      'ticket_id', 'T' || n, 'raw_status', 'Open', 'mttr', n, 'closed_at', '2026-06-14 10:00:00',
      'site_code', 'NBO-' || n
    )
    from generate_series(1, 20) as n`);
  await shell(blockWith(page, "sh", "migrate"));
  assert.equal((await psql(blockWith(page, "sql", "jsonb_object_keys"))).trim(), "site_code");
  assert.equal((await psql(blockWith(page, "sql", "apply_staged"))).trim(), "inc|20|0|0|20");
  assert.equal((await psql(blockWith(page, "sql", "full join"))).trim(), "");

  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1", raw_status: "CLOSED" }]));
  await shell(blockWith(page, "sh", "ingest all --apply"));
  const rows = await db.look((query) =>
    query(
      "select t.ticket_id, t.raw_status, t.mttr from tickets.inc as t where t.ticket_id in ('T1', 'T2') order by 1",
    ),
  );
  assert.deepEqual(rows, [
    { ticket_id: "T1", raw_status: "CLOSED", mttr: null },
    { ticket_id: "T2", raw_status: "OPEN", mttr: 2 },
  ]);
});

test("monitor: every command answers, and the alert tells what is old", async (t) => {
  const page = "monitor.md";
  const { s3, env, run } = await startLoader(t);
  const shell = await openShell(t, env);
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  await run(["ingest", "all", "--apply"]);
  const [status = "", alert = "", json = "", doctor = "", ...others] = blocksOf(page, "sh");
  assert.deepEqual(others, []);
  assert.match(await shell(status), /^INC /m);
  assert.match(await shell(alert), /Older than 2 h: INC, CRQ/);
  assert.match(await shell(json), /^inc \d+$/m);
  assert.match(await shell(doctor), /^ok +bucket/m);
  const sql = blocksOf(page, "sql").join("");
  assert.match(await shell(`psql -Atd "$DATABASE_URL" <<'SQL'\n${sql}\nSQL`), /^inc\|/m);
});

test("load a file by hand: copied and applied in psql, and dropped from staging", async (t) => {
  const page = "load-a-file-by-hand.md";
  const { env } = await startLoader(t);
  const shell = await openShell(t, env);
  await shell("printf 'ticket_id,owner\\nT1,Ann\\nT2,Ben\\n' >f.csv");
  const psql = (sql: string) => shell(`psql -qAtd "$DATABASE_URL" <<'SQL'\n${sql}\nSQL`);
  const first = blocksOf(page, "").find((block) => block.startsWith("\\copy")) ?? assert.fail();
  const applied = await psql(first.replace("<the file's columns>", "ticket_id, owner"));
  assert.match(applied, /^inc\|manual:[^|]*\|2\|/m);
  await shell(blockWith(page, "", "a dry run"));
});

test("add a dataset: it is loaded like the others", async (t) => {
  const page = "add-a-dataset.md";
  const { s3, env, run } = await startLoader(t);
  const shell = await openShell(t, env);
  await shell(
    `psql -qd "$DATABASE_URL" --single-transaction -v ON_ERROR_STOP=1 <<'SQL'\n${blocksOf(page, "sql").join("")}\nSQL`,
  );
  await s3.put(changeKey(1).replace("inc", "noc"), csvOf([{ ticket_id: "N1" }]));
  await run(["ingest", "noc", "--apply"]);
  assert.match((await run(["status"])).stdout, /^NOC /m);
  await run(["doctor"]);
});

test("cut over to another bucket: tried without changing the configuration", async (t) => {
  const page = "cut-over-to-another-bucket.md";
  const { s3, env, run } = await startLoader(t);
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  await run(["ingest", "inc", "--apply", "--no-archive"]);
  const shell = await openShell(t, { ...env, RUSTFS_BUCKET: "the-old-one" });
  const commands = readFileSync(join(ROOT, "docs/how-to", page), "utf8").match(
    /^\$ npx fleettickets .*--bucket .*$/gm,
  );
  assert.equal(commands?.length, 2);
  for (const command of commands) {
    await shell(command.slice(2).replace("--bucket fieldops", `--bucket ${s3.bucket}`));
  }
});

describe("deploy", () => {
  const page = "deploy.md";

  test("the crontab lines load, print nothing, and tell of what went wrong", async (t) => {
    const { s3, env } = await startLoader(t);
    const shell = await openShell(t, env);
    const lines = blocksOf(page, "")
      .join("")
      .match(/^\*\/20 6-20 \* \* \* cd .*ingest (all|inc|crq).*$/gm);
    assert.equal(lines?.length, 3);
    for (const line of lines) {
      const command = line.replace("*/20 6-20 * * * cd /srv/fleettickets && ", "");
      assert.equal(await shell(command), "");
      await s3.put("automations/inc/changes/2026-06-15T09-00-00.csv", `no csv for ${line}`);
      const isOfInc = !line.includes("ingest crq");
      assert.equal(/ended with 6/.test(await shell(command)), isOfInc, line);
      await s3.remove("automations/inc/changes/2026-06-15T09-00-00.csv");
    }
  });

  test("systemd takes the units as they stand there", async (t) => {
    const units = Array.from(
      readFileSync(join(ROOT, "docs/how-to", page), "utf8").matchAll(
        /^`\/etc\/systemd\/system\/(fleettickets\S*)`:\n\n```ini\n(.*?)^```$/gms,
      ),
    );
    assert.equal(units.length, 2);
    const folder = await mkdtemp(join(tmpdir(), "fleettickets-units-"));
    t.after(() => rm(folder, { recursive: true }));
    for (const [, name = "", text = ""] of units) {
      // The program and its user are not there on the machine of a test.
      const here = text
        .replaceAll("/usr/local/bin/fleettickets", process.execPath)
        .replace(/^User=.*$/m, "User=root")
        .replace(/^WorkingDirectory=.*$/m, "WorkingDirectory=/");
      writeFileSync(join(folder, name), here);
    }
    try {
      execFileSync("systemd-analyze", ["--version"], { stdio: "ignore" });
    } catch {
      t.skip("there is no systemd-analyze");
      return;
    }
    const { stderr } = await promisify(execFile)("systemd-analyze", [
      "verify",
      "--recursive-errors=no",
      ...units.map(([, name = ""]) => join(folder, name.replace("@.", "@inc."))),
    ]).catch((error: unknown) => error as { stderr: string });
    assert.deepEqual(
      stderr.split("\n").filter((line) => line.includes("fleettickets")),
      [],
    );
  });
});

async function lookAt<T>(url: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(async <Row>(text: string, values: readonly unknown[] = []) => {
      const { rows } = await client.query(text, [...values]);
      return rows as Row[];
    });
  } finally {
    await client.end();
  }
}
