import {
  type DashboardDataset,
  becomeReader,
  checkReading,
  dashboard,
  dashboardDatasets,
  ticketsForMap,
} from "./api/read.ts";
import type { Config } from "./config.ts";
import { type Database, inReadOnlyTransaction, openDatabase } from "./database.ts";
import { CodedError, exitCodeOf, exitCodes } from "./errors.ts";
import type { Filters } from "./preview/data.ts";

/** Reads for the page, with the rights of a reader, one question after the other. */
export interface Reader {
  /** @throws DatabaseError when the database lacks a function that the page needs */
  check(): Promise<void>;
  /** A TicketMap, as JSON. */
  map(filters: Filters): Promise<string>;
  /** A Dashboard of each dataset, as JSON. */
  dashboards(filters: Filters): Promise<string>;
  close(): Promise<void>;
}

/** A reader that opens its session when it is first asked, and again when that was lost. */
export function openReader(
  { databaseUrl, limits }: Pick<Config, "databaseUrl" | "limits">,
  open: () => Promise<Database> = () => openDatabase(databaseUrl, limits),
): Reader {
  let session: Database | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** A session runs one statement at a time, so each waits for the one before. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  }

  async function read<T>(work: (db: Database) => Promise<T>): Promise<T> {
    const isOld = session !== undefined;
    try {
      session ??= await open();
      const db = session;
      return await inReadOnlyTransaction(db, async () => {
        await becomeReader(db);
        return work(db);
      });
    } catch (error) {
      if (isWrongQuestion(error)) throw error;
      await forget();
      // A server that was started anew has ended the session; whoever asks should not notice.
      if (isOld && isLostConnection(error)) return read(work);
      throw error;
    }
  }

  async function forget(): Promise<void> {
    const lost = session;
    session = undefined;
    await lost?.close();
  }

  return {
    check: () => inTurn(() => read(checkReading)),
    map: (filters) => inTurn(() => read((db) => ticketsForMap(db, filters))),
    dashboards: (filters) => inTurn(() => read((db) => readDashboards(db, filters))),
    close: () => inTurn(forget),
  };
}

async function readDashboards(db: Database, filters: Filters): Promise<string> {
  const found: string[] = [];
  for (const dataset of datasetsOf(filters)) found.push(await dashboard(db, dataset, filters));
  return `[${found.join(",")}]`;
}

function datasetsOf({ dataset }: Filters): readonly DashboardDataset[] {
  if (dataset === null) return dashboardDatasets;
  const known = dashboardDatasets.find((name) => name === dataset);
  if (known === undefined) {
    throw new CodedError("TK001", `there is no dashboard of ${dataset}`, {
      hint: `Datasets: ${dashboardDatasets.join(", ")}`,
    });
  }
  return [known];
}

/** Whether it is the question that was wrong, and neither the database nor the program. */
export function isWrongQuestion(error: unknown): boolean {
  return exitCodeOf(error) === exitCodes.usage;
}

function isLostConnection(error: unknown): boolean {
  // 57P01 to 57P03: the server is being stopped or started.
  return error instanceof CodedError && /^(connection|57P0[123])$/.test(error.code);
}
