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

interface Report {
  rows: number;
  figures: Record<string, { median: number; min: number; max: number; target: number }>;
  seconds: Record<string, { median: number }>;
  breakdown: Record<string, Record<string, number>>;
}

test("bench --json prints each promised figure beside its target, and where the time goes", async () => {
  const { PATH, TEST_SERVER_URL } = process.env;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [BENCH, "--json", "--rows", "2000", "--repeat", "1"],
    { env: { PATH, TEST_DATABASE_URL: TEST_SERVER_URL } },
  );
  const report = JSON.parse(stdout) as Report;
  assert.equal(report.rows, 2000);
  assert.deepEqual(
    Object.fromEntries(Object.entries(report.figures).map(([name, { target }]) => [name, target])),
    targets,
  );
  const measured = [
    ...Object.values(report.figures).flatMap(({ median, min, max }) => [median, min, max]),
    ...Object.values(report.seconds).map(({ median }) => median),
    ...Object.values(report.breakdown).flatMap(({ copy, write_tickets, history }) => [
      copy,
      write_tickets,
      history,
    ]),
  ];
  assert.deepEqual(
    measured.filter((number) => typeof number !== "number" || number <= 0),
    [],
  );
});
