/** What ingest drops: these columns tell of the export, not of the ticket. */
const provenanceColumns = [
  "week_start",
  "week_end",
  "source_s3_bucket",
  "source_s3_key",
  "source_snapshot_id",
  "department",
  "source_type",
] as const;

/** The columns of the contract, in the order the source writes them. */
export const contractColumns = [
  "ticket_id",
  "normalized_status",
  "raw_status",
  "bucket",
  "is_actionable",
  "cluster",
  "region",
  "location_name",
  "assigned_team",
  "owner",
  "sla_status",
  "mttr",
  "created_at_service",
  "scheduled_at",
  "closed_at",
  "first_seen_at",
  "last_seen_at",
  "source_created_at",
  "source_updated_at",
  "latitude",
  "longitude",
  "service_type",
  "is_alarm",
  "is_auto_created",
  "is_auto_closed",
  ...provenanceColumns,
] as const;

export const extraColumn = "fibre core";

type Column = (typeof contractColumns)[number];

export type ProvenanceColumn = (typeof provenanceColumns)[number];

/** A row before it is laid out under a header. */
export type Values = Record<Column, string> & { [extraColumn]?: string };

/** One CSV record: its fields in the order of the file's header; a bare sentinel has fewer. */
export type SampleRow = readonly string[];

export function layOut(values: Values, header: readonly string[]): SampleRow {
  return header.map((name) => values[name as keyof Values] ?? "");
}
