/**
 * The dashboard of some exports, worked out ticket by ticket from the reference model and without
 * SQL, so that tests compare two independent answers.
 */

import type { Dataset, SampleFile } from "../../src/samples.ts";
import { type ExpectedTicket, expectedTickets } from "./model.ts";

const hour = 3_600_000;
const day = 24 * hour;
const targets: Record<Dataset, number> = { inc: 48 * hour, crq: 7 * day };

export interface Question {
  /** Null for no end. */
  from: Date | null;
  to: Date | null;
  cluster?: string;
  status?: string;
}

interface Ticket extends ExpectedTicket {
  id: string;
  openedAt: number | null;
  closedAt: number | null;
  isLocated: boolean;
}

/** What the dashboard must say at an instant, its features by number. */
export function expectedDashboard(
  dataset: Dataset,
  files: readonly SampleFile[],
  at: Date,
  { from, to, cluster, status }: Question,
) {
  const inWindow = (time: number | null) =>
    time !== null && time >= (from?.getTime() ?? -Infinity) && time < (to?.getTime() ?? Infinity);
  const tickets = [...expectedTickets(files)]
    .map(([id, ticket]) => timed(id, ticket))
    .filter(({ raw }) => cluster === undefined || raw["cluster"] === cluster)
    .filter(({ raw }) => {
      const statuses = [raw["normalized_status"], raw["raw_status"]];
      return status === undefined || statuses.some((each) => each?.toLowerCase() === status);
    });
  const open = tickets.filter((ticket) => ticket.is_open);
  const closed = tickets.filter((ticket) => !ticket.is_open && inWindow(ticket.closedAt));

  const ages = open.map(({ openedAt }) => (openedAt === null ? null : at.getTime() - openedAt));
  const aged = (least: number, below: number) =>
    ages.filter((age) => age !== null && age >= least && age < below).length;
  const target = targets[dataset];
  const unknown = ages.filter((age) => age === null).length;
  const breached = ages.filter((age) => age !== null && age > target).length;
  const within = aged(-Infinity, 0.75 * target);
  const minutes = minutesOf(closed);
  const reopened = reopenings(files).filter(({ time }) => inWindow(time));
  const reopenedIds = new Set(reopened.map(({ id }) => id));

  return {
    metrics: {
      open_total: open.length,
      open_actionable: open.filter(({ raw }) =>
        /^(true|t|1|yes)$/i.test(raw["is_actionable"] ?? ""),
      ).length,
      open_within: within,
      open_at_risk: open.length - within - breached - unknown,
      open_breached: breached,
      open_unknown: unknown,
      created_in_window: tickets.filter(({ openedAt }) => inWindow(openedAt)).length,
      closed_in_window: closed.length,
      reopened_in_window: tickets.filter(({ id }) => reopenedIds.has(id)).length,
      mttr_median_minutes: percentile(minutes, 0.5),
      mttr_p90_minutes: percentile(minutes, 0.9),
      mttr_mean_minutes:
        minutes.length === 0
          ? null
          : hundredths(minutes.reduce((sum, each) => sum + each, 0) / minutes.length),
      sla_met: withVerdict(closed, "met"),
      sla_breached: withVerdict(closed, "breached"),
      aging: {
        lt_4h: aged(-Infinity, 4 * hour),
        h4_24h: aged(4 * hour, day),
        d1_3d: aged(day, 3 * day),
        d3_7d: aged(3 * day, 7 * day),
        gt_7d: aged(7 * day, Infinity),
        unknown,
      },
      located_pct:
        open.length === 0
          ? null
          : hundredths((100 * open.filter(({ isLocated }) => isLocated).length) / open.length),
    },
    open: locatedIds(open),
    closed: locatedIds(closed),
    by_cluster: grouped([...open, ...closed], "cluster"),
    by_team: grouped([...open, ...closed], "assigned_team"),
    by_owner: grouped([...open, ...closed], "owner"),
  };
}

function timed(id: string, ticket: ExpectedTicket): Ticket {
  const { raw, closed_at, created_at_service } = ticket;
  // The samples write first_seen_at always, and always well.
  const firstSeen = raw["first_seen_at"]?.replace(" ", "T");
  const opened = created_at_service ?? (firstSeen === undefined ? null : `${firstSeen}+03:00`);
  return {
    ...ticket,
    id,
    openedAt: opened === null ? null : Date.parse(opened),
    closedAt: closed_at === null ? null : Date.parse(closed_at),
    isLocated: isPoint(raw["latitude"], raw["longitude"]),
  };
}

function isPoint(latitude = "", longitude = ""): boolean {
  const [y, x] = [Number.parseFloat(latitude), Number.parseFloat(longitude)];
  return Math.abs(y) <= 90 && Math.abs(x) <= 180 && (y !== 0 || x !== 0);
}

/** Each ticket that one file has closed and a later one open, at the time of the later one. */
function reopenings(files: readonly SampleFile[]): { id: string; time: number }[] {
  const wasOpen = new Map<string, boolean>();
  return files.flatMap((file, index) => {
    const now = expectedTickets(files.slice(0, index + 1));
    const reopened = [...now].filter(([id, { is_open }]) => is_open && wasOpen.get(id) === false);
    for (const [id, { is_open }] of now) wasOpen.set(id, is_open);
    return reopened.map(([id]) => ({ id, time: file.exportedAt.getTime() }));
  });
}

function grouped(tickets: readonly Ticket[], column: string) {
  const groups = new Map<string | null, Ticket[]>();
  for (const ticket of tickets) {
    const name = ticket.raw[column] ?? null;
    groups.set(name, [...(groups.get(name) ?? []), ticket]);
  }
  return [...groups]
    .map(([name, members]) => {
      const closed = members.filter(({ is_open }) => !is_open);
      return {
        name,
        open: members.length - closed.length,
        closed: closed.length,
        mttr_median_minutes: percentile(minutesOf(closed), 0.5),
        sla_breached: withVerdict(closed, "breached"),
      };
    })
    .sort(
      (one, other) =>
        other.open - one.open || other.closed - one.closed || byName(one.name, other.name),
    );
}

/** By the bytes of the name, nameless ones last. */
function byName(one: string | null, other: string | null): number {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

function minutesOf(closed: readonly Ticket[]): number[] {
  return closed.flatMap(({ mttr }) => mttr ?? []);
}

function withVerdict(closed: readonly Ticket[], verdict: string): number {
  return closed.filter(({ raw }) => raw["sla_status"] === verdict).length;
}

function locatedIds(tickets: readonly Ticket[]): string[] {
  const located = tickets.filter(({ isLocated }) => isLocated);
  return located.map(({ id }) => id).sort((one, other) => byName(one, other));
}

/** Between the two values next to the share, in proportion. */
function percentile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((one, other) => one - other);
  const place = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  if (below === undefined || above === undefined) return null;
  return hundredths(below + (place - Math.floor(place)) * (above - below));
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
