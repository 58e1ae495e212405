/**
 * The reference model: what the ticket tables must say after loading some exports, worked out
 * from the contract row by row and without SQL, so that tests compare two independent answers.
 */

import { isDeepStrictEqual } from "node:util";

import type { SampleCounts, SampleFile, SampleRow } from "../../src/samples.ts";

/** What the model needs of an export; the header must carry all contract columns. */
export type Export = Pick<SampleFile, "key" | "exportedAt" | "header" | "rows">;

export interface ExpectedTicket {
  raw: Record<string, string>;
  /** The export that last changed the ticket; repeating it unchanged does not. */
  source_key: string;
  is_open: boolean;
  mttr: number | null;
  /** Timestamps as `Date.toISOString` writes them, or null for what is no timestamp. */
  closed_at: string | null;
  created_at_service: string | null;
  scheduled_at: string | null;
}

interface Version {
  exportedAt: number;
  key: string;
  raw: Record<string, string>;
}

const droppedColumns = new Set([
  "week_start",
  "week_end",
  "source_s3_bucket",
  "source_s3_key",
  "source_snapshot_id",
  "department",
  "source_type",
]);

/** The ticket tables after loading the exports, in whatever order and however often. */
export function expectedTickets(exports: readonly Export[]): Map<string, ExpectedTicket> {
  const versions = new Map<string, Version[]>();
  for (const { key, exportedAt, header, rows } of exports) {
    for (const [ticketId, raw] of lastRows(header, rows)) {
      const version = { exportedAt: exportedAt.getTime(), key, raw };
      versions.set(ticketId, [...(versions.get(ticketId) ?? []), version]);
    }
  }
  return new Map([...versions].map(([ticketId, all]) => [ticketId, expectedTicket(all)]));
}

/** What loading one export counts, whatever was loaded before. */
export function expectedCounts({ header, rows }: Export): SampleCounts {
  const outcomes = rows.map((row) => outcomeOf(header, row));
  const count = (outcome: Outcome) => outcomes.filter((each) => each === outcome).length;
  return {
    staged: rows.length,
    dropped_alarm: count("dropped_alarm"),
    dropped_sentinel: count("dropped_sentinel"),
    rejected: count("rejected"),
    duplicates: count("ticket") - lastRows(header, rows).size,
  };
}

type Outcome = "ticket" | "dropped_alarm" | "dropped_sentinel" | "rejected";

function outcomeOf(header: readonly string[], row: SampleRow): Outcome {
  const ticketId = fieldOf(header, row, "ticket_id");
  // A bare sentinel is a line of its own, so its text stands first under whatever header.
  if ([row[0] ?? "", ticketId].some((text) => text.startsWith("EXPORT STOPPED"))) {
    return "dropped_sentinel";
  }
  if (/^(true|t|1|yes)$/i.test(fieldOf(header, row, "is_alarm"))) return "dropped_alarm";
  if (ticketId === "" || ticketId === "ticket_id") return "rejected";
  return "ticket";
}

/** The last line of each ticket, cleaned. */
function lastRows(
  header: readonly string[],
  rows: readonly SampleRow[],
): Map<string, Record<string, string>> {
  const tickets = rows.filter((row) => outcomeOf(header, row) === "ticket");
  return new Map(
    tickets.map((row) => [fieldOf(header, row, "ticket_id"), cleanedRow(header, row)]),
  );
}

function fieldOf(header: readonly string[], row: SampleRow, column: string): string {
  return (row[header.indexOf(column)] ?? "").trim();
}

function cleanedRow(header: readonly string[], row: SampleRow): Record<string, string> {
  return Object.fromEntries(
    header
      .map((column, index): [string, string] => [column, cleanedValue(column, row[index] ?? "")])
      .filter(([column, value]) => value !== "" && !droppedColumns.has(column)),
  );
}

function cleanedValue(column: string, text: string): string {
  const trimmed = text.trim();
  switch (column) {
    case "ticket_id":
      return trimmed;
    case "region":
      return trimmed.toLowerCase();
    case "raw_status":
      return trimmed.toUpperCase();
    default:
      return trimmed === "" ? "" : text;
  }
}

function expectedTicket(versions: readonly Version[]): ExpectedTicket {
  const sorted = [...versions].sort(compareVersions);
  const { raw, key } = lastChange(sorted);
  const closedAt = castTimestamp(raw["closed_at"]);
  return {
    raw,
    source_key: key,
    is_open: isOpen(raw["bucket"], closedAt),
    mttr: castMinutes(raw["mttr"]),
    closed_at: closedAt,
    created_at_service: castTimestamp(raw["created_at_service"]),
    scheduled_at: castTimestamp(raw["scheduled_at"]),
  };
}

function compareVersions(a: Version, b: Version): number {
  return a.exportedAt - b.exportedAt || Buffer.compare(Buffer.from(a.key), Buffer.from(b.key));
}

/** The first of the newest versions that all say the same. */
function lastChange(sorted: readonly Version[]): Version {
  return sorted.reduce((changed, version) =>
    isDeepStrictEqual(version.raw, changed.raw) ? changed : version,
  );
}

function isOpen(bucket: string | undefined, closedAt: string | null): boolean {
  if (bucket === "closed") return false;
  if (bucket === "pending") return true;
  return closedAt === null;
}

function castMinutes(text = ""): number | null {
  const match = /^(\d+)(?:\.(\d)\d*)?$/.exec(text.trim());
  if (match === null) return null;
  const minutes = Number(match[1]) + (Number(match[2] ?? 0) >= 5 ? 1 : 0);
  const greatestInt = 2 ** 31 - 1;
  return minutes <= greatestInt ? minutes : null;
}

const timestampPattern =
  /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/;

function castTimestamp(text = ""): string | null {
  const match = timestampPattern.exec(text.trim());
  if (match === null) return null;
  const [, date = "", time = "00:00", seconds = "00", fraction = "", offset = "+03:00"] = match;
  // Date.parse rolls 30 February over into March, so look whether the date stays itself.
  const midnight = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== date) return null;
  const at = Date.parse(`${date}T${time}:${seconds}${fraction}${offset}`);
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}
