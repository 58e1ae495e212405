import { listDatasets } from "../api/load.ts";
import type { Part } from "../config.ts";
import { type Database, openDatabase } from "../database.ts";
import { type ExitCode, UsageError, exitCodes } from "../errors.ts";
import { type IngestOptions, type IngestResult, ingest } from "../ingest.ts";
import { print, printJson } from "../output.ts";
import { type CommonFlags, type Session, runCommand } from "../session.ts";
import { stopOnSignal } from "../signals.ts";
import { type Store, openStore } from "../store.ts";
import { summary } from "../summary.ts";

/** The flags of `fleettickets ingest`. */
export interface IngestFlags extends CommonFlags {
  readonly apply?: boolean | undefined;
  readonly csv?: readonly string[] | undefined;
  readonly snapshot?: boolean | undefined;
  readonly reseed?: boolean | undefined;
  readonly archive?: boolean | undefined;
  readonly maxFiles?: number | undefined;
}

/** `fleettickets ingest <dataset>` */
export function ingestCommand(dataset: string, flags: IngestFlags): Promise<void> {
  const needs: Part[] = flags.csv === undefined ? ["database", "bucket"] : ["database"];
  return runCommand(flags, needs, async (session) => {
    checkFlags(dataset, flags);
    const options: Omit<IngestOptions, "dataset"> = {
      apply: flags.apply === true,
      source:
        flags.csv === undefined
          ? { from: flags.snapshot === true ? "snapshots" : "changes" }
          : { from: "files", paths: flags.csv },
      reseed: flags.reseed === true,
      archive: flags.archive !== false,
      maxFiles: flags.maxFiles ?? Infinity,
    };
    return runIngests(
      session,
      async (db) => {
        const datasets = dataset === "all" ? await listDatasets(db) : [dataset];
        return datasets.map((name) => ({ ...options, dataset: name }));
      },
      flags.json === true,
    );
  });
}

function checkFlags(dataset: string, flags: IngestFlags): void {
  const problems: string[] = [];
  if (flags.csv !== undefined && dataset === "all") {
    problems.push("--csv needs one dataset: name inc or crq instead of all");
  }
  if (flags.csv !== undefined && flags.snapshot === true) {
    problems.push("--csv and --snapshot exclude each other: a local file needs no --snapshot");
  }
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
}

/**
 * Runs one dataset after the other and prints what came of it.
 *
 * @param plan says what to run, once the database is open
 * @returns the first exit code that is not 0
 */
export async function runIngests(
  { config, log }: Session,
  plan: (db: Database) => Promise<IngestOptions[]>,
  asJson: boolean,
): Promise<ExitCode> {
  const db = await openDatabase(config.databaseUrl, config.limits);
  const stop = stopOnSignal(log);
  const results: IngestResult[] = [];
  let store: Store | undefined;
  try {
    for (const options of await plan(db)) {
      if (options.source.from !== "files")
        store ??= openStore(config.bucket, config.limits.stallMs);
      results.push(await ingest(options, { db, store, log, shouldStop: stop.isAsked }));
    }
  } finally {
    stop.forget();
    store?.close();
    await db.close();
  }
  const exitCode = results.find((r) => r.exit_code !== exitCodes.done)?.exit_code ?? exitCodes.done;
  if (asJson) printJson({ datasets: results, exit_code: exitCode });
  else print(summary(results));
  return exitCode;
}
