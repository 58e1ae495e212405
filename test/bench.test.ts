// The speed itself is for a person to judge, on a quiet machine: here, that it is measured.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";

const BENCH = fileURLToPath(new URL("bench/run.ts", import.meta.url));

const targets = {
  first_load_ratio: 4,
  unchanged_ratio: 2,
  changed10_ratio: 3.5,
  node_rss_mb: 150,
  noop_ratio: 2,
  noop_growth_ratio: 1.25,
  map_ratio: 1.5,
  dashboard_ratio: 1.5,
};

interface Judgement {
  target: number;
  is_met: boolean;
}

interface Report {
  rows: number;
  figures: Record<string, { median: number; min: number; max: number } & Judgement>;
  seconds: Record<string, { median: number }>;
  breakdown: Record<string, Record<string, number>>;
}

interface GrowthReport {
  sizes: { rows: number; first_load: Numbers; change_file: Spreads; noop: Spreads }[];
  figures: Record<string, { value: number; rows: number[] } & Judgement>;
}

type Numbers = Record<string, number>;
type Spreads = Record<string, { median: number; min: number; max: number }>;

interface MemoryReport {
  small_file: Numbers;
  large_file: Numbers;
  figures: { node_rss_mb: { value: number } & Judgement };
}

test("bench --json prints each promised figure beside its target, and where the time goes", async () => {
  const report = (await bench("--json", "--rows", "2000", "--repeat", "1")) as Report;
  assert.equal(report.rows, 2000);
  assert.deepEqual(targetsOf(report.figures), targets);
  assertPositive([
    ...Object.values(report.figures).flatMap(({ median, min, max }) => [median, min, max]),
    ...Object.values(report.seconds).map(({ median }) => median),
    ...Object.values(report.breakdown).flatMap(({ copy, write_tickets, history }) => [
      copy,
      write_tickets,
      history,
    ]),
  ]);
});

test("bench growth --json prints what runs cost by number of tickets, the smallest first", async () => {
  const args = ["growth", "--rows", "2000,300", "--repeat", "1", "--json"];
  const { sizes, figures } = (await bench(...args)) as GrowthReport;
  assert.deepEqual(
    sizes.map(({ rows }) => rows),
    [300, 2000],
  );
  assert.deepEqual(targetsOf(figures), {
    first_load_growth_ratio: 1.5,
    change_file_seconds: 1,
    noop_growth_ratio: 1.25,
  });
  assertPositive([
    ...Object.values(figures).map(({ value }) => value),
    ...sizes.flatMap(({ first_load, change_file, noop }) => [
      ...Object.values(first_load),
      ...[change_file, noop].flatMap(Object.values).map(({ median }: Numbers) => median),
    ]),
  ]);
  for (const { first_load, change_file, noop } of sizes) {
    assert.ok(Number(first_load["apply_seconds"]) < Number(first_load["seconds"]));
    for (const run of [change_file, noop]) {
      assert.ok(Number(run["database_seconds"]?.median) < Number(run["seconds"]?.median));
    }
  }
});

test("bench memory --json prints the peak memory of the loader with a file of the size named", async () => {
  const report = (await bench("memory", "--megabytes", "3", "--json")) as MemoryReport;
  const { small_file, large_file, figures } = report;
  assert.equal(Math.floor(Number(small_file["megabytes"])), 1);
  assert.equal(Math.floor(Number(large_file["megabytes"])), 3);
  assert.equal(figures.node_rss_mb.target, 150);
  assert.equal(figures.node_rss_mb.value, large_file["node_rss_mb"]);
  assertPositive([...Object.values(small_file), ...Object.values(large_file)]);
});

test("bench says what is wrong with its command line, and how it is used", async () => {
  for (const [args, message] of [
    [["speed"], /no command speed: ratios, growth, memory/],
    [["--megabytes", "1"], /--megabytes/],
    [["--rows", "9"], /--rows takes whole numbers from 10 on, not 9/],
    [["growth", "--rows", "1000,many"], /--rows takes whole numbers from 300 on, not many/],
    [["growth", "--repeat", "0"], /--repeat takes whole numbers from 1 on, not 0/],
    [["memory", "--megabytes", "0.5"], /--megabytes takes whole numbers from 1 on, not 0.5/],
    [["memory", "--rows", "1000"], /--rows/],
  ] as const) {
    await assert.rejects(bench(...args), { code: 2, stdout: "", stderr: message });
  }
  for (const args of [["--help"], ["growth", "--help"]]) {
    assert.match((await run(args)).stdout, /^Usage: .*ratios.*growth.*memory/s);
  }
});

/** What a command of the bench prints with `--json`. */
async function bench(...args: string[]): Promise<unknown> {
  return JSON.parse((await run(args)).stdout);
}

function run(args: string[]) {
  const { PATH, TEST_SERVER_URL } = process.env;
  const env = { PATH, TEST_DATABASE_URL: TEST_SERVER_URL };
  return promisify(execFile)(process.execPath, [BENCH, ...args], { env });
}

function targetsOf(figures: Record<string, Judgement>): Numbers {
  return Object.fromEntries(Object.entries(figures).map(([name, { target }]) => [name, target]));
}

function assertPositive(numbers: readonly unknown[]): void {
  assert.deepEqual(
    numbers.filter((number) => typeof number !== "number" || number <= 0),
    [],
  );
}
