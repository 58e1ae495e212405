import { posix } from "node:path";
import type { ErrorDescription } from "./errors.ts";
import type { FileOutcome, IngestResult } from "./ingest.ts";
import { type Column, table } from "./output.ts";
import { printableInLine } from "./printable.ts";

const counts = [
  ["staged", "rows"],
  ["inserted", "new"],
  ["updated", "changed"],
  ["unchanged", "same"],
  ["stale", "stale"],
  ["duplicates", "dupl."],
  ["dropped_alarm", "alarms"],
  ["dropped_sentinel", "stops"],
  ["rejected", "rejected"],
  ["closures", "closures"],
] as const;

const columns: Column[] = [
  { title: "file", align: "left" },
  ...counts.map(([, title]): Column => ({ title, align: "right" })),
];

/** What came of a command's runs, for a person. */
export function summary(results: readonly IngestResult[]): string {
  return results.map(summaryOfRun).join("\n\n");
}

function summaryOfRun(result: IngestResult): string {
  const { dataset, files } = result;
  const applied = files.filter((file) => file.status === "applied");
  const refused = files.filter((file) => file.status === "refused");
  const parts = [`${dataset.toUpperCase()}: ${headline(result, applied.length, refused.length)}`];
  if (applied.length > 0) parts.push(tableOf(applied));
  for (const { key, code, error, hint } of refused) {
    parts.push(notice(`Refused ${key}`, `${code} ${error}`, hint));
  }
  for (const { key, error, hint } of files.filter((file) => file.status === "unread")) {
    parts.push(notice(`Not loaded ${key}`, error, hint));
  }
  if (result.error !== null) {
    parts.push(endedEarly(result.error));
  }
  return parts.join("\n\n");
}

/** What ended a run before it was done, and what to do about it. */
export function endedEarly({ message, detail, hint }: ErrorDescription): string {
  return notice(`Ended early: ${message}`, ...[detail, hint].filter((line) => line !== undefined));
}

/** What happened, and below it what is to be known of it, each in a line of its own. */
function notice(...lines: readonly string[]): string {
  return lines.map(printableInLine).join("\n  ");
}

function headline(result: IngestResult, applied: number, refused: number): string {
  const facts = [
    applied === 0
      ? result.error === null
        ? "nothing new"
        : "nothing loaded"
      : count(applied, "file"),
    refused > 0 ? `${count(refused, "file")} refused` : "",
    result.skipped > 0 ? `${count(result.skipped, "snapshot")} not needed` : "",
    result.archived > 0 ? `${result.archived} archived` : "",
    result.refused_earlier > 0 ? `${result.refused_earlier} still refused from before` : "",
    result.ignored > 0 ? `${count(result.ignored, "other object")} ignored` : "",
    result.stopped ? "stopped by a signal" : "",
  ];
  const mode = result.applied ? "" : " (dry run: nothing was written; --apply makes it real)";
  return facts.filter(Boolean).join(", ") + mode;
}

function tableOf(files: readonly Extract<FileOutcome, { status: "applied" }>[]): string {
  const rows = files.map((file) => [
    posix.basename(file.key),
    ...counts.map(([name]) => number(file[name])),
  ]);
  if (files.length === 1) return table(columns, rows);
  const totals = counts.map(([name]) => number(files.reduce((sum, file) => sum + file[name], 0)));
  return table(columns, [...rows, ["together", ...totals]]);
}

// A nought says least when it is not there.
function number(value: number): string {
  return value === 0 ? "·" : String(value);
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
