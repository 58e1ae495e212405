// The how-to guides, walked through word by word.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { Client } from "pg";
import { sampleFiles } from "../src/commands/demo.ts";
import { exitCodes } from "../src/errors.ts";
import { createAuthority } from "./harness/certificates.ts";
import { type Row, csvOf } from "./harness/csv.ts";
import { dialects, startGeocoder } from "./harness/geocoder.ts";
import { type Loader, type Query, startLoader } from "./harness/loader.ts";
import { startPgbouncer } from "./harness/pgbouncer.ts";
import { createEmptyDatabase, startCluster } from "./harness/postgres.ts";
import type { Scope } from "./harness/scope.ts";
import { type Shell, openShell } from "./harness/shell.ts";
import { says, walk } from "./harness/walkthrough.ts";

const FOLDER = "docs/how-to";
const ROOT = join(import.meta.dirname, "..");
const LAST_EXPORT = "automations/inc/changes/2026-06-15T08-00-00.csv";

/** What each page wants around it. */
const pages: Record<string, (t: TestContext, page: string) => Promise<void>> = {
  async "add-a-dataset.md"(t, page) {
    const { s3, shell } = await startDemo(t);
    await s3.put(LAST_EXPORT.replace("inc", "noc"), lastExport());
    await walk(page, { shell });
    assert.match(await shell.output("fleettickets status"), /^NOC /m);
    await shell.output("fleettickets doctor");
  },

  async "cut-over-to-another-bucket.md"(t, page) {
    const { s3, env, run } = await startLoader(t);
    for (const { key, body } of sampleFiles()) {
      if (key.includes("/inc/") && key <= LAST_EXPORT) await s3.put(key, body);
    }
    await run(["ingest", "inc", "--apply", "--no-archive"]);
    await s3.put(LAST_EXPORT.replace("08-00", "08-40"), lastExport("08:40:00"));
    const shell = await openShell(t, { ...env, RUSTFS_BUCKET: "the-old-one" });
    await walk(page, { shell, names: { fieldops: s3.bucket } });
  },

  async "deploy.md"(t, page) {
    // Of its own, because the page makes roles that other databases have, too.
    const cluster = await startCluster({ durable: false });
    t.after(cluster.stop);
    const { s3, env } = await startLoader(t);
    const shell = await openShell(t, { ...env, DATABASE_URL: cluster.url });
    const units: string[] = [];

    async function tryCrontab(lines: string): Promise<void> {
      const key = LAST_EXPORT;
      for (const line of lines.trimEnd().split("\n")) {
        const command = line.replace("*/20 6-20 * * * cd /srv/fleettickets && ", "");
        assert.notEqual(command, line);
        const here = `DATABASE_URL='${env["DATABASE_URL"]}'; ${command}`;
        assert.equal(await shell.output(here), "");
        await s3.put(key, `no csv for ${line}`);
        const isOfInc = !line.includes("ingest crq");
        const output = await shell.output(here);
        assert.equal(/^fleettickets .*ended with 6$/m.test(output), isOfInc, line + output);
        await s3.remove(key);
      }
    }

    await walk(page, {
      shell,
      names: { "@db/": `@${new URL(cluster.url).host}/`, "…": "secret" },
      notes: [
        {
          at: "grant fleettickets_reader to dashboard",
          before: () => shell.output(`psql "$DATABASE_URL" -c 'create role dashboard'`),
        },
        {
          at: "create role fleettickets_loader",
          before: () =>
            shell.output(`psql "$DATABASE_URL" -c 'drop database fleettickets' \\
              -c 'drop role fleettickets_loader' -c 'drop role fleettickets_reader'`),
        },
        { at: "alter database %I", notRun: "test/doctor.test.ts runs it" },
        { at: "revoke connect", notRun: "test/doctor.test.ts runs it" },
        { at: "git clone", notRun: "there is a checkout already" },
        { at: "npm ci", notRun: "its packages are installed" },
        { at: "ingest all --apply >>", does: tryCrontab },
        { at: "ingest inc --apply >>", does: tryCrontab },
        { at: "[Service]", does: (text) => units.push(text) },
        { at: "[Timer]", does: (text) => units.push(text) },
        { at: "systemctl", notRun: "it would change the machine" },
        ...["build", "run", "exec", "compose up", "compose exec"].map((command) => ({
          at: `docker ${command}`,
          notRun: "Docker may not be there",
        })),
      ],
    });
    await verifyUnits(t, units);
  },

  async "develop.md"(t, page) {
    const shell = await openShell(t);
    const current = join(shell.folder, "current.sql");
    const committed = () => globSync("migrations/committed/*.sql", { cwd: shell.folder }).sort();
    const before = committed();
    let server = "";
    await walk(page, {
      shell,
      notes: [
        { at: "npm ci", notRun: "the packages are installed" },
        { at: "npm test", notRun: "this is one of the tests" },
        {
          at: "npm run watch",
          ready: /Running current\.sql[^]*Finished/,
          until: "commit",
          check: (output) => {
            server = /postgres:\/\/[^']+/.exec(output)?.[0] ?? assert.fail();
          },
        },
        {
          at: "--!include",
          async does(text, watch) {
            writeFileSync(current, text);
            await watch?.until(/(Running current\.sql[^]*Finished[^]*){2}/);
          },
        },
        {
          at: "commit --message",
          before: () =>
            assert.rejects(
              lookAt(server, () => Promise.resolve()),
              /ECONNREFUSED/,
            ),
        },
        { at: "npm run schema", notRun: "drift.test.ts does it" },
        { at: "git add", notRun: "there is no repository" },
        { at: "eat_ts.test.ts", notRun: "it runs beside this one" },
        { at: "test/sql/*.test.ts", notRun: "they run beside this one" },
      ],
    });
    const [added = "", ...others] = committed().filter((file) => !before.includes(file));
    assert.deepEqual(others, []);
    const text = readFileSync(join(shell.folder, added), "utf8");
    assert.match(text, /create or replace view tickets\.overview/);
    assert.doesNotMatch(readFileSync(current, "utf8"), /overview/);
  },

  async "geocode-and-review.md"(t, page) {
    const points: Record<string, [number, number]> = {
      Kilimani: [-1.2906, 36.7873],
      Westlands: [-1.2683, 36.8111],
      Syokimau: [-1.363, 36.934],
      Rongai: [-0.1736, 35.8622],
      Kasarani: [-1.2217, 36.8969],
      Pipeline: [-1.3167, 36.8934],
      "Quarry Road": [-1.2839, 36.8417],
      "Mirema Drive": [-1.217, 36.892],
      "Delta Towers": [-1.261, 36.803],
      "Juja Farm": [-1.133, 37.048],
      "Argwings Kodhek": [-1.2921, 36.7842],
      "RONGAI Rose Avenue": [-1.2921, 36.7517],
      Embakasi: [-1.32, 36.9],
      Karen: [-1.32, 36.71],
      Langata: [-1.36, 36.75],
      Ruaka: [-1.21, 36.78],
      Thika: [-1.04, 37.07],
    };
    const { shell } = await startDemo(t);
    const speak = dialects.locationiq;
    const geocoder = await startGeocoder(t, (question) => {
      const place = Object.keys(points).find((name) => question.startsWith(name));
      return place === undefined ? speak.noMatch() : speak.found(...(points[place] ?? [0, 0]));
    });
    await shell.output(`export GEOCODER_PROVIDER=locationiq GEOCODER_API_KEY=key GEOCODER_RPS=1000
      export GEOCODER_URL=${geocoder.url}`);
    await walk(page, {
      shell,
      notes: [
        {
          at: "30 21 * * *",
          does: (line) => shell.output(line.replace(/^.* && (?=npx .* && )/, "")),
        },
        {
          at: "from tickets.geocoder_services",
          // The server of the test is none that the page knows.
          before: () =>
            shell.output(`psql "$DATABASE_URL" -c 'delete from tickets.geocoder_services
              where service = $$${geocoder.host}$$'`),
        },
      ],
    });
  },

  async "load-a-file-by-hand.md"(t, page) {
    const { env } = await startLoader(t);
    const shell = await openShell(t, env);
    const columns = ["ticket_id", "raw_status", "cluster", "assigned_team", "owner"];
    const known = (n: number): Row => ({
      ticket_id: `T${n}`,
      raw_status: "Open",
      cluster: "Karen",
    });
    const blank = { raw_status: "Open", cluster: "Kasarani", owner: "tech6@isp.example" };
    const rows = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, index) => known(from + index));
    const write = (content: readonly Row[], header = columns) => {
      writeFileSync(join(shell.folder, "f.csv"), csvOf(content, header));
    };
    const psql = async (...commands: string[]) => {
      const options = commands.map((command) => `-c '${command}'`).join(" ");
      return (await shell.run(`psql "$DATABASE_URL" ${options}`)).output;
    };
    const copy = (list = columns) =>
      `\\copy tickets.inc_staging (${list.join()}) from f.csv with (format csv, header match)`;
    const three = columns.slice(0, 3);
    const withRejected = async () => {
      write([known(1), known(2), blank, known(3)]);
      await psql(copy());
    };
    write(rows(1, 10));
    await walk(page, {
      shell,
      names: { "<the file's columns>": columns.join() },
      notes: [
        {
          at: "COPY 12",
          before: () => {
            const changed = [9, 10].map((n) => ({ ...known(n), owner: "Ann" }));
            write([known(1), known(2), blank, ...rows(3, 8), ...changed, known(11)]);
          },
        },
        {
          at: "set tickets.source_key",
          before: () => {
            write([known(1), known(2), known(12)], three);
          },
        },
        {
          at: "missing data",
          prints: () => {
            const csv = "ticket_id,raw_status,cluster\nT1,Open,Karen\n";
            const sentinel = "EXPORT STOPPED: row limit reached\n";
            writeFileSync(join(shell.folder, "f.csv"), csv + sentinel);
            return psql(copy(three));
          },
        },
        {
          at: "from program",
          check: async () => {
            assert.match(await psql("select staged from tickets.apply_staged()"), /^ +1$/m);
          },
        },
        { at: "1 of 4 rows rejected", before: withRejected },
        { at: "max_rejected_share = 0.5", before: withRejected },
        {
          at: "another run",
          async prints() {
            await psql(copy());
            return psql(
              `select tickets.start_run($$inc$$)`,
              `\\! psql "$DATABASE_URL" -c "select * from tickets.apply_staged()"`,
            );
          },
        },
      ],
    });
  },

  async "look-at-tickets.md"(t, page) {
    const { shell } = await startDemo(t);
    await walk(page, {
      shell,
      names: { "fleettickets preview": "fleettickets preview --port 0" },
      varies: [/\d+(?= tickets)/g, /[\d.]+(?= MB)/g],
      notes: [
        { at: "npx fleettickets preview", ready: /Ctrl-C/ },
        { at: "PREVIEW_STYLE_URL", ready: /Ctrl-C/ },
        { at: "ssh", notRun: "there is no other machine" },
      ],
    });
  },

  async "mend-a-refused-file.md"(t, page) {
    const { s3, env, run } = await startLoader(t);
    const shell = await openShell(t, env);
    const tickets = (owner: string) =>
      Array.from({ length: 26 }, (_, index) => ({ ticket_id: `T${index}`, owner }));
    const key = (time: string) => LAST_EXPORT.replace("08-00", time);
    await s3.put(key("08-00"), csvOf(tickets("Ann")));
    const damaged = csvOf([{ ticket_id: "Q1", service_type: "FT TH" }]).replace("FT TH", 'FT"TH');
    await s3.put(key("09-00"), damaged);
    const { stdout } = await run(["ingest", "inc", "--apply"], exitCodes.fileRefused);
    await walk(page, {
      shell,
      names: { isptickets: s3.bucket },
      notes: [
        { at: "f.error_code", check: says(/09-00-00\.csv \| TK107 +\| +2 /) },
        { at: "Refused", prints: () => Promise.resolve(stdout) },
        {
          at: "ingest inc --apply",
          async before() {
            await run(["ingest", "inc", "--apply"]);
            const blank = Array.from({ length: 14 }, () => ({ owner: "Ben" }));
            await s3.put(key("08-40"), csvOf([...blank, ...tickets("Ben")]));
          },
          code: exitCodes.fileRefused,
        },
      ],
    });
  },

  async "monitor.md"(t, page) {
    const { s3, shell } = await startDemo(t);
    const crq = (time: string) => LAST_EXPORT.replace("inc", "crq").replace("08-00", time);
    await s3.put(crq("08-20"), csvOf([{ ticket_id: "C1" }]));
    await shell.output("fleettickets ingest crq --apply");
    await s3.put(crq("08-40"), csvOf([{ ticket_id: "C1" }]));
    await walk(page, {
      shell,
      names: { fleettickets_cron: "postgres" },
      varies: [
        /\d+ (s|min|h|d)( \d+ (s|min|h))?/g,
        /(?<=PostgreSQL )\d.*(?=, as)/g,
        /\d{6}-\S+\.sql/g,
      ],
      notes: [
        { at: "status --max-age 2h", check: says(/Older than 2 h: INC, CRQ[^]*^ok +bucket/m) },
        { at: "age_seconds", check: says(/^inc \d+\ncrq \d+$/m) },
        { at: "tickets.freshness", check: says(/^ crq .*\n inc /m) },
        {
          at: "not applied",
          async prints() {
            await shell.output(`psql "$DATABASE_URL" -c 'delete from graphile_migrate.migrations
              where filename = (select max(filename) from graphile_migrate.migrations)'`);
            return (await shell.run("fleettickets doctor")).output;
          },
        },
      ],
    });
  },

  async "move-from-the-python-version.md"(t, page) {
    const { db, s3, env } = await startLoader(t);
    const shell = await openShell(t, env);
    await db.look((query) =>
      query(`create table public.inc (ticket_id text primary key, raw jsonb not null)`),
    );
    await db.look((query) =>
      query(`insert into public.inc
        select 'T' || n, jsonb_build_object(
          'ticket_id', 'T' || n, 'raw_status', 'Open', 'mttr', n,
          'closed_at', '2026-06-14 10:00:00', 'site_code', 'NBO-' || n
        )
        from generate_series(1, 20) as n`),
    );
    await s3.put(LAST_EXPORT, csvOf([{ ticket_id: "T1", raw_status: "CLOSED" }]));
    await walk(page, {
      shell,
      notes: [
        { at: "apply_staged", check: says(/^ inc +\| +20 \| +0 \| +0 \| +20$/m) },
        { at: "jsonb_object_keys", check: says(/^ site_code$/m) },
        { at: "full join", check: says(/^\(0 rows\)$/m) },
      ],
    });
    const rows = await db.look((query) =>
      query(
        `select t.ticket_id, t.raw_status, t.mttr from tickets.inc as t
         where t.ticket_id in ('T1', 'T2') order by 1`,
      ),
    );
    assert.deepEqual(rows, [
      { ticket_id: "T1", raw_status: "CLOSED", mttr: null },
      { ticket_id: "T2", raw_status: "OPEN", mttr: 2 },
    ]);
  },

  async "pgbouncer.md"(t, page) {
    const { env, db } = await startLoader(t);
    const shell = await openShell(t, env);
    const session = await startPgbouncer(t, db.url, ["pool_mode = session"]);
    const transaction = await startPgbouncer(t, db.url, ["pool_mode = transaction"]);
    await walk(page, {
      shell,
      names: { "postgres://fleettickets@127.0.0.1:6432/fleettickets": session },
      notes: [
        {
          at: "pool_mode=",
          does: (line) => {
            assert.match(line, /^fleettickets = .* pool_mode=session$/m);
          },
        },
        {
          at: "changes the session",
          async prints() {
            const { code, output } = await shell.run(
              `DATABASE_URL=${transaction} npx fleettickets status`,
            );
            assert.equal(code, exitCodes.usage);
            return (JSON.parse(output) as { msg: string }).msg;
          },
        },
      ],
    });
  },

  async "restore-after-losing-the-server.md"(t, page) {
    await t.test("from a dump, with what was loaded after it", async (t) => {
      await restore(t, page, true);
    });
    await t.test("from the archive alone", async (t) => {
      await restore(t, page, false);
    });
  },

  async "tls.md"(t, page) {
    const authority = createAuthority(t);
    const [server, client] = [authority.sign("server", "IP:127.0.0.1"), authority.sign("postgres")];
    const cluster = await startCluster({
      durable: false,
      settings: [
        ...["ssl=on", "ssl_ca_file=ca.crt", "ssl_cert_file=own.crt", "ssl_key_file=own.key"],
      ],
      files: {
        "ca.crt": authority.cert,
        "own.crt": server.cert,
        "own.key": server.key,
        "pg_hba.conf":
          "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\nhostnossl all all 127.0.0.1/32 scram-sha-256\n",
      },
    });
    t.after(cluster.stop);
    const { env } = await startLoader(t);
    const shell = await openShell(t, { ...env, DATABASE_URL: cluster.url });
    await shell.output("fleettickets migrate");
    for (const [name, content] of Object.entries({
      "ca.crt": authority.cert,
      "client.crt": client.cert,
      "client.key": client.key,
    })) {
      writeFileSync(join(shell.folder, name), content);
    }
    await walk(page, {
      shell,
      names: {
        "postgres://fleettickets@db.example/fleettickets": cluster.url,
        "/etc/fleettickets": shell.folder,
      },
      notes: [
        {
          at: "npx fleettickets doctor",
          code: exitCodes.database,
          check: says(/sslcert/),
        },
      ],
    });
  },
};

for (const [page, walkThrough] of Object.entries(pages)) {
  test(page, (t) => walkThrough(t, `${FOLDER}/${page}`));
}

test("every how-to is walked through", () => {
  const all = globSync(`${FOLDER}/*.md`, { cwd: ROOT }).map((path) => basename(path));
  assert.deepEqual(Object.keys(pages), all.sort());
});

/** A database and a bucket with all that the demo has loaded. */
async function startDemo(t: Scope): Promise<Loader & { shell: Shell }> {
  const loader = await startLoader(t);
  for (const { key, body } of sampleFiles()) await loader.s3.put(key, body);
  await loader.run(["ingest", "all", "--apply"], exitCodes.fileRefused);
  return { ...loader, shell: await openShell(t, loader.env) };
}

/** The last export of the demo that can be loaded, at another time. */
function lastExport(time = "08:00:00"): string {
  const { body } = sampleFiles().find(({ key }) => key === LAST_EXPORT) ?? assert.fail();
  return body.toString().replaceAll("2026-06-15 08:00:00", `2026-06-15 ${time}`);
}

/** Both ways are the same page: without a dump, nothing of it is restored. */
async function restore(t: TestContext, page: string, hasDump: boolean): Promise<void> {
  const { db, s3, env, run } = await startLoader(t);
  const exports = sampleFiles().filter(({ key }) => key.includes("/inc/") && key <= LAST_EXPORT);
  const load = async (files: typeof exports) => {
    for (const { key, body } of files) await s3.put(key, body);
    await run(["ingest", "all", "--apply"]);
  };
  const OWNER = await createEmptyDatabase(t);
  const shell = await openShell(t, { ...env, OWNER });
  let before: unknown;
  await load(exports.slice(0, 4));
  await walk(page, {
    shell,
    names: { isptickets: s3.bucket },
    notes: [
      {
        at: "pg_restore",
        async before() {
          await load(exports.slice(4));
          before = await db.look(contentOf);
          await shell.output(`psql "$OWNER" -c 'create extension postgis schema public'`);
        },
        ...(hasDump ? {} : { notRun: "there is no dump" }),
      },
      { at: "ingest all", before: () => shell.output('export DATABASE_URL="$OWNER"') },
    ],
  });
  assert.deepEqual(await lookAt(OWNER, contentOf), before);
  assert.deepEqual(await s3.keys("automations/inc/changes/"), []);
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

async function lookAt<T>(url: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(async <R>(text: string, values: readonly unknown[] = []) => {
      const { rows } = await client.query(text, [...values]);
      return rows as R[];
    });
  } finally {
    await client.end();
  }
}

/** Whether systemd takes the units as they stand in the page, where there is a systemd. */
async function verifyUnits(t: TestContext, units: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-units-"));
  t.after(() => rm(folder, { recursive: true }));
  const paths = units.map((text) => {
    const path = join(folder, `fleettickets@${text.includes("[Timer]") ? ".timer" : ".service"}`);
    // The program and its user are not there on the machine of a test.
    const here = text
      .replaceAll("/usr/local/bin/fleettickets", process.execPath)
      .replace(/^User=.*$/m, "User=root")
      .replace(/^WorkingDirectory=.*$/m, "WorkingDirectory=/");
    writeFileSync(path, here);
    return path.replace("@.", "@inc.");
  });
  try {
    execFileSync("systemd-analyze", ["--version"], { stdio: "ignore" });
  } catch {
    t.diagnostic("the units of systemd were not verified: there is no systemd-analyze");
    return;
  }
  const { stderr } = await promisify(execFile)("systemd-analyze", [
    "verify",
    "--recursive-errors=no",
    ...paths,
  ]).catch((error: unknown) => error as { stderr: string });
  assert.deepEqual(
    stderr.split("\n").filter((line) => line.includes("fleettickets")),
    [],
  );
}
