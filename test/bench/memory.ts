/** How much memory the loader has at once, whatever the size of a file. */

import { sampleCsv } from "../../src/samples.ts";
import { table } from "../../src/output.ts";
import { changeKey } from "../harness/loader.ts";
import type { Scope } from "../harness/scope.ts";
import {
  MEMORY_TARGET_MB,
  type Judgement,
  type Outcome,
  type Surroundings,
  figureTable,
  judge,
  mebibytes,
  numberColumns,
  surroundingsOf,
  surroundingsText,
  tell,
} from "./report.ts";
import {
  type Stage,
  appliedFile,
  runMeasured,
  sampleTickets,
  settle,
  startAll,
} from "./servers.ts";

// Their rows are in the file again and again.
const DISTINCT_TICKETS = 10_000;

export interface MemoryOptions {
  /** Of 1024 × 1024 bytes, as the memory's. */
  megabytes: number;
}

interface FileReport {
  megabytes: number;
  rows: number;
  seconds: number;
  node_rss_mb: number;
}

/** What `--json` prints. */
interface Report extends Surroundings {
  small_file: FileReport;
  large_file: FileReport;
  figures: { node_rss_mb: Judgement & { value: number } };
}

/**
 * Loads a file of 1 MB and a large one from the object store, each by a dry run: the loader then
 * reads, gates and copies all bytes, and the database applies them, as in any run, but that all is
 * rolled back.
 *
 * The large file repeats 10,000 tickets. To the loader, which knows no tickets, that makes no
 * difference; the database has 10,000 to write and not millions, which spares minutes.
 *
 * The object store keeps what it has in the memory of its own process, twice as much while it puts
 * the parts together: 4 GB for a file of 2.
 */
export async function memory(scope: Scope, { megabytes }: MemoryOptions): Promise<Outcome> {
  const stage = await startAll(scope);
  const smallFile = await load(stage, 1);
  const largeFile = await load(stage, megabytes);
  const value = largeFile.node_rss_mb;
  const report: Report = {
    small_file: smallFile,
    large_file: largeFile,
    figures: { node_rss_mb: { value, ...judge(value, MEMORY_TARGET_MB) } },
    ...(await surroundingsOf(stage.client)),
  };
  return { report, sections: sectionsOf(report) };
}

async function load({ client, env, s3, store }: Stage, megabytes: number): Promise<FileReport> {
  const key = changeKey(0);
  tell(`writing and loading ${megabytes} MB`);
  await s3.putStream(key, repeatedCsv(megabytes));
  const object = await store.head(key);
  await settle(client);
  const run = await runMeasured(["ingest", "inc"], env);
  return {
    megabytes: mebibytes(object?.bytes ?? 0),
    rows: appliedFile(run, key).staged,
    seconds: run.seconds,
    node_rss_mb: mebibytes(run.peakBytes),
  };
}

/** A file that is no smaller, made of the same rows again and again. */
function* repeatedCsv(megabytes: number): Generator<Buffer> {
  const [first, ...others] = sampleCsv({ ...sampleTickets, rows: DISTINCT_TICKETS });
  if (first === undefined) throw new Error("the sample file is empty");
  const endOfHeader = first.indexOf("\n") + 1;
  yield first.subarray(0, endOfHeader);
  const rows = [first.subarray(endOfHeader), ...others];
  for (let bytes = endOfHeader; ;) {
    for (const chunk of rows) {
      if (mebibytes(bytes) >= megabytes) return;
      yield chunk;
      bytes += chunk.length;
    }
  }
}

function sectionsOf(report: Report): string[] {
  const files = table(
    numberColumns("", ["MB", "rows", "seconds", "peak memory in MB"]),
    Object.entries({ "small file": report.small_file, "large file": report.large_file }).map(
      ([name, { megabytes, rows, seconds, node_rss_mb }]) => [
        name,
        megabytes.toFixed(1),
        String(rows),
        seconds.toFixed(2),
        node_rss_mb.toFixed(0),
      ],
    ),
  );
  return [files, figureTable(["value"], report.figures), surroundingsText(report)];
}
