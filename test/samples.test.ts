import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { contractColumns, sampleChanges, sampleCsv, sampleExports } from "../src/samples.ts";
import type { SampleCsvOptions, SampleFile, SampleOptions } from "../src/samples.ts";
import { expectedCounts, expectedTickets } from "./harness/model.ts";
import type { Export } from "./harness/model.ts";

const datasets = ["inc", "crq"] as const;
const messyRun = { seed: 4, files: 12, ticketsPerFile: 120 };

describe("sample exports", () => {
  test("the same seed gives the same bytes", () => {
    assert.deepEqual(
      bodies({ dataset: "inc", ...messyRun }),
      bodies({ dataset: "inc", ...messyRun }),
    );
  });

  test("another seed or dataset gives other tickets", () => {
    const rows = (options: Pick<SampleOptions, "dataset" | "seed">) =>
      sampleExports({ files: 1, ticketsPerFile: 20, mess: false, ...options })[0]?.rows.map((row) =>
        row.slice(1, 25),
      );
    assert.notDeepEqual(rows({ dataset: "inc", seed: 1 }), rows({ dataset: "inc", seed: 2 }));
    assert.notDeepEqual(rows({ dataset: "inc", seed: 1 }), rows({ dataset: "crq", seed: 1 }));
  });

  test("files are named after the EAT time of their export", () => {
    const files = sampleExports({
      dataset: "crq",
      seed: 1,
      files: 2,
      ticketsPerFile: 1,
      firstExport: "2026-12-31T23-50-00",
      everyMinutes: 15,
    });
    assert.deepEqual(
      files.map((file) => [file.key, file.exportedAt.toISOString()]),
      [
        ["automations/crq/changes/2026-12-31T23-50-00.csv", "2026-12-31T20:50:00.000Z"],
        ["automations/crq/changes/2027-01-01T00-05-00.csv", "2026-12-31T21:05:00.000Z"],
      ],
    );
  });

  for (const dataset of datasets) {
    test(`${dataset} bodies read back as the rows and counts that stand beside them`, () => {
      for (const file of sampleExports({ dataset, ...messyRun })) {
        assert.deepEqual(readCsv(file.body), [file.header, ...file.rows], file.key);
        assert.deepEqual(expectedCounts(file), file.expected, file.key);
      }
    });

    test(`${dataset} files show every kind of mess`, () => {
      const files = sampleExports({ dataset, ...messyRun });
      const missing = Object.keys(mess).filter((kind) => !files.some((file) => mess[kind]?.(file)));
      assert.deepEqual(missing, []);
    });
  }

  test("fewer than a tenth of a file's rows are rejected, however small the file", () => {
    for (const ticketsPerFile of [0, 1, 9, 10, 11, 35]) {
      for (const file of sampleExports({ dataset: "inc", ...messyRun, ticketsPerFile })) {
        const { rejected, staged } = file.expected;
        assert.ok(rejected === 0 || rejected * 10 < staged, `${rejected} of ${staged}`);
      }
    }
  });

  test("clean files hold tickets only, in the contract's columns", () => {
    for (const file of sampleExports({ dataset: "crq", ...messyRun, mess: false })) {
      assert.deepEqual(file.header, contractColumns);
      assert.deepEqual(expectedCounts(file), countsOf({ staged: 120 }));
    }
  });

  test("tickets of later files are new ones and changes to known ones", () => {
    const [first, second] = sampleExports({ dataset: "inc", ...messyRun, mess: false });
    assert.ok(first && second);
    const known = new Set(columnOf(first, "ticket_id"));
    assert.equal(columnOf(second, "ticket_id").filter((id) => known.has(id)).length, 60);
    assert.equal(movedTickets(first, second), 120);
  });

  test("the repeat share of a later file leaves its tickets unchanged", () => {
    const options = { dataset: "inc", ...messyRun, mess: false, repeatShare: 0.25 } as const;
    const [first, second] = sampleExports(options);
    assert.ok(first && second);
    assert.equal(movedTickets(first, second), 90);
  });

  test("a run of nothing but repeats moves no ticket after its first file", () => {
    const files = sampleExports({ dataset: "inc", ...messyRun, mess: false, repeatShare: 1 });
    const sources = new Set([...expectedTickets(files).values()].map((each) => each.source_key));
    assert.deepEqual([...sources], [files[0]?.key]);
  });
});

describe("the big sample file", () => {
  const options: SampleCsvOptions = { dataset: "inc", seed: 5, rows: 5000 };

  test("reads as one clean file of the size asked for", () => {
    const file = bigFile(options);
    assert.deepEqual(file.header, contractColumns);
    assert.deepEqual(expectedCounts(file), countsOf({ staged: 5000 }));
  });

  test("comes in chunks of about 256 KiB, the same for the same seed", () => {
    const chunks = [...sampleCsv(options)];
    const sizes = chunks.slice(0, -1).map((chunk) => Math.round(chunk.length / 1024));
    assert.ok(chunks.length > 5);
    assert.ok(
      sizes.every((size) => size >= 256 && size <= 264),
      sizes.join(),
    );
    assert.deepEqual(chunks, [...sampleCsv(options)]);
  });

  test("any two revisions differ in exactly the changed share of the tickets", () => {
    const revisions = [0, 1, 2].map((revision) =>
      bigFile({ ...options, revision, changedShare: 0.1 }),
    );
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [0, 2],
    ] as const) {
      assert.equal(movedTickets(revisions[a], revisions[b]), 500);
    }
  });

  test("a revision without changed share has other bytes and the same tickets", () => {
    const [before, after] = [bigFile(options), bigFile({ ...options, revision: 1 })];
    assert.equal(movedTickets(before, after), 0);
    assert.notDeepEqual(before.rows, after.rows);
  });

  test("a change file changes as many of its tickets as it brings new ones", () => {
    const first = bigFile(options);
    const { seed, rows: known } = options;
    const file = { dataset: "inc", seed, rows: 300, known, revision: 1 } as const;
    const changes = exportOf(file.revision, sampleChanges(file));
    assert.deepEqual(changes.header, contractColumns);
    assert.deepEqual(expectedCounts(changes), countsOf({ staged: 300 }));
    assert.equal(expectedTickets([first, changes]).size, known + 150);
    assert.equal(movedTickets(first, changes), 300);
  });
});

describe("the reference model", () => {
  const [early, late, latest] = ["06-20-00", "06-40-00", "07-00-00"];

  test("says the same in whatever order and however often files come", () => {
    const files = sampleExports({ dataset: "inc", ...messyRun, repeatShare: 0.2 });
    const once = expectedTickets(files);
    assert.deepEqual(expectedTickets(files.toReversed()), once);
    assert.deepEqual(expectedTickets([...files.slice(6), ...files, ...files.slice(0, 3)]), once);
  });

  test("lets the newest file win and, inside a file, the last line", () => {
    const ticket = expectedTicket(
      exportOf(late, { owner: "b" }, { owner: "c" }),
      exportOf(early, { owner: "a" }),
    );
    assert.deepEqual(ticket?.raw, { ticket_id: "INC1", owner: "c" });
    assert.match(ticket.source_key, /06-40-00/);
  });

  test("keeps the source of a ticket that later files repeat unchanged", () => {
    const ticket = expectedTicket(
      exportOf(latest, { owner: "a" }),
      exportOf(early, { owner: "a" }),
      exportOf(late, { owner: "a" }),
    );
    assert.match(ticket?.source_key ?? "", /06-20-00/);
  });

  test("takes a value that comes back after a change for a change", () => {
    const ticket = expectedTicket(
      exportOf(early, { owner: "a" }),
      exportOf(late, { owner: "b" }),
      exportOf(latest, { owner: "a" }),
    );
    assert.match(ticket?.source_key ?? "", /07-00-00/);
  });

  test("cleans what the contract names and keeps the rest to the letter", () => {
    const ticket = expectedTicket(
      exportOf(early, {
        ticket_id: " INC1 ",
        region: " Kiambu ",
        raw_status: "pending ",
        location_name: " Gate 4 ",
        owner: "   ",
        week_start: "2026-06-15",
        "fibre core": "A1",
      }),
    );
    assert.deepEqual(ticket?.raw, {
      ticket_id: "INC1",
      region: "kiambu",
      raw_status: "PENDING",
      location_name: " Gate 4 ",
      "fibre core": "A1",
    });
  });

  test("casts minutes rounded half up, and nothing but digits", () => {
    const cast = (mttr: string) => expectedTicket(exportOf(early, { mttr }))?.mttr;
    assert.deepEqual(
      ["123", "123.0", "12.5", "12.49", "n/a", "-", "1e3", "99999999999", ""].map(cast),
      [123, 123, 13, 12, null, null, null, null, null],
    );
  });

  test("reads timestamps as Nairobi's wall time unless they say otherwise", () => {
    const cast = (closed_at: string) => expectedTicket(exportOf(early, { closed_at }))?.closed_at;
    assert.deepEqual(
      {
        "2026-06-15 17:04:00": cast("2026-06-15 17:04:00"),
        "2026-06-15T17:04": cast("2026-06-15T17:04"),
        "2026-06-15 17:04:00.25": cast("2026-06-15 17:04:00.25"),
        "2026-06-15": cast("2026-06-15"),
        "2026-06-15T17:04:00Z": cast("2026-06-15T17:04:00Z"),
        "2026-06-15 17:04:00-05:30": cast("2026-06-15 17:04:00-05:30"),
        "2026-02-30 10:00:00": cast("2026-02-30 10:00:00"),
        "2026-06-15 25:00:00": cast("2026-06-15 25:00:00"),
        "15/06/2026 10:00": cast("15/06/2026 10:00"),
        yesterday: cast("yesterday"),
      },
      {
        "2026-06-15 17:04:00": "2026-06-15T14:04:00.000Z",
        "2026-06-15T17:04": "2026-06-15T14:04:00.000Z",
        "2026-06-15 17:04:00.25": "2026-06-15T14:04:00.250Z",
        "2026-06-15": "2026-06-14T21:00:00.000Z",
        "2026-06-15T17:04:00Z": "2026-06-15T17:04:00.000Z",
        "2026-06-15 17:04:00-05:30": "2026-06-15T22:34:00.000Z",
        "2026-02-30 10:00:00": null,
        "2026-06-15 25:00:00": null,
        "15/06/2026 10:00": null,
        yesterday: null,
      },
    );
  });

  test("believes the bucket over the closing time", () => {
    const isOpen = (values: Record<string, string>) =>
      expectedTicket(exportOf(early, values))?.is_open;
    const closed_at = "2026-06-15 05:00:00";
    assert.equal(isOpen({ bucket: "closed" }), false);
    assert.equal(isOpen({ bucket: "pending", closed_at }), true);
    assert.equal(isOpen({ bucket: "", closed_at }), false);
    assert.equal(isOpen({ bucket: "", closed_at: "2026-02-30 10:00:00" }), true);
  });

  function exportOf(time: string | undefined, ...rows: Record<string, string>[]): Export {
    const header = [...new Set(["ticket_id", ...rows.flatMap((row) => Object.keys(row))])];
    return {
      key: `automations/inc/changes/2026-06-15T${time}.csv`,
      exportedAt: new Date(`2026-06-15T${time?.replaceAll("-", ":")}+03:00`),
      header,
      rows: rows.map((row) => header.map((name) => ({ ticket_id: "INC1", ...row })[name] ?? "")),
    };
  }

  function expectedTicket(...exports: Export[]) {
    return expectedTickets(exports).get("INC1");
  }
});

/** Every kind of mess by name, and how a file shows it. */
const mess: Record<string, (file: SampleFile) => boolean> = {
  "byte order mark": (file) => text(file).startsWith("\ufeff"),
  "CRLF line ends": (file) => /^[^\n]*\r\n/.test(text(file)),
  "quoted header": (file) => /^\ufeff?"/.test(text(file)),
  "byte order mark before a quoted header": (file) => text(file).startsWith('\ufeff"'),
  "columns in another order": (file) => !file.header.join().startsWith(contractColumns.join()),
  "extra column": (file) => file.header.length > contractColumns.length,
  "blank line": (file) => /^[^\n]*\r?\n\r?\n/.test(text(file)),
  "no final newline": (file) => !text(file).endsWith("\n"),
  "quoted empty field": (file) => text(file).includes(',"",'),
  "sentinel over the full width": (file) =>
    columnOf(file, "ticket_id").some((id) => id.startsWith("EXPORT STOPPED")),
  "bare sentinel": (file) => /^EXPORT STOPPED: /m.test(text(file)),
  "bare sentinel, quoted for its comma": (file) => /^"EXPORT STOPPED, /m.test(text(file)),
  "bare sentinel with a comma, unquoted": (file) => /^EXPORT STOPPED, /m.test(text(file)),
  "sentinel amid the rows": (file) =>
    file.rows.slice(0, -1).some((row) => row[0]?.startsWith("EXPORT STOPPED")),
  "header repeated": (file) => columnOf(file, "ticket_id").includes("ticket_id"),
  "blank id": (file) => columnOf(file, "ticket_id").includes(""),
  "id of spaces": (file) => columnOf(file, "ticket_id").includes("   "),
  "padded id": shows("ticket_id", /^ +\w+ +$/),
  "ticket twice": (file) => file.expected.duplicates > 0,
  "missing service time": shows("created_at_service", /^$/),
  ...showsEach("cluster", ["QOA", "PTMP", ""]),
  ...showsEach("is_alarm", ["true", "True", "TRUE", "t", "T", "1", "yes", "YES"]),
  ...showsEach("is_alarm", ["false", "False", "FALSE", "f", "0", "no", ""]),
  ...showsEach("bucket", ["", "unknown"]),
  ...showsEach("owner", ["", "   "]),
  ...showsEach("normalized_status", ["open", "closed", "reopened"]),
  ...showsEach("mttr", ["12.5", "0.4", "n/a", "-", "1e3", "99999999999"]),
  "whole minutes with a fraction": shows("mttr", /^\d+\.0$/),
  "region in small letters": shows("region", /^[a-z]+$/),
  "region in capitals": shows("region", /^[A-Z]+$/),
  "padded region": shows("region", /^ /),
  "padded status": shows("raw_status", / $/),
  "location with a comma": shows("location_name", /,/),
  "location with quotes": shows("location_name", /"/),
  "location on two lines": shows("location_name", /[^\r\n]\n[^\n]/),
  "location with CRLF inside": shows("location_name", /\r\n/),
  "location with a blank line inside": shows("location_name", /\n\n/),
  "location beyond ASCII": shows("location_name", /[à-ÿ]/),
  "location with a character of four bytes": shows("location_name", /\p{Emoji_Presentation}/u),
  "network code NW_": shows("location_name", /^NW_/),
  "network code ADR_MNT_": shows("location_name", /^ADR_MNT_/),
  "network code FDT alone": shows("location_name", /^_FDT\d+ /),
  "network code SDUS": shows("location_name", /SDUS /),
  "timestamp with T": anyTime(/^[-\d]+T[\d:]{8}$/),
  "timestamp without seconds": anyTime(/^[-\d]+ \d\d:\d\d$/),
  "timestamp with a fraction": anyTime(/\.\d+$/),
  "timestamp with Z": anyTime(/Z$/),
  "timestamp with an offset": anyTime(/\+03:00$/),
  "date alone": anyTime(/^[-\d]{10}$/),
  "impossible date": anyTime(/^2026-02-30/),
  "impossible hour": anyTime(/ 25:/),
  "no timestamp at all": anyTime(/yesterday/),
  "coordinates 0,0": hasCoordinates((latitude, longitude) => latitude === 0 && longitude === 0),
  "coordinates out of range": hasCoordinates((latitude) => latitude < -90),
  "coordinates that are no numbers": hasCoordinates((latitude) => Number.isNaN(latitude)),
  "coordinates in Nairobi": hasCoordinates(
    (latitude, longitude) => Math.abs(latitude + 1.3) < 0.2 && Math.abs(longitude - 36.8) < 0.2,
  ),
};

function shows(column: string, pattern: RegExp): (file: SampleFile) => boolean {
  return (file) => ticketColumn(file, column).some((value) => pattern.test(value));
}

function showsEach(column: string, values: string[]): typeof mess {
  return Object.fromEntries(
    values.map((value) => [
      `${column} '${value}'`,
      (file: SampleFile) => ticketColumn(file, column).includes(value),
    ]),
  );
}

function anyTime(pattern: RegExp): (file: SampleFile) => boolean {
  const columns = ["created_at_service", "scheduled_at", "closed_at"];
  return (file) => columns.some((column) => shows(column, pattern)(file));
}

function hasCoordinates(
  matches: (latitude: number, longitude: number) => boolean,
): (file: SampleFile) => boolean {
  return (file) => {
    const longitudes = ticketColumn(file, "longitude");
    return ticketColumn(file, "latitude").some(
      (latitude, index) => latitude !== "" && matches(Number(latitude), Number(longitudes[index])),
    );
  };
}

/** A column of the rows that have an id, and hence no sentinel's padding. */
function ticketColumn(file: SampleFile, column: string): string[] {
  const ids = columnOf(file, "ticket_id");
  return columnOf(file, column).filter((_, index) => /(INC|CRQ)\d/.test(ids[index] ?? ""));
}

function columnOf(file: Export, column: string): string[] {
  const index = file.header.indexOf(column);
  return file.rows.map((row) => row[index] ?? "");
}

function text(file: SampleFile): string {
  return file.body.toString();
}

function bodies(options: SampleOptions): Buffer[] {
  return sampleExports(options).map((file) => file.body);
}

function countsOf(counts: { staged: number }): SampleFile["expected"] {
  return { dropped_alarm: 0, dropped_sentinel: 0, rejected: 0, duplicates: 0, ...counts };
}

function bigFile(options: SampleCsvOptions): Export {
  return exportOf(options.revision ?? 0, Buffer.concat([...sampleCsv(options)]));
}

function exportOf(revision: number, body: Buffer): Export {
  const [header = [], ...rows] = readCsv(body);
  return { key: `revision ${revision}`, exportedAt: new Date(revision), header, rows };
}

/** How many tickets the second export inserts or changes after the first. */
function movedTickets(first: Export | undefined, second: Export | undefined): number {
  assert.ok(first && second);
  const tickets = [...expectedTickets([first, second]).values()];
  return tickets.filter((ticket) => ticket.source_key === second.key).length;
}

/** Reads CSV as RFC 4180 has it: throws at a stray or missing quote and at mixed line ends. */
function readCsv(body: Buffer): string[][] {
  const source = new TextDecoder("utf-8", { fatal: true }).decode(body);
  const newline = /^(?:"[^"]*"|[^"\r\n])*(\r?\n)/.exec(source)?.[1] ?? "\n";
  const field = /"((?:[^"]|"")*)"|([^",\r\n]*)/y;
  const records: string[][] = [];
  let record: string[] = [];
  for (let at = 0; at < source.length;) {
    field.lastIndex = at;
    const [whole, quoted, plain = ""] = field.exec(source) ?? assert.fail(`no field at ${at}`);
    record.push(quoted?.replaceAll('""', '"') ?? plain);
    at += whole.length;
    if (source.startsWith(",", at)) {
      at += 1;
      if (at === source.length) record.push("");
      else continue;
    } else if (at < source.length) {
      assert.ok(source.startsWith(newline, at), `neither comma nor line end at ${at}`);
      at += newline.length;
    }
    // A blank line reads as one empty field.
    if (record.length > 1 || record[0] !== "") records.push(record);
    record = [];
  }
  return records;
}
