import { type Values, extraColumn } from "./columns.ts";
import { type Dataset, type Profile, profiles } from "./datasets.ts";
import type { Export } from "./file.ts";
import { messUp } from "./odd-values.ts";
import { type Random, draw, pick, seededRandom } from "./random.ts";
import {
  type Ticket,
  advanceTicket,
  meetTicket,
  provenanceValues,
  ticketValues,
} from "./tickets.ts";
import { defaultEveryMinutes, defaultFirstExport, minute, parseExportTime } from "./time.ts";

export interface SampleOptions {
  dataset: Dataset;
  seed: number;
  files: number;
  /** Distinct tickets a file; alarms, sentinels, rejected rows and duplicates come on top. */
  ticketsPerFile: number;
  /** EAT wall time in the first file's name, as the source writes it. */
  firstExport?: string;
  everyMinutes?: number;
  /** False for files in which every row loads and every value casts. */
  mess?: boolean;
  /**
   * Share of a file's tickets (0 to 1) that repeat their last exported row unchanged. The first
   * file has nothing to repeat; a repeat still differs where an extra column went away meanwhile.
   */
  repeatShare?: number;
}

export interface Run {
  profile: Profile;
  random: Random;
  firstExport: number;
  interval: number;
  ticketsPerFile: number;
  repeatShare: number;
  /** Number of the first file's shape, so that seeds differ in how shapes and tickets meet. */
  firstTurn: number;
  mess: boolean;
  /** The book: every ticket exported so far with the row it was last exported as. */
  lastRows: Map<Ticket, Values>;
}

export function startRun(options: SampleOptions): Run {
  const profile = profiles[options.dataset];
  return {
    profile,
    random: seededRandom(profile.salt ^ options.seed),
    firstExport: parseExportTime(options.firstExport ?? defaultFirstExport),
    interval: (options.everyMinutes ?? defaultEveryMinutes) * minute,
    ticketsPerFile: options.ticketsPerFile,
    repeatShare: options.repeatShare ?? 0,
    firstTurn: options.seed >>> 0,
    mess: options.mess ?? true,
    lastRows: new Map(),
  };
}

/** The rows of one file: repeats, changes to known tickets and, for the rest, new tickets. */
export function exportTickets(run: Run, file: Export): Values[] {
  const { profile, random, lastRows, ticketsPerFile } = run;
  const repeats = Math.min(lastRows.size, Math.round(run.repeatShare * ticketsPerFile));
  const changes = Math.min(lastRows.size - repeats, Math.floor((ticketsPerFile - repeats) / 2));
  const known = draw(random, [...lastRows], repeats + changes);

  const repeated = known.slice(0, repeats).map(([, lastRow]) => lastRow);
  const changed = known.slice(repeats).map(([ticket]) => ticket);
  for (const ticket of changed) advanceTicket(profile, ticket, file.at, random);
  const met = Array.from({ length: ticketsPerFile - repeats - changes }, (_, index) =>
    meetTicket(profile, lastRows.size + index + 1, file.at, random),
  );

  const written = [...changed, ...met].map((ticket) => {
    const row = exportedRow(run, file, ticket);
    lastRows.set(ticket, row);
    return row;
  });
  return draw(random, [...repeated, ...written], ticketsPerFile);
}

export function exportedRow({ profile, random, mess }: Run, file: Export, ticket: Ticket): Values {
  const values: Values = {
    ...ticketValues(ticket, file.at),
    ...provenanceValues(profile, file.at),
  };
  if (file.shape.extraColumn) values[extraColumn] = pick(random, ["", "A1", "B,2"]);
  if (mess) messUp(values, random);
  return values;
}
