import type { State } from "./data.ts";

// UTC+3, whose name has the sign of POSIX. Africa/Nairobi is another offset before 1960.
const ZONE = "Etc/GMT-3";
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const dateTime = new Intl.DateTimeFormat("en-GB", {
  timeZone: ZONE,
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const dayMonth = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC",
  day: "numeric",
  month: "short",
});

export const stateNames: Readonly<Record<State, string>> = {
  breached: "SLA breached",
  at_risk: "SLA at risk",
  unknown: "age unknown",
  within: "within SLA",
  closed: "closed",
};

export function count(n: number): string {
  return number.format(n);
}

/** A number of things, `1 ticket` or `2 tickets`. */
export function things(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A time as the clocks in Nairobi show it; as it is written where a browser has no date for it. */
export function time(iso: string | null): string {
  if (iso === null) return "–";
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : dateTime.format(date);
}

/** A day of the calendar, `2026-06-15`. */
export function day(date: string): string {
  return dayMonth.format(new Date(`${date}T00:00:00Z`));
}

/** A length of time, roughly. */
export function duration(minutes: number | null): string {
  if (minutes === null) return "–";
  if (minutes < 90) return `${count(Math.round(minutes))} min`;
  if (minutes < 48 * 60) return `${count(minutes / 60)} h`;
  return `${count(minutes / 60 / 24)} d`;
}

export function share(part: number, whole: number): string {
  return whole === 0 ? "–" : `${count((100 * part) / whole)} %`;
}

/** What is known of each dataset, INC before CRQ. */
export function byDataset<T>(of: Readonly<Record<string, T>>): [dataset: string, T][] {
  return Object.entries(of).sort(([one], [other]) => (one < other ? 1 : -1));
}

export function datasetName(dataset: string): string {
  return dataset.toUpperCase();
}
