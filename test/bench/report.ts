/** What came of a measurement, in numbers and for people. */

import { availableParallelism, cpus, totalmem } from "node:os";
import type { Client } from "pg";
import { type Column, table } from "../../src/output.ts";

/** What a command of the bench has measured: for a program, and for people, section by section. */
export interface Outcome {
  report: object;
  sections: readonly string[];
}

/** Several measurements of the same. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** A promise beside what became of it. */
export interface Judgement {
  /** What may not be exceeded. */
  target: number;
  is_met: boolean;
}

/** What it was measured on. */
export interface Surroundings {
  machine: { cpu: string; cpus: number; memory_mb: number; node: string };
  server: Record<string, string>;
}

/** What is promised of the memory of the loader's process, whatever it loads. */
export const MEMORY_TARGET_MB = 150;

// What decides how much the server writes, how safely, and in how much memory.
const serverSettings = [
  "fsync",
  "full_page_writes",
  "max_wal_size",
  "server_version",
  "shared_buffers",
  "synchronous_commit",
  "work_mem",
];

export function judge(value: number, target: number): Judgement {
  return { target, is_met: value <= target };
}

export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("nothing was measured");
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}

export function mapValues<Name extends string, From, To>(
  object: Record<Name, From>,
  make: (value: From, name: Name) => To,
): Record<Name, To> {
  const entries = Object.entries<From>(object) as [Name, From][];
  return Object.fromEntries(entries.map(([name, value]) => [name, make(value, name)])) as Record<
    Name,
    To
  >;
}

export function mebibytes(bytes: number): number {
  return bytes / 1024 / 1024;
}

/** This machine, and the settings of the server that the session is on. */
export async function surroundingsOf(client: Client): Promise<Surroundings> {
  const { rows } = await client.query<{ name: string; setting: string }>(
    `select s.name, current_setting(s.name) as setting
     from pg_settings as s
     where s.name = any ($1)
     order by s.name`,
    [serverSettings],
  );
  return {
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cpus: availableParallelism(),
      memory_mb: Math.round(mebibytes(totalmem())),
      node: process.versions.node,
    },
    server: Object.fromEntries(rows.map(({ name, setting }) => [name, setting])),
  };
}

export function surroundingsText({ machine, server }: Surroundings): string {
  const { cpu, cpus, memory_mb, node } = machine;
  const settings = Object.entries(server).map(([name, value]) => `${name} ${value}`);
  return `${cpu}, ${cpus} CPUs, ${memory_mb} MB, Node ${node}\n${settings.join(", ")}`;
}

/** The figures that something is promised of, each with these numbers of it. */
export function figureTable<Number extends string>(
  numbers: readonly Number[],
  figures: Record<string, Judgement & Record<Number, number>>,
): string {
  return table(
    [...numberColumns("", [...numbers, "target"]), { title: "", align: "left" }],
    Object.entries(figures).map(([name, figure]) => [
      name,
      ...numbers.map((number) => figure[number].toFixed(2)),
      `≤ ${figure.target}`,
      figure.is_met ? "met" : "not met",
    ]),
  );
}

/** The columns of a table with names in the first one and numbers in the others. */
export function numberColumns(first: string, others: readonly string[]): Column[] {
  return [
    { title: first, align: "left" },
    ...others.map((title) => ({ title, align: "right" as const })),
  ];
}

/** What a person sees meanwhile. */
export function tell(text: string): void {
  process.stderr.write(`${text} …\n`);
}
