import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { contractColumns } from "../src/samples.ts";
import { describeRun } from "./harness/cli.ts";
import { type IngestReport, createServerDatabase, onlyDataset } from "./harness/loader.ts";
import { runCliMeasured } from "./harness/memory.ts";

const MEBIBYTE = 1024 * 1024;
// Of the contract, for the whole process.
const MOST_BYTES = 150 * MEBIBYTE;

const header = `${contractColumns.join(",")}\n`;
const restOfRow = ",".repeat(contractColumns.length - 1);

describe("the loader needs no more than 150 MiB for", () => {
  const files: readonly [
    what: string,
    parts: () => Iterable<string>,
    outcome: string | { staged: number },
  ][] = [
    ["a header of four million commas", () => ["ticket_id", ",".repeat(4e6), "\n"], "TK113"],
    ["a header with a name of 3 MB", () => [`ticket_id,${"x".repeat(3e6)}\nT1,a\n`], "TK113"],
    ["a header with a quoted name of 3 MB", () => [`ticket_id,"${"x\n".repeat(15e5)}"\n`], "TK113"],
    ["a header of 500,000 columns", () => [`ticket_id${columns(500_000)}\n`], "TK113"],
    ["a header of 5,000 columns", () => [`ticket_id${columns(5000)}\n`], "TK114"],
    ["a header of as many columns as are read", () => [`ticket_id${columns(1599)}\n`], "TK013"],
    ["an HTML page in one line of 64 MB", () => times(1000, `<p>${"x".repeat(64_000)}`), "TK103"],
    [
      "a quoted field of 64 MB",
      () => [header, 'T1,"', ...times(1000, "x".repeat(64_000))],
      "TK108",
    ],
    ["a row of 64 MB without quotes", () => [header, ...times(1000, "x".repeat(64_000))], "TK108"],
    ["a row of 64 million fields", () => [header, ...times(1000, ",".repeat(64_000))], "TK108"],
    [
      "16 MB of blank lines before the header",
      () => blankLines(header, "T1", restOfRow),
      { staged: 1 },
    ],
    [
      "16 MB of blank lines behind it",
      () => [header, ...blankLines("T1", restOfRow)],
      { staged: 1 },
    ],
    [
      "16 MB of EXPORT STOPPED",
      () => [header, ...times(250, "EXPORT STOPPED\n".repeat(4300))],
      { staged: 1_075_000 },
    ],
    [
      "many rows of 3.9 MB",
      () => [header, ...times(40, `T1,${"x".repeat(39e5)}${restOfRow.slice(1)}\n`)],
      { staged: 40 },
    ],
  ];
  for (const [what, parts, outcome] of files) {
    test(what, async (t) => {
      const db = await createServerDatabase(t);
      const folder = await mkdtemp(join(tmpdir(), "fleettickets-memory-test-"));
      t.after(() => rm(folder, { recursive: true }));
      const path = join(folder, "export.csv");
      await write(path, parts());
      const args = ["ingest", "inc", "--csv", path, "--json"];
      const result = await runCliMeasured(args, { env: { DATABASE_URL: db.url } });
      const [file] = onlyDataset(result.json as IngestReport).files;
      const found =
        file?.status === "refused"
          ? file.code
          : file?.status === "applied" && { staged: file.staged };
      assert.deepEqual(found, outcome, describeRun(args, result));
      assert.ok(result.peakBytes < MOST_BYTES, `${result.peakBytes} bytes were resident`);
    });
  }
});

async function write(path: string, parts: Iterable<string>): Promise<void> {
  const file = await open(path, "w");
  for (const part of parts) await file.write(part);
  await file.close();
}

function columns(count: number): string {
  return Array.from({ length: count }, (_, n) => `,c${n}`).join("");
}

function times(count: number, text: string): string[] {
  return Array<string>(count).fill(text);
}

function blankLines(...behind: string[]): string[] {
  return [...times(250, "\n".repeat(64_000)), ...behind, "\n"];
}
