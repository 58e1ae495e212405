import type { ProvenanceColumn, Values } from "./columns.ts";
import { type Profile, exportKey } from "./datasets.ts";
import { clusters, locationName, nairobiPoints, spellRegion } from "./places.ts";
import { type Random, below, chance, pick } from "./random.ts";
import { day, eatOffset, eatTimestamp, exportStamp, hour, minute } from "./time.ts";

// A ticket, its life, and the values that an export writes of it.

export interface Ticket {
  id: string;
  openedAt: number;
  scheduledAt: number | null;
  closedAt: number | null;
  hasServiceTime: boolean;
  actionable: boolean;
  reopened: boolean;
  step: number;
  rawStatus: string;
  slaTarget: number;
  cluster: string;
  region: string;
  location: string;
  coordinates: readonly [latitude: string, longitude: string];
  team: string;
  owner: string;
  serviceType: string;
}

/** A ticket as an export first meets it: up to 20 days old and somewhere in its life. */
export function meetTicket(
  profile: Profile,
  number: number,
  exportedAt: number,
  random: Random,
): Ticket {
  const age = 1 + below(random, 20 * 24 * 60);
  const ticket = openTicket(profile, number, exportedAt - age * minute, random);
  for (let steps = below(random, profile.lifeCycle.length); steps > 0; steps--) {
    advanceTicket(profile, ticket, exportedAt - below(random, age) * minute, random);
  }
  return ticket;
}

function openTicket(profile: Profile, number: number, openedAt: number, random: Random): Ticket {
  const [cluster, region] = pick(random, clusters);
  return {
    id: ticketId(profile, number),
    openedAt,
    scheduledAt: chance(random, 0.7) ? openedAt + 6 * hour : null,
    closedAt: null,
    hasServiceTime: chance(random, 0.7),
    actionable: chance(random, 0.75),
    reopened: false,
    step: 0,
    rawStatus: lifeCycleWord(profile, 0, random),
    slaTarget: profile.slaTarget,
    cluster,
    region: spellRegion(region, random),
    location: locationName(cluster, random),
    coordinates: chance(random, 0.02) ? pick(random, nairobiPoints) : ["", ""],
    team: chance(random, 0.1) ? "" : teamName(random),
    owner: chance(random, 0.04) ? "" : ownerName(random),
    serviceType: pick(random, profile.serviceTypes),
  };
}

/** Moves a ticket one step on; a closed one reopens now and then, and else stays as it is. */
export function advanceTicket(profile: Profile, ticket: Ticket, at: number, random: Random): void {
  if (ticket.closedAt !== null) {
    if (chance(random, 0.2)) reopen(ticket);
    return;
  }
  ticket.step++;
  ticket.rawStatus = lifeCycleWord(profile, ticket.step, random);
  if (ticket.step === profile.lifeCycle.length - 1) {
    const age = (at - ticket.openedAt) / minute;
    ticket.closedAt = at - below(random, Math.min(age, 120)) * minute;
  } else if (chance(random, 0.2)) {
    ticket.team = teamName(random);
    ticket.owner = ownerName(random);
  }
}

function reopen(ticket: Ticket): void {
  ticket.step = 0;
  ticket.closedAt = null;
  ticket.reopened = true;
  ticket.rawStatus = "Reopened";
}

function lifeCycleWord(profile: Profile, step: number, random: Random): string {
  return pick(random, profile.lifeCycle[step] ?? []);
}

function teamName(random: Random): string {
  return `Team ${1 + below(random, 8)}`;
}

function ownerName(random: Random): string {
  return `tech${1 + below(random, 24)}@isp.example`;
}

function ticketId(profile: Profile, number: number): string {
  return profile.idPrefix + String(number).padStart(7, "0");
}

export function ticketValues(ticket: Ticket, seenAt: number): Omit<Values, ProvenanceColumn> {
  const { closedAt, scheduledAt } = ticket;
  const opened = eatTimestamp(ticket.openedAt);
  const seen = eatTimestamp(seenAt);
  return {
    ticket_id: ticket.id,
    normalized_status: normalizedStatus(ticket),
    raw_status: ticket.rawStatus,
    bucket: closedAt === null ? "pending" : "closed",
    is_actionable: String(closedAt === null && ticket.actionable),
    cluster: ticket.cluster,
    region: ticket.region,
    location_name: ticket.location,
    assigned_team: ticket.team,
    owner: ticket.owner,
    sla_status: slaStatus(ticket),
    mttr: closedAt === null ? "" : String((closedAt - ticket.openedAt) / minute),
    created_at_service: ticket.hasServiceTime ? opened : "",
    scheduled_at: scheduledAt === null ? "" : eatTimestamp(scheduledAt),
    closed_at: closedAt === null ? "" : eatTimestamp(closedAt),
    first_seen_at: opened,
    last_seen_at: seen,
    source_created_at: opened,
    source_updated_at: seen,
    latitude: ticket.coordinates[0],
    longitude: ticket.coordinates[1],
    service_type: ticket.serviceType,
    is_alarm: "false",
    is_auto_created: "false",
    is_auto_closed: "false",
  };
}

function normalizedStatus(ticket: Ticket): string {
  if (ticket.closedAt !== null) return "closed";
  return ticket.reopened && ticket.step === 0 ? "reopened" : "open";
}

function slaStatus(ticket: Ticket): string {
  if (ticket.closedAt === null) return "";
  return ticket.closedAt - ticket.openedAt <= ticket.slaTarget ? "met" : "breached";
}

export function provenanceValues(
  profile: Profile,
  exportedAt: number,
): Pick<Values, ProvenanceColumn> {
  const daysSinceMonday = (new Date(exportedAt + eatOffset).getUTCDay() + 6) % 7;
  const monday = exportedAt - daysSinceMonday * day;
  return {
    week_start: eatTimestamp(monday).slice(0, 10),
    week_end: eatTimestamp(monday + 6 * day).slice(0, 10),
    source_s3_bucket: "isptickets",
    source_s3_key: exportKey(profile.dataset, exportedAt),
    source_snapshot_id: `snap-${exportStamp(exportedAt)}`,
    department: profile.department,
    source_type: profile.idPrefix,
  };
}
