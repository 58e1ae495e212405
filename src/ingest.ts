import * as api from "./api/load.ts";
import { archiveObject } from "./archive.ts";
import { type Database, inSavepoint, inTransaction } from "./database.ts";
import {
  CodedError,
  type ExitCode,
  UnreliableRead,
  ObjectStoreError,
  SilentStore,
  type ErrorDescription,
  describeError,
  exitCodeOf,
  exitCodes,
  isRefusal,
} from "./errors.ts";
import { openGate } from "./gate.ts";
import { listObjects } from "./listing.ts";
import { type LocalFile, checkLocalFiles, openLocalFile } from "./local-file.ts";
import { type Logger, reportError } from "./log.ts";
import { type Progress, openProgress } from "./progress.ts";
import type { Store, StoredObject } from "./store.ts";

/** What a run is to do. */
export interface IngestOptions {
  dataset: string;
  /** Without it, all is done and rolled back. */
  apply: boolean;
  /**
   * Where the exports are: change files; full snapshots; objects named by key, whatever the ledger
   * says of them; files of this machine.
   */
  source:
    | { from: "changes" | "snapshots" }
    | { from: "keys"; keys: readonly string[] }
    | { from: "files"; paths: readonly string[] };
  /** Load what the ledger calls done, too. */
  reseed: boolean;
  archive: boolean;
  maxFiles: number;
}

/** The run that cron makes of a dataset: all new change files, for real, into the archive. */
export function everyNewFile(dataset: string): IngestOptions {
  return {
    dataset,
    apply: true,
    source: { from: "changes" },
    reseed: false,
    archive: true,
    maxFiles: Infinity,
  };
}

/** What a run needs. */
export interface IngestTools {
  db: Database;
  /** Absent where only local files are loaded. */
  store: Store | undefined;
  log: Logger;
  /** Once it says so, the run ends after the file in hand. */
  shouldStop: () => boolean;
}

/** What came of one file. */
export type FileOutcome = { key: string } & (
  | ({ status: "applied"; extra_columns: string[]; missing_columns: string[] } & api.FileCounts)
  | { status: "unread"; error: string; hint: string }
  | { status: "refused"; code: string; error: string; line: number | null; hint: string }
);

/** What came of a run. */
export interface IngestResult {
  dataset: string;
  applied: boolean;
  files: FileOutcome[];
  /** Snapshots that needed no loading. */
  skipped: number;
  archived: number;
  /** Objects under the prefix that are no exports. */
  ignored: number;
  /** Files refused by an earlier run and waiting for a person. */
  refused_earlier: number;
  history: { closures: number; clusters: number };
  stopped: boolean;
  /** What ended the run early; the files before it are done. */
  error: ErrorDescription | null;
  exit_code: ExitCode;
}

// Each takes as long as the store may be silent; a run must end.
const MAX_SILENCES = 3;

/** One run, as it goes along. */
interface Run extends IngestOptions, IngestTools {
  keyPrefix: string;
  progress: Progress;
  /** Files that need no further look: applied or refused. */
  filesDone: number;
  /** How often the store was silent when asked for an object. */
  silences: number;
  /** Keys of files that could not be archived: the next run tries again. */
  notArchived: Set<string>;
  result: IngestResult;
}

/**
 * One run over one dataset: everything that the bucket has and the ledger does not, oldest first,
 * each file in a transaction of its own, archived after its commit.
 *
 * A dry run is the same run in one transaction that is rolled back: its counts are those of a real
 * one, over several files, too.
 *
 * Never throws: what ends a run early is logged and stands in the result, beside the files that
 * were done before it.
 */
export async function ingest(options: IngestOptions, tools: IngestTools): Promise<IngestResult> {
  const { db, log } = tools;
  const { dataset, apply } = options;
  const result = emptyResult(dataset, apply);
  try {
    const keyPrefix = await api.startRun(db, dataset);
    const run: Run = {
      ...options,
      ...tools,
      keyPrefix,
      progress: openProgress(),
      filesDone: 0,
      silences: 0,
      notArchived: new Set(),
      result,
    };
    if (apply) await load(run);
    else await rolledBack(db, () => load(run));
    await api.finishRun(db, dataset);
  } catch (error) {
    // The lock goes with the connection, which whoever opened it closes now.
    reportError(error, log);
    result.error = describeError(error);
    result.exit_code = exitCodeOf(error);
  }
  return result;
}

async function load(run: Run): Promise<void> {
  const { source, result, db, dataset } = run;
  if (source.from === "files") await loadLocalFiles(run, source.paths);
  else if (source.from === "keys") await loadKeys(run, source.keys);
  else if (source.from === "snapshots") await drain(run, run.keyPrefix, "direct", loadSnapshots);
  else await drain(run, `${run.keyPrefix}changes/`, "all", loadChanges);

  const captured = await inTransactionOf(run, () => api.captureHistory(db, dataset));
  for (const { closures, clusters } of captured) result.history = { closures, clusters };
  result.stopped = run.shouldStop();
}

/**
 * Lists and loads until a listing brings nothing that was not seen before: one listing proves
 * little, and the exporter goes on while files are loaded.
 */
async function drain(
  run: Run,
  folder: string,
  depth: "direct" | "all",
  loadListed: (run: Run, files: ListedFile[]) => Promise<void>,
): Promise<void> {
  const { db, log, dataset, result } = run;
  const seen = new Map<string, string>();
  for (;;) {
    const { source_max_key } = await api.importState(db, dataset);
    // What changes under every reading has had its turn, or the run would never end.
    const unread = new Set(result.files.filter((f) => f.status === "unread").map((f) => f.key));
    const { objects, faults, isComplete } = await listObjects(
      storeOf(run),
      folder,
      depth,
      (page) =>
        sortListed(
          run,
          page.filter((o) => seen.get(o.key) !== o.etag && !unread.has(o.key)),
        ),
      source_max_key,
    );
    if (!isComplete && objects.length === 0) {
      log.error({ folder }, "the store says that there are more objects than it lists");
      result.exit_code = exitCodes.objectStore;
    }
    if (objects.length === 0 || isDone(run)) break;
    for (const { key, etag } of objects) seen.set(key, etag);

    const files = objects.filter(({ status }) => status !== "no export");
    result.ignored += objects.length - files.length;
    for (const { key } of files) {
      const fault = faults.get(key);
      if (fault) leaveUnread(run, key, await faultOfObject(run, fault));
    }
    await loadListed(
      run,
      files.filter(({ key }) => !faults.has(key)),
    );
  }
  if (run.archive && run.apply && !isDone(run)) await archiveLeftovers(run);
}

interface ListedFile extends StoredObject {
  status: api.SortedFile["status"] | "no export";
}

/**
 * The listed objects that a run has something to do with, and those that are no exports. A bucket
 * may be full of files that are done: what is to be archived of them, the ledger tells as well.
 */
async function sortListed(run: Run, objects: readonly StoredObject[]): Promise<ListedFile[]> {
  const sorted = new Map<string, api.SortedFile>();
  for (const file of await api.sortFiles(run.db, run, objects)) sorted.set(file.source_key, file);
  const isKept = ({ status, is_archived }: api.SortedFile) =>
    run.source.from !== "changes" ||
    run.reseed ||
    status === "new" ||
    status === "rejected" ||
    (run.archive && is_archived);
  return objects.flatMap((object): ListedFile[] => {
    const file = sorted.get(object.key);
    if (file === undefined) return [{ ...object, status: "no export" }];
    return isKept(file) ? [{ ...object, status: file.status }] : [];
  });
}

async function loadChanges(run: Run, files: ListedFile[]): Promise<void> {
  const due = files.filter((file) => isDue(run, file));
  run.progress.expect(due.slice(0, run.maxFiles));
  for (const file of files) {
    if (isDone(run)) return;
    if (isDue(run, file)) {
      if (await loadObject(run, file)) await archive(run, file);
    } else if (file.status === "rejected") {
      run.result.refused_earlier++;
    } else {
      await archive(run, file);
    }
  }
}

/** The newest snapshot that is not refused says it all; those before it need no loading. */
async function loadSnapshots(run: Run, files: ListedFile[]): Promise<void> {
  const { db, dataset, result } = run;
  let isSettled = false;
  for (const file of files.toReversed()) {
    if (isDone(run)) return;
    if (isDue(run, file)) {
      const { source_etag } = await api.importState(db, dataset);
      if (isSettled || (file.etag === source_etag && !run.reseed)) {
        await inTransactionOf(run, () => api.skipFile(db, fileId(run, file)));
        result.skipped++;
      } else if (!(await loadObject(run, file, { isSnapshot: true }))) {
        continue;
      }
    } else if (file.status === "rejected") {
      result.refused_earlier++;
      continue;
    }
    isSettled = true;
    await archive(run, file);
  }
}

async function loadKeys(run: Run, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    if (isDone(run)) return;
    let object: StoredObject | undefined;
    try {
      object = await storeOf(run).head(key);
    } catch (error) {
      leaveUnread(run, key, await faultOfObject(run, error));
      continue;
    }
    if (object === undefined || (await api.sortFiles(run.db, run, [object])).length === 0) {
      throw new CodedError("TK003", `there is no export ${key} in the bucket`, {
        hint: "The view tickets.load_history shows which files are refused",
      });
    }
    const isSnapshot = !key.startsWith(`${run.keyPrefix}changes/`);
    if (await loadObject(run, object, { isSnapshot })) await archive(run, object);
  }
}

async function loadLocalFiles(run: Run, paths: readonly string[]): Promise<void> {
  await checkLocalFiles(paths);
  for (const path of paths) {
    if (isDone(run)) return;
    const file = await openLocalFile(path);
    await loadFile(run, file, () => file.read());
  }
}

function isDue(run: Run, file: ListedFile): boolean {
  return file.status === "new" || run.reseed;
}

function isDone(run: Run): boolean {
  return run.shouldStop() || run.filesDone >= run.maxFiles;
}

/**
 * Loads one object. When it is another one than was listed, or not all of it comes, or nothing, it
 * is looked at and read once more; then it is left for the next run, which leaves the others their
 * turn.
 *
 * @returns whether it is applied
 */
async function loadObject(
  run: Run,
  listed: StoredObject,
  options: { isSnapshot: boolean } = { isSnapshot: false },
): Promise<boolean> {
  const store = storeOf(run);
  for (let reading = 1; ; reading++) {
    try {
      // The archive is to move what was loaded.
      if (reading > 1) Object.assign(listed, await store.head(listed.key));
      return await loadFile(run, listed, () => store.read(listed), options);
    } catch (error) {
      const fault = await faultOfObject(run, error);
      if (reading > 1 || fault instanceof SilentStore) {
        leaveUnread(run, listed.key, fault);
        return false;
      }
      run.log.warn({ key: listed.key, reason: fault.message }, "reading it once more");
    }
  }
}

/**
 * Returns the error when it is about one object only, so that the run goes on with the others: the
 * store still lists.
 *
 * @throws the error when the store is down, or it is none of the store's
 */
async function faultOfObject(run: Run, error: unknown): Promise<ObjectStoreError> {
  if (!(error instanceof ObjectStoreError)) throw error;
  if (error instanceof UnreliableRead) return error;
  if (error instanceof SilentStore && ++run.silences >= MAX_SILENCES) throw error;
  try {
    await storeOf(run).listPage(run.keyPrefix, "direct", undefined);
  } catch (probe) {
    if (!(probe instanceof ObjectStoreError)) throw probe;
    run.log.debug({ reason: probe.message }, "the store does not list, either");
    throw error;
  }
  return error;
}

/** The next run tries it again: the ledger does not know it. */
function leaveUnread(run: Run, key: string, { message, hint }: ObjectStoreError): void {
  run.log.error({ key, hint }, message);
  run.result.files.push({ key, status: "unread", error: message, hint: hint ?? "" });
  run.result.exit_code = exitCodes.objectStore;
}

/** Brings one file in, or writes into the ledger why not. */
async function loadFile(
  run: Run,
  file: StoredObject | LocalFile,
  read: () => AsyncIterable<Buffer>,
  { isSnapshot }: { isSnapshot: boolean } = { isSnapshot: false },
): Promise<boolean> {
  const { log, progress, result } = run;
  try {
    const outcome = await stageAndApply(run, file, read, isSnapshot);
    progress.end();
    run.filesDone++;
    result.files.push({ key: file.key, status: "applied", ...outcome });
    report(log, outcome, { bytes: file.bytes, isDryRun: !run.apply });
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    progress.end();
    run.filesDone++;
    await refuse(run, file, error);
    return false;
  }
}

/** The heart of it: bytes through the gate into staging, and the database does the rest. */
async function stageAndApply(
  run: Run,
  file: StoredObject | LocalFile,
  read: () => AsyncIterable<Buffer>,
  isSnapshot: boolean,
): Promise<api.FileCounts & { extra_columns: string[]; missing_columns: string[] }> {
  const { db, dataset } = run;
  const { progress } = run;
  let rows = () => 0;
  const source = wholeFile(file, read(), (bytes) => {
    progress.read(bytes, rows());
  });
  progress.begin(file);
  const gate = await openGate(source);
  rows = () => gate.counts().rows;
  try {
    return await inTransactionOf(run, async () => {
      const opened = await api.openFile(db, dataset, file.key, gate.header);
      const { staging_table, copy_columns, extra_columns, missing_columns } = opened;
      await db.copyIn(`${staging_table} (line, ${copy_columns.join(", ")})`, gate.records);
      progress.apply(rows());
      const counts = await api.applyFile(db, fileId(run, file), {
        ...gate.counts(),
        header: gate.header,
        isSnapshot,
      });
      return { ...counts, extra_columns, missing_columns };
    });
  } finally {
    await gate.close();
  }
}

async function refuse(run: Run, file: StoredObject | LocalFile, error: CodedError): Promise<void> {
  const { db, log, dataset, result } = run;
  const { key } = file;
  const { code, message, detail } = error;
  const reason = detail === undefined ? message : `${message}. ${detail}`;
  const line = lineOf(error) ?? null;
  const hint = await inTransactionOf(run, () =>
    api.refuseFile(db, fileId(run, file), { code, message: reason, line }),
  );
  log.error({ dataset, key, code, line, hint }, `refused: ${reason}`);
  result.files.push({ key, status: "refused", code, error: reason, line, hint });
  if (result.exit_code === exitCodes.done) result.exit_code = exitCodes.fileRefused;
}

/** The archive comes after the commit and never undoes it: what fails here, the next run resumes. */
async function archive(run: Run, object: { key: string; etag: string }): Promise<void> {
  const { log, db, dataset, result } = run;
  if (!run.archive || !run.apply) return;
  try {
    const done = await archiveObject(storeOf(run), object, `${run.keyPrefix}processed/`);
    if (done.outcome === "changed") {
      log.warn({ key: object.key }, "not archived: another object has taken its place");
      return;
    }
    if (done.outcome === "gone") {
      log.warn({ key: object.key }, "gone from its place, and not known to be in the archive");
    } else {
      result.archived++;
      log.debug({ key: object.key, to: done.key }, "archived");
    }
    await api.markArchived(db, dataset, object);
  } catch (error) {
    if (!(error instanceof ObjectStoreError)) throw error;
    log.error({ key: object.key, hint: error.hint }, `loaded, not archived: ${error.message}`);
    result.exit_code = exitCodes.objectStore;
    run.notArchived.add(object.key);
    await faultOfObject(run, error);
  }
}

/** What earlier runs have left in its place, or have not noted as archived. */
async function archiveLeftovers(run: Run): Promise<void> {
  const leftovers = await api.unarchivedFiles(run.db, run.dataset);
  for (const { source_key, etag } of leftovers) {
    if (run.shouldStop()) return;
    if (!run.notArchived.has(source_key)) await archive(run, { key: source_key, etag });
  }
}

function report(
  log: Logger,
  file: api.FileCounts & { extra_columns: string[]; missing_columns: string[] },
  { bytes, isDryRun }: { bytes: number; isDryRun: boolean },
): void {
  const { dataset, source_key: key, extra_columns, missing_columns, ...counts } = file;
  const facts = { dataset, key, bytes, ...counts };
  if (isDryRun) log.info({ ...facts, dry_run: true }, "would be applied");
  else log.info(facts, "applied");
  if (counts.dropped_sentinel > 0) log.warn({ key }, "EXPORT STOPPED: this export was cut short");
  if (extra_columns.length > 0) log.info({ key, extra_columns }, "unknown columns, kept in raw");
  if (missing_columns.length > 0) {
    log.warn({ key, missing_columns }, "columns missing, their last values are kept");
  }
  if (counts.rejected > 0) {
    log.warn({ key, rejected: counts.rejected }, "rows rejected, see tickets.rejected_rows");
  }
}

/**
 * The bytes of a file as they come. Nothing beyond the listed size is passed on:
 * a body without end would fill the disk of the database.
 *
 * @throws UnreliableRead when there are more of them than were listed, or fewer
 */
async function* wholeFile(
  { key, bytes: listed }: StoredObject | LocalFile,
  source: AsyncIterable<Buffer>,
  tell: (bytes: number) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > listed) {
      throw new UnreliableRead(`cannot read ${key}: ${listed} bytes listed, more came`);
    }
    yield chunk;
    tell(chunk.length);
  }
  if (bytes < listed) {
    throw new UnreliableRead(`cannot read ${key}: ${bytes} of ${listed} bytes came`);
  }
}

/** A transaction of a run: its own in a real one, a part of the one that is rolled back in a dry one. */
function inTransactionOf<T>(run: Run, work: () => Promise<T>): Promise<T> {
  return run.apply ? inTransaction(run.db, work) : inSavepoint(run.db, work);
}

async function rolledBack(db: Database, work: () => Promise<void>): Promise<void> {
  await db.query("begin");
  try {
    await work();
  } finally {
    await db.query("rollback").catch(() => undefined);
  }
}

/** The line at fault: the gate knows it, the database puts it first in its message. */
function lineOf(error: CodedError): number | undefined {
  const [, line] = /^line (\d+):/.exec(error.message) ?? [];
  return error.line ?? (line === undefined ? undefined : Number(line));
}

function fileId(run: Run, file: StoredObject | LocalFile): api.FileId {
  return { dataset: run.dataset, key: file.key, etag: file.etag, bytes: file.bytes };
}

function storeOf(run: Run): Store {
  if (run.store === undefined) throw new Error("this run has no object store");
  return run.store;
}

function emptyResult(dataset: string, applied: boolean): IngestResult {
  return {
    dataset,
    applied,
    files: [],
    skipped: 0,
    archived: 0,
    ignored: 0,
    refused_earlier: 0,
    history: { closures: 0, clusters: 0 },
    stopped: false,
    error: null,
    exit_code: exitCodes.done,
  };
}
