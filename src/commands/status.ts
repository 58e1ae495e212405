import { posix } from "node:path";
import { type DatasetFreshness, byHand, freshness } from "../api/diagnose.ts";
import { sortFiles } from "../api/load.ts";
import { type Database, withDatabase } from "../database.ts";
import { formatDuration } from "../duration.ts";
import {
  type ErrorDescription,
  type ExitCode,
  ObjectStoreError,
  describeError,
  exitCodes,
} from "../errors.ts";
import { listObjects } from "../listing.ts";
import { reportError } from "../log.ts";
import { type Column, coloured, print, printJson, table } from "../output.ts";
import { type CommonFlags, type Session, runCommand } from "../session.ts";
import { type Store, openStore } from "../store.ts";

/** The flags of `fleettickets status`. */
export interface StatusFlags extends CommonFlags {
  /** In seconds. */
  readonly maxAge?: number | undefined;
  readonly snapshot?: boolean | undefined;
}

/** What is to be said of a dataset. */
interface DatasetStatus extends Omit<DatasetFreshness, "key_prefix"> {
  /** Exports in the bucket that the ledger does not know; null where that could not be seen. */
  files_waiting: number | null;
  is_too_old: boolean;
}

/** `fleettickets status` */
export function statusCommand(flags: StatusFlags): Promise<void> {
  return runCommand(flags, ["database", "bucket if set"], (session) =>
    withDatabase(session.config, (db) => tellStatus(db, session, flags)),
  );
}

async function tellStatus(db: Database, session: Session, flags: StatusFlags): Promise<ExitCode> {
  const { datasets, error } = await gather(db, session, flags);
  const exitCode =
    error !== null
      ? exitCodes.objectStore
      : datasets.some(({ is_too_old }) => is_too_old)
        ? exitCodes.unexpected
        : exitCodes.done;
  if (flags.json === true) printJson({ datasets, error, exit_code: exitCode });
  else print(summary(datasets, flags.maxAge));
  return exitCode;
}

/** What there is to say; without the bucket, where that fails: the database still has its part. */
async function gather(
  db: Database,
  { config, log }: Session,
  flags: StatusFlags,
): Promise<{ datasets: DatasetStatus[]; error: ErrorDescription | null }> {
  const hasBucket = config.bucket.endpoint !== "";
  const store = hasBucket ? openStore(config.bucket, config.limits.stallMs) : undefined;
  const datasets: DatasetStatus[] = [];
  let error: ErrorDescription | null = null;
  try {
    for (const { key_prefix, ...dataset } of await freshness(db)) {
      let files_waiting: number | null = null;
      if (store !== undefined && error === null) {
        try {
          files_waiting = await countWaiting(
            db,
            store,
            { ...dataset, keyPrefix: key_prefix },
            flags.snapshot === true,
          );
        } catch (caught) {
          if (!(caught instanceof ObjectStoreError)) throw caught;
          reportError(caught, log);
          error = describeError(caught);
        }
      }
      datasets.push({ ...dataset, files_waiting, is_too_old: isTooOld(dataset, flags.maxAge) });
    }
  } finally {
    store?.close();
  }
  if (!hasBucket) log.warn("RUSTFS_ENDPOINT is not set: files waiting in the bucket are unknown");
  return { datasets, error };
}

async function countWaiting(
  db: Database,
  store: Store,
  dataset: { dataset: string; keyPrefix: string; watermark: string | null },
  isSnapshot: boolean,
): Promise<number> {
  const [folder, depth] = isSnapshot
    ? [dataset.keyPrefix, "direct" as const]
    : [`${dataset.keyPrefix}changes/`, "all" as const];
  const { objects, isComplete } = await listObjects(
    store,
    folder,
    depth,
    async (page) => {
      const sorted = await sortFiles(db, dataset, page);
      return sorted.flatMap((file) => (file.status === "new" ? [{ key: file.source_key }] : []));
    },
    dataset.watermark ?? undefined,
  );
  if (!isComplete) {
    throw new ObjectStoreError(`the store says that there are more objects in ${folder}`, {
      hint: "It does not list them: look at the store's log, then run again",
    });
  }
  return objects.length;
}

/** A dataset that was never loaded is older than any age. */
function isTooOld({ age_seconds }: { age_seconds: number | null }, maxAge?: number): boolean {
  return maxAge !== undefined && (age_seconds ?? Infinity) > maxAge;
}

const columns: Column[] = [
  { title: "dataset", align: "left" },
  { title: "watermark", align: "left" },
  { title: "age", align: "right" },
  { title: "last run", align: "right" },
  { title: "waiting", align: "right" },
  { title: "refused", align: "right" },
  { title: "unarchived", align: "right" },
];

function summary(datasets: readonly DatasetStatus[], maxAge: number | undefined): string {
  const rows = datasets.map((d) => [
    d.dataset.toUpperCase(),
    d.watermark === null ? "never loaded" : posix.basename(d.watermark),
    d.is_too_old ? coloured("red", ageOf(d)) : ageOf(d),
    d.last_run_at === null ? "?" : `${formatDuration(secondsSince(d.last_run_at))} ago`,
    d.files_waiting === null ? "?" : String(d.files_waiting),
    d.files_refused > 0 ? coloured("red", String(d.files_refused)) : "0",
    d.files_unarchived > 0 ? coloured("yellow", String(d.files_unarchived)) : "0",
  ]);
  return [table(columns, rows), ...advice(datasets, maxAge)].join("\n\n");
}

function advice(datasets: readonly DatasetStatus[], maxAge: number | undefined): string[] {
  const lines: string[] = [];
  const names = (chosen: readonly DatasetStatus[]) =>
    chosen.map(({ dataset }) => dataset.toUpperCase()).join(", ");
  const tooOld = datasets.filter(({ is_too_old }) => is_too_old);
  if (tooOld.length > 0 && maxAge !== undefined) {
    lines.push(
      `Older than ${formatDuration(maxAge)}: ${names(tooOld)}. With files waiting, look at cron ` +
        "and its log; with none, at the exporter. What is broken: fleettickets doctor",
    );
  }
  const refused = datasets.filter(({ files_refused }) => files_refused > 0);
  if (refused.length > 0) {
    lines.push(
      `Refused files wait for a person: ${names(refused)}. Which and why: ` + byHand.refusedFiles,
    );
  }
  return lines;
}

function ageOf({ age_seconds }: DatasetStatus): string {
  return age_seconds === null ? "–" : formatDuration(age_seconds);
}

function secondsSince(at: Date): number {
  return (Date.now() - at.getTime()) / 1000;
}
