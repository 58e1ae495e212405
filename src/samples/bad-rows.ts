import { type SampleRow, layOut } from "./columns.ts";
import type { Export } from "./file.ts";
import { type Random, below, chance, pick } from "./random.ts";
import { type Run, exportedRow } from "./run.ts";
import { meetTicket } from "./tickets.ts";

// The mess among the rows of a file: those that must not become a ticket.

/** Rows that do not become a ticket, by what happens to them. */
interface BadRows {
  alarms: SampleRow[];
  sentinels: SampleRow[];
  rejected: SampleRow[];
  superseded: Superseded[];
}

/** An earlier version of a ticket in the same file: it must stand before the row that wins. */
interface Superseded {
  row: SampleRow;
  winner: SampleRow;
}

export const noBadRows: BadRows = { alarms: [], sentinels: [], rejected: [], superseded: [] };

export function badRows(run: Run, file: Export, tickets: readonly SampleRow[]): BadRows {
  const { random } = run;
  const { shape, header } = file;
  return {
    alarms: shape.alarms.map((spelling) => alarmRow(run, file, spelling)),
    sentinels: shape.sentinel === undefined ? [] : [shape.sentinel(header)],
    rejected: rejectedRows(run, file),
    superseded: Array.from({ length: Math.min(below(random, 5), tickets.length) }, () =>
      supersededRow(pick(random, tickets), header),
    ),
  };
}

function alarmRow(run: Run, file: Export, spelling: string): SampleRow {
  const { profile, random } = run;
  const ticket = meetTicket(profile, 1 + below(random, run.lastRows.size), file.at, random);
  const values = exportedRow(run, file, { ...ticket, id: `ALM${ticket.id}` });
  return layOut({ ...values, is_alarm: spelling }, file.header);
}

function rejectedRows(run: Run, file: Export): SampleRow[] {
  const { profile, random } = run;
  const blankIds = Array.from({ length: below(random, 4) }, () => {
    const values = exportedRow(run, file, meetTicket(profile, 0, file.at, random));
    return layOut({ ...values, ticket_id: pick(random, ["", "   "]) }, file.header);
  });
  const rejected = file.shape.repeatsHeader ? [file.header, ...blankIds] : blankIds;
  // A file of which more than a tenth is rejected is refused as a whole: stay below that.
  return rejected.slice(0, Math.max(0, Math.ceil(run.ticketsPerFile / 10) - 1));
}

function supersededRow(winner: SampleRow, header: readonly string[]): Superseded {
  const row = winner.map((text, index) =>
    header[index] === "assigned_team" ? "Team superseded" : text,
  );
  return { row, winner };
}

/** Puts the bad rows at random places, a superseded row anywhere before its winner. */
export function mingle(tickets: readonly SampleRow[], bad: BadRows, random: Random): SampleRow[] {
  const rows = [...tickets];
  for (const { row, winner } of bad.superseded) {
    rows.splice(below(random, rows.indexOf(winner) + 1), 0, row);
  }
  for (const row of [...bad.alarms, ...bad.rejected]) {
    rows.splice(below(random, rows.length + 1), 0, row);
  }
  for (const row of bad.sentinels) {
    rows.splice(chance(random, 0.5) ? rows.length : below(random, rows.length), 0, row);
  }
  return rows;
}
