import assert from "node:assert/strict";
import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type ExitCode, exitCodes } from "../src/errors.ts";
import { contractColumns } from "../src/samples.ts";
import { describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { exampleExpectations, exampleExports } from "./harness/examples.ts";
import {
  type IngestReport,
  type LoaderDatabase,
  changeKey,
  createServerDatabase,
  dumpOf,
  exportTime,
  ledgerOf,
  onlyDataset,
  startLoader,
  ticketPlacesOf,
  ticketsOf,
  watermarkOf,
} from "./harness/loader.ts";
import type { Scope } from "./harness/scope.ts";

test("local exports give the tickets of the bucket's, and need no bucket", async (t) => {
  const { db, write, report } = await startLocal(t);
  const exports = exampleExports("inc");
  const paths = [];
  for (const { key, body } of exports) paths.push(await write(key.replace(/.*\//, ""), body));
  await report(["ingest", "inc", "--apply", "--csv", ...paths]);
  const { tickets } = exampleExpectations("inc");
  const found = await db.look((query) => ticketsOf(query, "inc"));
  const withoutSource = (all: typeof tickets) =>
    [...all].map(([id, { source_key, ...rest }]) => [id, source_key.replace(/.*[/:]/, ""), rest]);
  assert.deepEqual(withoutSource(found), withoutSource(tickets));
});

test("their keys begin with manual:, and they never move the watermark", async (t) => {
  const { s3, db, report } = await startLoader(t);
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  await report(["ingest", "inc", "--apply"]);
  const { write } = await folderOf(t);
  const path = await write(`${exportTime(5)}.csv`, csvOf([{ ticket_id: "T2" }]));
  await report(["ingest", "inc", "--apply", "--csv", path]);
  const found = await db.look(async (query) => ({
    watermark: await watermarkOf(query, "inc"),
    keys: (await ledgerOf(query)).map((file) => file.source_key),
  }));
  assert.deepEqual(found, {
    watermark: changeKey(1),
    keys: [changeKey(1), `manual:${exportTime(5)}.csv`],
  });
});

test("a name with an export time in it has that place in time, any other one is newest", async (t) => {
  const { db, write, report } = await startLocal(t);
  const load = async (name: string, owner: string) => {
    const path = await write(name, csvOf([{ ticket_id: "T1", owner }]));
    await report(["ingest", "inc", "--apply", "--csv", path]);
    const tickets = await db.look((query) => ticketsOf(query, "inc"));
    return tickets.get("T1")?.raw["owner"];
  };
  assert.equal(await load(`${exportTime(2)}.csv`, "second"), "second");
  assert.equal(await load(`${exportTime(1)}.csv`, "first"), "second");
  assert.equal(await load(`mended ${exportTime(3)} by hand.csv`, "third"), "third");
  assert.equal(await load("by hand.csv", "last"), "last");
  assert.equal(await load(`${exportTime(4)}.csv`, "fourth"), "last");
});

test("of files without a time in their names, the one named last is newest", async (t) => {
  const { db, write, report } = await startLocal(t);
  const paths = [];
  for (const owner of ["b", "c", "a"]) {
    paths.push(await write(`${owner}.csv`, csvOf([{ ticket_id: "T1", owner }])));
  }
  await report(["ingest", "inc", "--apply", "--csv", ...paths]);
  const tickets = await db.look((query) => ticketsOf(query, "inc"));
  assert.equal(tickets.get("T1")?.raw["owner"], "a");
});

test("a dry run counts alike, over several files, and leaves no trace", async (t) => {
  const { db, write, report } = await startLocal(t);
  const paths = [
    await write(`${exportTime(1)}.csv`, csvOf([{ ticket_id: "T1", owner: "a" }])),
    await write(`${exportTime(2)}.csv`, csvOf([{ ticket_id: "T1", owner: "b" }])),
  ];
  const before = await db.look(dumpOf);
  const dry = await report(["ingest", "inc", "--csv", ...paths]);
  assert.deepEqual(await db.look(dumpOf), before);
  const real = await report(["ingest", "inc", "--apply", "--csv", ...paths]);
  assert.deepEqual(onlyDataset(dry).files, onlyDataset(real).files);
});

test("a file that is loaded twice rewrites no ticket", async (t) => {
  const { db, write, report } = await startLocal(t);
  const path = await write(`${exportTime(1)}.csv`, csvOf([{ ticket_id: "T1" }]));
  await report(["ingest", "inc", "--apply", "--csv", path]);
  const before = await db.look(ticketPlacesOf);
  const { files } = onlyDataset(await report(["ingest", "inc", "--apply", "--csv", path]));
  assert.deepEqual(
    files.map((file) => file.status === "applied" && file.unchanged),
    [1],
  );
  assert.deepEqual(await db.look(ticketPlacesOf), before);
});

test("a refused file holds up no other one, and ends in exit code 6", async (t) => {
  const { db, write, report } = await startLocal(t);
  const paths = [
    await write("one.csv", "ticket_id,owner\nT1\n"),
    await write("other.csv", csvOf([{ ticket_id: "T2" }])),
  ];
  const { files } = onlyDataset(
    await report(["ingest", "inc", "--apply", "--csv", ...paths], exitCodes.fileRefused),
  );
  assert.deepEqual(
    files.map((file) => file.status),
    ["refused", "applied"],
  );
  assert.deepEqual([...(await db.look((query) => ticketsOf(query, "inc"))).keys()], ["T2"]);
  assert.deepEqual((await db.look(ledgerOf)).map((file) => file.error_code).sort(), [
    "TK109",
    null,
  ]);
});

test("a file of a few columns keeps the others, as one from the bucket does", async (t) => {
  const { db, write, report } = await startLocal(t);
  const paths = [
    await write(`${exportTime(1)}.csv`, csvOf([{ ticket_id: "T1", owner: "a", bucket: "closed" }])),
    await write(`${exportTime(2)}.csv`, "ticket_id,owner\nT1,b\n"),
  ];
  const { files } = onlyDataset(await report(["ingest", "inc", "--apply", "--csv", ...paths]));
  const [, second] = files;
  assert.ok(second?.status === "applied");
  assert.deepEqual(
    second.missing_columns,
    contractColumns.filter((name) => name !== "ticket_id" && name !== "owner"),
  );
  const tickets = await db.look((query) => ticketsOf(query, "inc"));
  assert.deepEqual(tickets.get("T1")?.raw, { ticket_id: "T1", owner: "b", bucket: "closed" });
});

test("a file that grows while it is read is not loaded, and ends in exit code 4", async (t) => {
  const { db, write, run } = await startLocal(t);
  const rows = Array.from({ length: 5000 }, (_, n) => ({ ticket_id: `T${n}` }));
  const path = await write("growing.csv", csvOf(rows));
  const before = await db.look(dumpOf);
  let isRunning = true;
  const growing = (async () => {
    while (isRunning) await appendFile(path, `T${",".repeat(contractColumns.length - 1)}\n`);
  })();
  await run(["ingest", "inc", "--apply", "--csv", path], exitCodes.objectStore);
  isRunning = false;
  await growing;
  assert.deepEqual(await db.look(dumpOf), before);
});

describe("exit code 2 and nothing applied", () => {
  const commands: readonly [what: string, args: (good: string, folder: string) => string[]][] = [
    ["where there is no such file", (good, folder) => ["inc", "--csv", good, join(folder, "none")]],
    ["where a file is a folder", (good, folder) => ["inc", "--csv", good, folder]],
    ["where no dataset is named", (good) => ["all", "--csv", good]],
    ["where there is no such dataset", (good) => ["nocs", "--csv", good]],
    ["together with --snapshot", (good) => ["inc", "--snapshot", "--csv", good]],
  ];
  for (const [what, args] of commands) {
    test(what, async (t) => {
      const { db, folder, write, run } = await startLocal(t);
      const good = await write("good.csv", csvOf([{ ticket_id: "T1" }]));
      const before = await db.look(dumpOf);
      await run(["ingest", "--apply", ...args(good, folder)], exitCodes.usage);
      assert.deepEqual(await db.look(dumpOf), before);
    });
  }
});

interface Local {
  db: LoaderDatabase;
  folder: string;
  write: (name: string, body: string | Buffer) => Promise<string>;
  run: (args: string[], code?: ExitCode) => Promise<unknown>;
  report: (args: string[], code?: ExitCode) => Promise<IngestReport>;
}

/** A database and a folder, and no bucket. */
async function startLocal(t: Scope): Promise<Local> {
  const db = await createServerDatabase(t);

  async function run(args: string[], code: ExitCode = exitCodes.done): Promise<unknown> {
    const result = await runCli(args, { env: { DATABASE_URL: db.url } });
    assert.equal(result.code, code, describeRun(args, result));
    return result.json;
  }

  return {
    db,
    ...(await folderOf(t)),
    run,
    report: async (args, code) => (await run([...args, "--json"], code)) as IngestReport,
  };
}

async function folderOf(t: Scope): Promise<Pick<Local, "folder" | "write">> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-local-"));
  t.after(() => rm(folder, { recursive: true }));
  return {
    folder,
    async write(name, body) {
      const path = join(folder, name);
      await writeFile(path, body);
      return path;
    },
  };
}
