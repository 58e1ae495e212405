// What others wrote reaches a terminal as visible text alone, by whichever way the program prints it.

import assert from "node:assert/strict";
import { type TestContext, describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { createLog, reportError } from "../src/log.ts";
import { coloured, print, table } from "../src/output.ts";
import { printable, printableInLine, printableJson } from "../src/printable.ts";
import { progressLine } from "../src/progress.ts";
import { keepSecret } from "../src/secrets.ts";
import { type CliResult, describeRun, runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { type IngestReport, changeKey, onlyDataset, startLoader } from "./harness/loader.ts";
import { insertTickets } from "./sql/places.ts";

/** Clears the screen, in both ways to write a CSI, and writes the rest of the line backwards. */
const hostile = "a\u001b[2Jb\u009b2Jc\u202ed\u200be\u0007\r\u007f";
const harmless = "a\\x1b[2Jb\\x9b2Jc\\u202ed\\u200be\\x07\\x0d\\x7f";
const RAW = /(?!\n|\t)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

describe("a text of others", () => {
  test("is printed with escapes for all that a terminal would obey or not show", () => {
    assert.equal(printable(`${hostile}\n\té – 東 😀`), `${harmless}\n\té – 東 😀`);
    for (let code = 0; code < 0x1_1000; code++) {
      const text = printable(String.fromCodePoint(code));
      assert.doesNotMatch(text, RAW, code.toString(16));
    }
  });

  test("makes no new line, where it is a part of one", () => {
    assert.equal(printableInLine(`1\n2\t3\u2028${hostile}`), `1\\x0a2\\x093\\u2028${harmless}`);
  });

  test("is the same in JSON, with escapes that mean the same", () => {
    const data = { [hostile]: `${hostile}\n\u{e0041}\u2028`, at: new Date(0), n: 1, none: null };
    const json = printableJson(data);
    assert.doesNotMatch(json, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    assert.deepEqual(JSON.parse(json), { ...data, at: "1970-01-01T00:00:00.000Z" });
  });

  test("leaves JSON what it is, when a secret is a number or has quotes in it", () => {
    keepSecret("4711");
    keepSecret('"rows":');
    const data = { key: "4711", rows: 4711, text: '"rows":1' };
    assert.deepEqual(JSON.parse(printableJson(data)), { key: "***", rows: 4711, text: "***1" });
  });
});

describe("escapes of others do not reach the terminal", () => {
  test("in a table, whose columns stay straight and whose rows stay lines", (t) => {
    const written = catchOutput(t, process.stdout);
    const columns = [
      { title: "one", align: "left" },
      { title: "two", align: "right" },
    ] as const;
    const rowsOfOthers = [
      [`${hostile}\nfaked  0`, "1"],
      ["b", "22"],
    ];
    print(table(columns, rowsOfOthers));
    const [titles = "", , ...rows] = written().trimEnd().split("\n");
    assert.deepEqual(
      rows.map((row) => row.length),
      [titles.length, titles.length],
    );
    assert.ok(written().includes(harmless));
  });

  test("beside our own colours, which do", (t) => {
    const before = process.env;
    process.env = { ...before, FORCE_COLOR: "1" };
    t.after(() => (process.env = before));
    const written = catchOutput(t, process.stdout);
    const cell = coloured("red", `ours ${hostile}`);
    print(table([{ title: "", align: "left" }], [[cell], ["\u001b[31mtheirs\u001b[39m"]]));
    assert.ok(written().includes(`\u001b[31mours ${harmless}\u001b[39m\n`), written());
    assert.ok(written().includes("\\x1b[31mtheirs\\x1b[39m"), written());
  });

  test("in the bar, which still fits its line", () => {
    const state = {
      ...{ files: 1, filesDone: 0, bytes: 2, bytesDone: 1, rows: 1 },
      ...{ key: `x/${hostile}.csv`, isApplying: false, elapsedMs: 1 },
    };
    assert.ok(progressLine(state, 200).endsWith(`${harmless}.csv`));
    for (let width = 1; width < 150; width++) {
      assert.ok(progressLine(state, width).length < width);
    }
  });

  for (const isTerminal of [true, false]) {
    test(`in the log, ${isTerminal ? "for people" : "for machines"}`, async (t) => {
      const written = catchOutput(t, process.stderr, isTerminal);
      const log = await createLog("info");
      log.info({ key: hostile }, hostile);
      log.info(`fake\n[12:00:00] INFO: ${hostile}`);
      reportError(new Error(hostile), log);
      assert.doesNotMatch(written(), RAW);
      assert.equal(written().match(/^(\{|\[\d\d:)/gm)?.length, 3, written());
    });
  }
});

describe("no command prints an escape of others:", () => {
  test("ingest, status and doctor, of keys and headers", async (t) => {
    const { env, s3, run } = await startLoader(t);
    const column = `col\u001b]0;owned\u0007\u009b2J\u202e`;
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1", [column]: "x" }]));
    await s3.put(changeKey(2), `ticket_id,${column},${column}\nT2,a,b\n`);
    await s3.put("automations/inc/changes/2026-06-15T09-00-00\u009b2J.csv", "ticket_id\nT3\n");
    assertVisible(await run(["ingest", "inc", "--apply", "--no-archive"], exitCodes.fileRefused));
    const { json, ...again } = await run(["retry", changeKey(2), "--json"], exitCodes.fileRefused);
    assertVisible(again);
    const { files } = onlyDataset(json as IngestReport);
    assert.ok(JSON.stringify(files).includes("\u202e"), "JSON holds the name as it is");
    assertVisible(await run(["status"]));
    assertVisible(await runCli(["doctor"], { env }));
  });

  test("geocode, of clusters", async (t) => {
    const { db, run } = await startLoader(t);
    await db.look((query) =>
      insertTickets(
        { query: async (text, values) => ({ rows: await query(text, values) }) },
        { cluster: "Ka\u001b[2Jren\u009b2J" },
      ),
    );
    const result = await run(["geocode", "clusters"]);
    assertVisible(result);
    assert.match(result.stdout, /Ka\\x1b\[2Jren\\x9b2J/);
  });

  test("a command line that it does not understand", async () => {
    for (const args of [[hostile], ["ingest", `--${hostile}`], ["status", "--max-age", hostile]]) {
      const result = await runCli(args);
      assert.equal(result.code, exitCodes.usage, describeRun(args, result));
      assertVisible(result);
    }
  });

  function assertVisible({ stdout, stderr }: Pick<CliResult, "stdout" | "stderr">): void {
    assert.doesNotMatch(stdout + stderr, RAW);
  }
});

/** What is written to a stream until the end of the test, which need not be a terminal to say so. */
function catchOutput(t: TestContext, stream: NodeJS.WriteStream, isTerminal = false): () => string {
  const before = { isTTY: stream.isTTY, hasColors: stream.hasColors };
  let text = "";
  Object.assign(stream, { isTTY: isTerminal, hasColors: () => false });
  t.mock.method(stream, "write", (chunk: string) => {
    text += chunk;
    return true;
  });
  t.after(() => Object.assign(stream, before));
  return () => text;
}
