import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { type SampleFile, contractColumns, sampleExports } from "../src/samples.ts";
import { runCli, spawnCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { createEmbeddedDatabase } from "./harness/embedded.ts";
import {
  exampleExpectations,
  exampleExports,
  refusals,
  refusedExamples,
} from "./harness/examples.ts";
import { startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  type IngestReport,
  type Loader,
  type Query,
  archiveKey,
  changeKey,
  createServerDatabase,
  dumpOf,
  embeddedDatabase,
  ledgerOf,
  loader,
  objectsOf,
  onlyDataset,
  rawOf,
  serverDatabase,
  startLoader,
  ticketPlacesOf,
  ticketsOf,
  watermarkOf,
} from "./harness/loader.ts";
import { expectedTickets } from "./harness/model.ts";
import { createDatabase } from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";
import type { Scope } from "./harness/scope.ts";

const datasets = ["inc", "crq"] as const;

const onEmbedded = async (scope: Scope) => embeddedDatabase(await createEmbeddedDatabase(scope));

for (const [database, create] of [
  ["a PostgreSQL server", createServerDatabase],
  ["the embedded PostgreSQL", onEmbedded],
] as const) {
  const { db, s3, report } = await startLoader({ after }, create);

  describe(`on ${database}, a run over the examples`, () => {
    const exports = datasets.flatMap((dataset) => exampleExports(dataset));
    // One look at it: opening the embedded database takes its time.
    let found: Awaited<ReturnType<typeof look>>;

    async function look(query: Query) {
      return {
        dump: await dumpOf(query),
        ledger: await ledgerOf(query),
        inc: await ticketsOf(query, "inc"),
        crq: await ticketsOf(query, "crq"),
      };
    }

    test("counts alike in a dry run, which leaves no trace", async () => {
      for (const { key, body } of exports) await s3.put(key, body);
      const [before, objects] = [await db.look(dumpOf), await objectsOf(s3)];
      const dry = await report(["ingest", "all"]);
      assert.deepEqual(await db.look(dumpOf), before);
      assert.deepEqual(await objectsOf(s3), objects);

      const real = await report(["ingest", "all", "--apply"]);
      assert.deepEqual(
        dry.datasets.map(({ files, history }) => ({ files, history })),
        real.datasets.map(({ files, history }) => ({ files, history })),
      );
      found = await db.look(look);
    });

    test("gives the counts and tickets that stand beside them", () => {
      for (const dataset of datasets) {
        const expected = exampleExpectations(dataset);
        const counts = found.ledger
          .filter((file) => file.dataset === dataset)
          .map(({ source_key, staged, dropped_alarm, dropped_sentinel, rejected, duplicates }) => [
            source_key,
            { dropped_alarm, dropped_sentinel, duplicates, rejected, staged },
          ]);
        assert.deepEqual(counts, [...expected.files]);
        assert.deepEqual(found[dataset], expected.tickets);
      }
    });

    test("accounts for every row", () => {
      for (const file of found.ledger) {
        const { staged, dropped_alarm, dropped_sentinel, rejected, duplicates, ...rest } = file;
        const tickets = rest.stale + rest.inserted + rest.updated + rest.unchanged;
        assert.equal(staged, dropped_alarm + dropped_sentinel + rejected + duplicates + tickets);
        assert.equal(file.export_stopped, dropped_sentinel > 0);
      }
    });

    test("leaves the objects in the archive, byte for byte", async () => {
      const archived = exports.map(({ key, body }) => [archiveKey(key), body.toString("base64")]);
      assert.deepEqual(await objectsOf(s3), Object.fromEntries(archived.sort()));
      assert.ok(found.ledger.every((file) => file.is_archived));
    });

    test("writes nothing when it is repeated", async () => {
      const again = await report(["ingest", "all", "--apply"]);
      assert.deepEqual(
        again.datasets.map(({ files, archived, history }) => ({ files, archived, history })),
        datasets.map(() => ({ files: [], archived: 0, history: { closures: 0, clusters: 0 } })),
      );
      assert.deepEqual(await db.look(dumpOf), found.dump);
    });
  });

  test(`on ${database}, each defect refuses its file and nothing else`, async (t) => {
    const run = await startLoader(t, create);
    const refused = refusedExamples();
    const keys = refused.map((_, index) => changeKey(index));
    for (const [index, { body }] of refused.entries()) await run.s3.put(keyAt(keys, index), body);
    const good = changeKey(refused.length);
    await run.s3.put(good, csvOf([{ ticket_id: "T1" }]));

    const { files } = onlyDataset(
      await run.report(["ingest", "inc", "--apply"], exitCodes.fileRefused),
    );
    const expected = refused.map(({ name }, index) => ({
      key: keyAt(keys, index),
      status: "refused",
      ...refusals[name],
    }));
    assert.deepEqual(
      files.map((file) =>
        file.status === "refused"
          ? { key: file.key, status: file.status, code: file.code, line: file.line }
          : { key: file.key, status: file.status },
      ),
      [...expected, { key: good, status: "applied" }],
    );

    const found = await run.db.look(async (query) => ({
      ledger: await ledgerOf(query),
      rejectedRows: await query("select * from tickets.rejected_rows"),
      inc: await ticketsOf(query, "inc"),
    }));
    assert.deepEqual(
      found.ledger.map((file) => [file.source_key, file.status, file.error_code, file.error_line]),
      [
        ...expected.map(({ key, code, line }) => [key, "rejected", code, line]),
        [good, "applied", null, null],
      ],
    );
    assert.deepEqual(found.rejectedRows, []);
    assert.deepEqual([...found.inc.keys()], ["T1"]);

    assert.deepEqual(await run.s3.keys("automations/inc/changes/"), keys);
    for (const [index, { body }] of refused.entries()) {
      assert.ok(body.equals(await run.s3.get(keyAt(keys, index))));
    }
  });
}

test("a log says why each file is refused and what to do", async (t) => {
  const { s3, run } = await startLoader(t);
  await s3.put(changeKey(1), "ticket_id,owner\nT1\n");
  const { stderr } = await run(["ingest", "inc", "--apply"], exitCodes.fileRefused);
  const entries = stderr.trim().split("\n");
  const [refusal] = entries
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((entry) => entry["code"] === "TK109");
  assert.equal(refusal?.["key"], changeKey(1));
  assert.equal(refusal["line"], 2);
  assert.match(String(refusal["hint"]), /fleettickets retry '.*' --apply/);
});

describe("the database refuses a file", () => {
  const manyColumns = Array.from({ length: 33 }, (_, n) => `unknown_${n}`);
  const tickets = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ ticket_id: `T${n}` }));
  const files: readonly [what: string, body: string, code: string, line: number][] = [
    ["without ticket_id", "id,owner\nT1,a\n", "TK010", 1],
    ["with a column twice", "ticket_id,owner, owner\nT1,a,b\n", "TK011", 1],
    ["with a column without a name", "ticket_id,,owner\nT1,a,b\n", "TK012", 1],
    [
      "with more unknown columns than there is room for",
      csvOf([], ["ticket_id", ...manyColumns]),
      "TK013",
      1,
    ],
    [
      "of which more than a tenth is rejected",
      csvOf([...tickets(18), { ticket_id: " " }, { ticket_id: "ticket_id" }]).replace("T17", ""),
      "TK021",
      19,
    ],
    [
      "with a line break in a ticket_id",
      csvOf([...tickets(20), { ticket_id: "T21\nT22" }]),
      "TK022",
      22,
    ],
  ];
  for (const [what, body, code, line] of files) {
    test(what, async (t) => {
      const { db, s3, report } = await startLoader(t);
      await s3.put(changeKey(1), body);
      await report(["ingest", "inc", "--apply"], exitCodes.fileRefused);
      const found = await db.look(async (query) => ({
        ledger: (await ledgerOf(query)).map((file) => [file.error_code, file.error_line]),
        tickets: [...(await ticketsOf(query, "inc")).keys()],
        rejectedRows: await query("select * from tickets.rejected_rows"),
      }));
      assert.deepEqual(found, { ledger: [[code, line]], tickets: [], rejectedRows: [] });
    });
  }
});

test("rows that are no tickets are kept with their line, their reason and all they say", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const header = [...contractColumns, "Fibre Core"];
  const rows = Array.from({ length: 18 }, (_, n) => ({ ticket_id: `T${n}` }));
  const body = csvOf(
    [
      { ticket_id: "A1", location_name: "two\nlines" },
      { ticket_id: " ", owner: " a ", "Fibre Core": "A1", week_start: "2026-06-15" },
      ...rows,
    ],
    header,
  );
  const repeated = header.map((name) => `"${name}"`).join(",");
  await s3.put(changeKey(1), `\ufeff${body}\r\n${repeated}\r\n`);
  await report(["ingest", "inc", "--apply"]);
  const rejected = await db.look((query) =>
    query(
      `select r.dataset, r.source_key, r.line::integer, r.reason, r.raw
       from tickets.rejected_rows as r order by r.line`,
    ),
  );
  const place = { dataset: "inc", source_key: changeKey(1) };
  assert.deepEqual(rejected, [
    {
      ...place,
      line: 4,
      reason: "ticket_id is blank",
      raw: { owner: " a ", "Fibre Core": "A1", week_start: "2026-06-15" },
    },
    {
      ...place,
      line: 24,
      reason: "header repeated",
      raw: Object.fromEntries(header.map((name) => [name, name])),
    },
  ]);
});

test("of a ticket that stands in a file twice, the last line wins", async (t) => {
  const { db, s3, report } = await startLoader(t);
  await s3.put(
    changeKey(1),
    csvOf([
      { ticket_id: "T1", owner: "a", cluster: "Karen" },
      { ticket_id: " T1 ", owner: "b" },
      { ticket_id: "T1", owner: "c", is_alarm: "true" },
    ]),
  );
  const { files } = onlyDataset(await report(["ingest", "inc", "--apply"]));
  assert.deepEqual(
    files.map((file) => file.status === "applied" && [file.duplicates, file.inserted]),
    [[1, 1]],
  );
  assert.deepEqual(await db.look(rawOf), { ticket_id: "T1", owner: "b" });
});

test("a value that does not cast keeps its row and its text, and is listed", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const values = { mttr: "n/a", closed_at: "2026-02-30", latitude: "91", longitude: "36.8" };
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1", ...values }]));
  await report(["ingest", "inc", "--apply"]);
  const found = await db.look(async (query) => ({
    raw: await rawOf(query),
    columns: await query(
      "select t.mttr, t.closed_at, t.latitude, t.longitude from tickets.inc as t",
    ),
    listed: await query<{ column_name: string; value: string }>(
      "select q.column_name, q.value from tickets.data_quality as q order by q.column_name",
    ),
  }));
  assert.deepEqual(found, {
    raw: { ticket_id: "T1", ...values },
    columns: [{ mttr: null, closed_at: null, latitude: null, longitude: null }],
    listed: [
      { column_name: "closed_at", value: "2026-02-30" },
      { column_name: "latitude", value: "91" },
      { column_name: "longitude", value: "36.8" },
      { column_name: "mttr", value: "n/a" },
    ],
  });
});

describe("a refused file", () => {
  const key = changeKey(1);
  const bad = "ticket_id,owner\nT1,a\nT2\n";

  async function refuse(scope: Scope): Promise<Loader> {
    const started = await startLoader(scope);
    await started.s3.put(key, bad);
    await started.report(["ingest", "inc", "--apply"], exitCodes.fileRefused);
    return started;
  }

  test("is not tried again", async (t) => {
    const { db, report } = await refuse(t);
    const before = await db.look(dumpOf);
    const again = onlyDataset(await report(["ingest", "inc", "--apply"]));
    assert.deepEqual([again.files, again.refused_earlier], [[], 1]);
    assert.deepEqual(await db.look(dumpOf), before);
  });

  test("is tried again when another object takes its place", async (t) => {
    const { db, s3, report } = await refuse(t);
    await s3.put(key, csvOf([{ ticket_id: "T1" }]));
    const { files } = onlyDataset(await report(["ingest", "inc", "--apply"]));
    assert.deepEqual(
      files.map((file) => file.status),
      ["applied"],
    );
    assert.deepEqual(
      (await db.look(ledgerOf)).map((file) => file.status),
      ["rejected", "applied"],
    );
    assert.deepEqual(await s3.keys(), [archiveKey(key)]);
  });

  test("is tried again by retry, and refused again", async (t) => {
    const { db, s3, report } = await refuse(t);
    const { files } = onlyDataset(await report(["retry", key, "--apply"], exitCodes.fileRefused));
    assert.deepEqual(
      files.map((file) => [file.key, file.status]),
      [[key, "refused"]],
    );
    assert.equal((await db.look(ledgerOf)).length, 1);
    assert.deepEqual(await s3.keys(), [key]);
  });

  test("is loaded by retry where the fault was not its own", async (t) => {
    const { db, s3, report } = await startLoader(t);
    // Every tenth row rejected is one too many, until the limit is raised.
    await s3.put(key, csvOf([{ ticket_id: "T1" }, { ticket_id: "" }]));
    await report(["ingest", "inc", "--apply"], exitCodes.fileRefused);
    await db.look((query) => query("update tickets.datasets set max_rejected_share = 0.5"));

    const dry = onlyDataset(await report(["retry", key]));
    assert.deepEqual(await s3.keys(), [key]);
    const real = onlyDataset(await report(["retry", key, "--apply"]));
    assert.deepEqual(dry.files, real.files);
    const [file, ...others] = await db.look(ledgerOf);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [file?.status, file?.error_code, file?.inserted, file?.rejected, file?.is_archived],
      ["applied", null, 1, 1, true],
    );
    assert.deepEqual(await s3.keys(), [archiveKey(key)]);
  });

  test("is written into the ledger by a dry run no more than a good one", async (t) => {
    const { db, s3, report } = await startLoader(t);
    await s3.put(key, bad);
    const before = await db.look(dumpOf);
    const dry = onlyDataset(await report(["ingest", "inc"], exitCodes.fileRefused));
    assert.deepEqual(await db.look(dumpOf), before);
    const real = onlyDataset(await report(["ingest", "inc", "--apply"], exitCodes.fileRefused));
    assert.deepEqual(dry.files, real.files);
  });
});

test("retry takes keys of several datasets", async (t) => {
  const { s3, report } = await startLoader(t);
  const keys = datasets.map((dataset) => changeKey(1, dataset));
  for (const key of keys) await s3.put(key, "<html>");
  await report(["ingest", "all", "--apply"], exitCodes.fileRefused);
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: "T1" }]));
  const { datasets: results } = await report(["retry", ...keys, "--apply"]);
  assert.deepEqual(
    results.map(({ dataset, files }) => [dataset, files.map((file) => file.status)]),
    datasets.map((dataset) => [dataset, ["applied"]]),
  );
  assert.deepEqual(await s3.keys(), keys.map(archiveKey).sort());
});

test("retry says which key it does not find, with exit code 2", async (t) => {
  const { report } = await startLoader(t);
  for (const key of [changeKey(1), "elsewhere/2026-06-15T06-20-00.csv"]) {
    await report(["retry", key, "--apply"], exitCodes.usage);
  }
});

describe("sample exports end in the tickets of the reference model", () => {
  for (const [dataset, seed] of [
    ["inc", 1],
    ["crq", 2],
    ["inc", 3],
  ] as const) {
    test(`${dataset}, seed ${seed}, loaded one after the other and out of order`, async (t) => {
      const files = sampleExports({
        ...{ dataset, seed, files: 9, ticketsPerFile: 30 },
        repeatShare: 0.3,
      });
      const expected = expectedTickets(files);
      const inOrder = await startLoader(t);
      for (const { key, body } of files) await inOrder.s3.put(key, body);
      await inOrder.report(["ingest", dataset, "--apply"]);
      const [tickets, first] = await inOrder.db.look(async (query) => [
        await ticketsOf(query, dataset),
        await ticketRowsOf(query),
      ]);
      assert.deepEqual(tickets, expected);
      await assertCounts(inOrder, files);

      const outOfOrder = await startLoader(t);
      const random = randomOf(seed);
      for (const batch of batches(shuffled(files, random), random)) {
        for (const { key, body } of batch) await outOfOrder.s3.put(key, body);
        await outOfOrder.report(["ingest", dataset, "--apply"]);
        // Now and then what is in the archive comes back, and is loaded once more.
        const [again] = shuffled(batch, random);
        if (again === undefined || random() < 0.5) continue;
        await outOfOrder.s3.put(again.key, again.body);
        await outOfOrder.report(["ingest", dataset, "--apply", "--reseed"]);
      }
      assert.deepEqual(await outOfOrder.db.look(ticketRowsOf), first);
    });
  }

  async function assertCounts({ db }: Loader, files: readonly SampleFile[]): Promise<void> {
    assert.deepEqual(
      (await db.look(ledgerOf)).map(
        ({ source_key, staged, dropped_alarm, dropped_sentinel, rejected, duplicates }) => [
          source_key,
          { staged, dropped_alarm, dropped_sentinel, rejected, duplicates },
        ],
      ),
      files.map(({ key, expected }) => [key, expected]),
    );
  }
});

test("neither time zone nor date style of the session or the machine changes a ticket", async (t) => {
  const { db, s3, env } = await startLoader(t);
  for (const { key, body } of exampleExports("crq")) await s3.put(key, body);
  const url = new URL(db.url);
  url.searchParams.set("options", "-c timezone=Pacific/Apia -c datestyle=SQL,DMY");
  const { code } = await runCli(["ingest", "crq", "--apply"], {
    env: { ...env, DATABASE_URL: url.href, TZ: "America/St_Johns" },
  });
  assert.equal(code, exitCodes.done);
  assert.deepEqual(
    await db.look((query) => ticketsOf(query, "crq")),
    exampleExpectations("crq").tickets,
  );
});

test("a file whose name sorts before the watermark is loaded, too", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const [early, late] = [changeKey(1), changeKey(2)];
  await s3.put(late, csvOf([{ ticket_id: "T1", owner: "late" }]));
  await report(["ingest", "inc", "--apply"]);
  await s3.put(
    early,
    csvOf([
      { ticket_id: "T1", owner: "early" },
      { ticket_id: "T2", owner: "early" },
    ]),
  );
  const { files } = onlyDataset(await report(["ingest", "inc", "--apply"]));
  assert.deepEqual(
    files.map((file) => file.status === "applied" && [file.key, file.stale, file.inserted]),
    [[early, 1, 1]],
  );
  const found = await db.look(async (query) => ({
    watermark: await watermarkOf(query, "inc"),
    owners: [...(await ticketsOf(query, "inc")).values()].map(({ raw }) => raw["owner"]),
  }));
  assert.deepEqual(found, { watermark: late, owners: ["late", "early"] });
});

test("unknown columns are kept in raw until a file comes without them", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const header = [...contractColumns, "Fibre Core", "note, old"];
  await s3.put(
    changeKey(1),
    csvOf([{ ticket_id: "T1", "Fibre Core": "A1", "note, old": " " }], header),
  );
  await report(["ingest", "inc", "--apply"]);
  const [before] = await db.look(ledgerOf);
  assert.deepEqual(before?.extra_columns, ["Fibre Core", "note, old"]);
  assert.deepEqual(await db.look(rawOf), { ticket_id: "T1", "Fibre Core": "A1" });

  await s3.put(changeKey(2), csvOf([{ ticket_id: "T1" }]));
  await report(["ingest", "inc", "--apply"]);
  assert.deepEqual(await db.look(rawOf), { ticket_id: "T1" });
});

test("columns that a file lacks keep their last value, and are warned of", async (t) => {
  const { db, s3, run } = await startLoader(t);
  const columns = contractColumns.filter((name) => name !== "owner" && name !== "bucket");
  await s3.put(
    changeKey(1),
    csvOf([{ ticket_id: "T1", owner: "a", bucket: "closed", cluster: "Karen" }]),
  );
  await s3.put(changeKey(2), csvOf([{ ticket_id: "T1", cluster: "Ruaka" }], columns));
  const { stderr } = await run(["ingest", "inc", "--apply"]);
  assert.ok(
    stderr.split("\n").some((line) => line.includes('"level":40') && line.includes("owner")),
    stderr,
  );
  const found = await db.look(async (query) => ({
    raw: await rawOf(query),
    missing: (await ledgerOf(query)).map((file) => file.missing_columns),
    isOpen: (await ticketsOf(query, "inc")).get("T1")?.is_open,
  }));
  assert.deepEqual(found, {
    raw: { ticket_id: "T1", owner: "a", bucket: "closed", cluster: "Ruaka" },
    missing: [[], ["bucket", "owner"]],
    isOpen: false,
  });
});

test("an export that was cut short is applied, marked and warned of", async (t) => {
  const { db, s3, run } = await startLoader(t);
  await s3.put(changeKey(1), `${csvOf([{ ticket_id: "T1" }])}EXPORT STOPPED at 1 row\n`);
  const { stderr } = await run(["ingest", "inc", "--apply"]);
  assert.ok(
    stderr.split("\n").some((line) => line.includes('"level":40')),
    stderr,
  );
  const [file] = await db.look(ledgerOf);
  assert.deepEqual(
    [file?.staged, file?.dropped_sentinel, file?.inserted, file?.export_stopped],
    [2, 1, 1, true],
  );
});

test("--max-files ends a run after so many files, the oldest ones", async (t) => {
  const { s3, report } = await startLoader(t);
  const keys = [1, 2, 3].map((n) => changeKey(n));
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: "T1", owner: key }]));
  const first = onlyDataset(await report(["ingest", "inc", "--apply", "--max-files", "2"]));
  assert.deepEqual(
    first.files.map((file) => file.key),
    keys.slice(0, 2),
  );
  const second = onlyDataset(await report(["ingest", "inc", "--apply", "--max-files", "2"]));
  assert.deepEqual(
    second.files.map((file) => file.key),
    keys.slice(2),
  );
});

test("--no-archive leaves objects in place, and the next run archives them unread", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const keys = [1, 2].map((n) => changeKey(n));
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key }]));
  const first = onlyDataset(await report(["ingest", "inc", "--apply", "--no-archive"]));
  assert.deepEqual([first.files.length, first.archived], [2, 0]);
  assert.deepEqual(await s3.keys(), keys);
  assert.ok((await db.look(ledgerOf)).every((file) => !file.is_archived));

  const second = onlyDataset(await report(["ingest", "inc", "--apply"]));
  assert.deepEqual([second.files, second.archived], [[], 2]);
  assert.deepEqual(await s3.keys(), keys.map(archiveKey));
  assert.ok((await db.look(ledgerOf)).every((file) => file.is_archived));
});

test("--reseed loads what is done already once more, and rewrites no ticket", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const keys = [1, 2].map((n) => changeKey(n));
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key, owner: "a" }]));
  await report(["ingest", "inc", "--apply"]);
  // The new bucket has the files of the old one.
  for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key, owner: "a" }]));
  const before = await db.look(ticketPlacesOf);

  const reseeded = onlyDataset(await report(["ingest", "inc", "--apply", "--reseed"]));
  assert.deepEqual(
    reseeded.files.map((file) => file.status === "applied" && [file.key, file.unchanged]),
    keys.map((key) => [key, 1]),
  );
  assert.deepEqual(await db.look(ticketPlacesOf), before);
  assert.deepEqual(await s3.keys(), keys.map(archiveKey));
  const next = onlyDataset(await report(["ingest", "inc", "--apply"]));
  assert.deepEqual(next.files, []);
});

test("a file that is exported anew under its old name is loaded anew", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const key = changeKey(1);
  await s3.put(key, csvOf([{ ticket_id: "T1", owner: "a" }]));
  await report(["ingest", "inc", "--apply"]);
  await s3.put(key, csvOf([{ ticket_id: "T1", owner: "b" }]));
  await report(["ingest", "inc", "--apply"]);
  assert.equal((await db.look(rawOf))["owner"], "b");
  const archived = await s3.keys();
  assert.equal(archived.length, 2, archived.join());
});

test("a content that is put back under its name is loaded again, in the place of the other", async (t) => {
  const { db, s3, report } = await startLoader(t);
  for (const owner of ["one", "two", "one"]) {
    await s3.put(changeKey(0), csvOf([{ ticket_id: "T1", owner }]));
    const { files } = onlyDataset(await report(["ingest", "inc", "--apply"]));
    assert.deepEqual(
      files.map(({ status }) => status),
      ["applied"],
    );
    assert.equal((await db.look(rawOf))["owner"], owner);
  }
  assert.equal((await s3.keys()).length, 2);
});

test("objects that are no exports are ignored, counted and left alone", async (t) => {
  const { s3, report } = await startLoader(t);
  const others = [
    "",
    "2026-06-15.csv",
    "2026-06-15T06-20-00.csv.gz",
    "2026-06-31T06-20-00.csv",
    "README.txt",
    "older/2026-06-15T06-20-00.csv",
  ]
    .map((name) => `automations/inc/changes/${name}`)
    .sort();
  for (const key of others) await s3.put(key, "no export");
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  const result = onlyDataset(await report(["ingest", "inc", "--apply"]));
  assert.deepEqual([result.files.length, result.ignored], [1, others.length]);
  assert.deepEqual((await s3.keys("automations/inc/changes/")).sort(), others);
});

test("--json prints one object with all that came of the run", async (t) => {
  const { s3, report } = await startLoader(t);
  const [good, bad] = [changeKey(1), changeKey(2)];
  await s3.put(
    good,
    csvOf([
      { ticket_id: "T1", bucket: "closed", closed_at: "2026-06-15 05:00:00" },
      { ticket_id: "T2" },
    ]),
  );
  await s3.put(bad, "ticket_id,owner\nT3\n");
  await s3.put("automations/inc/changes/note.txt", "");
  const result = await report(["ingest", "inc", "--apply"], exitCodes.fileRefused);
  const [, refused] = result.datasets[0]?.files ?? [];
  assert.ok(refused?.status === "refused" && refused.error !== "" && refused.hint !== "");
  const expected: IngestReport = {
    datasets: [
      {
        dataset: "inc",
        applied: true,
        files: [
          {
            key: good,
            status: "applied",
            dataset: "inc",
            source_key: good,
            staged: 2,
            dropped_alarm: 0,
            dropped_sentinel: 0,
            rejected: 0,
            duplicates: 0,
            stale: 0,
            inserted: 2,
            updated: 0,
            unchanged: 0,
            closures: 1,
            extra_columns: [],
            missing_columns: [],
          },
          {
            key: bad,
            status: "refused",
            code: "TK109",
            line: 2,
            error: refused.error,
            hint: refused.hint,
          },
        ],
        skipped: 0,
        archived: 1,
        ignored: 1,
        refused_earlier: 0,
        history: { closures: 0, clusters: 0 },
        stopped: false,
        error: null,
        exit_code: exitCodes.fileRefused,
      },
    ],
    exit_code: exitCodes.fileRefused,
  };
  assert.deepEqual(result, expected);
});

test("an empty bucket is nothing to do", async (t) => {
  const { report } = await startLoader(t);
  const { datasets: results } = await report(["ingest", "all", "--apply"]);
  assert.deepEqual(
    results.map(({ dataset, files }) => [dataset, files]),
    [
      ["inc", []],
      ["crq", []],
    ],
  );
});

describe("while another run has the lock of INC", () => {
  async function locked(scope: Scope): Promise<Loader> {
    const database = await createDatabase(scope);
    const other = await database.connect();
    await other.query("select tickets.start_run(p_dataset => 'inc')");
    const started = loader(serverDatabase(database), await startS3(scope));
    for (const dataset of datasets) {
      await started.s3.put(changeKey(1, dataset), csvOf([{ ticket_id: "T1" }]));
    }
    return started;
  }

  test("a run over INC leaves at once, dry or not, with exit code 5", async (t) => {
    const { db, s3, report } = await locked(t);
    const [before, objects] = [await db.look(dumpOf), await s3.keys()];
    for (const flags of [[], ["--apply"]]) {
      const { error } = onlyDataset(await report(["ingest", "inc", ...flags], exitCodes.locked));
      assert.equal(error?.code, "TK002");
    }
    assert.deepEqual(await db.look(dumpOf), before);
    assert.deepEqual(await s3.keys(), objects);
  });

  test("a run over CRQ goes on, alone and after INC was refused", async (t) => {
    const { db, s3, report } = await locked(t);
    await report(["ingest", "crq", "--apply"]);
    await s3.put(changeKey(2, "crq"), csvOf([{ ticket_id: "T2" }]));
    await report(["ingest", "all", "--apply"], exitCodes.locked);
    const crq = await db.look((query) => ticketsOf(query, "crq"));
    assert.deepEqual([...crq.keys()], ["T1", "T2"]);
  });
});

test("INC and CRQ are loaded side by side", async (t) => {
  const { db, s3, report } = await startLoader(t);
  const samples = datasets.map((dataset) =>
    sampleExports({ dataset, seed: 5, files: 6, ticketsPerFile: 40 }),
  );
  for (const { key, body } of samples.flat()) await s3.put(key, body);
  await Promise.all(datasets.map((dataset) => report(["ingest", dataset, "--apply"])));
  for (const [index, dataset] of datasets.entries()) {
    const expected = expectedTickets(samples[index] ?? []);
    assert.deepEqual(await db.look((query) => ticketsOf(query, dataset)), expected);
  }
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends a run well after the file in hand; the next one loads the rest`, async (t) => {
    const s3 = await startFaultyS3(t);
    const { db, env, report } = loader(await createServerDatabase(t), s3);
    const keys = [1, 2, 3].map((n) => changeKey(n));
    for (const key of keys) await s3.put(key, csvOf([{ ticket_id: key }]));

    const child = spawnCli(["ingest", "inc", "--apply", "--json"], { env });
    let stdout = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    const asked = new Promise<void>((resolve) => {
      child.stderr.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes(signal)) resolve();
      });
    });
    s3.fail({
      operation: "get",
      times: 1,
      before() {
        child.kill(signal);
        return asked;
      },
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    assert.equal(code, 0);
    const { stopped, files } = onlyDataset(JSON.parse(stdout) as IngestReport);
    assert.deepEqual([stopped, files.map((file) => file.key)], [true, keys.slice(0, 1)]);
    assert.deepEqual(await s3.keys(), [...keys.slice(1), ...keys.slice(0, 1).map(archiveKey)]);

    const rest = onlyDataset(await report(["ingest", "inc", "--apply"]));
    assert.deepEqual(
      rest.files.map((file) => file.key),
      keys.slice(1),
    );
    assert.deepEqual([...(await db.look((query) => ticketsOf(query, "inc"))).keys()], keys);
  });
}

function keyAt(keys: readonly string[], index: number): string {
  return keys[index] ?? assert.fail(`no key ${index}`);
}

/** All tickets, in all columns but for what tells when and how they were written. */
function ticketRowsOf(query: Query): Promise<unknown[]> {
  return query(
    `select to_jsonb(t) - array['ingested_at', 'text_hash'] as ticket from tickets.ticket as t
     order by t.dataset, t.ticket_id`,
  );
}

type Random = () => number;

/** A simple one, the same for the same seed. */
function randomOf(seed: number): Random {
  let state = seed;
  return () => {
    state = (Math.imul(state, 48_271) + 11) >>> 0;
    return state / 2 ** 32;
  };
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((item) => ({ item, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

function batches<T>(list: readonly T[], random: Random): T[][] {
  const cut: T[][] = [];
  for (let start = 0; start < list.length;) {
    const end = start + 1 + Math.floor(random() * 4);
    cut.push(list.slice(start, end));
    start = end;
  }
  return cut;
}
