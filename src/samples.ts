/**
 * Sample exports: seeded INC and CRQ files as messy as the real ones, for `demo`, tests and bench.
 *
 * A run keeps a book of tickets and moves them through their life from file to file, so that the
 * files together tell a story: tickets open, change hands, close and sometimes reopen. The same
 * options give the same bytes on every machine; nothing here reads the clock or the locale.
 */

export type Dataset = "inc" | "crq";

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

/** What loading a file must count, under the ledger's names. */
export interface SampleCounts {
  staged: number;
  dropped_alarm: number;
  dropped_sentinel: number;
  rejected: number;
  duplicates: number;
}

/** One CSV record: its fields in the order of the file's header; a bare sentinel has fewer. */
export type SampleRow = readonly string[];

export interface SampleFile {
  /** Object key, `automations/<dataset>/changes/<time>.csv`. */
  key: string;
  exportedAt: Date;
  header: readonly string[];
  /** Every record after the header in file order, the ones that must not load included. */
  rows: readonly SampleRow[];
  body: Buffer;
  expected: SampleCounts;
}

export interface SampleCsvOptions {
  dataset: Dataset;
  seed: number;
  rows: number;
  /** Which export of the same tickets this is, from 0, each one 20 minutes after the last. */
  revision?: number;
  /** Share of the tickets (0 to 1) that change with every revision; the same ones each time. */
  changedShare?: number;
}

/** What ingest drops: these columns tell of the export, not of the ticket. */
const provenanceColumns = [
  "week_start",
  "week_end",
  "source_s3_bucket",
  "source_s3_key",
  "source_snapshot_id",
  "department",
  "source_type",
] as const;

/** The columns of the contract, in the order the source writes them. */
export const contractColumns = [
  "ticket_id",
  "normalized_status",
  "raw_status",
  "bucket",
  "is_actionable",
  "cluster",
  "region",
  "location_name",
  "assigned_team",
  "owner",
  "sla_status",
  "mttr",
  "created_at_service",
  "scheduled_at",
  "closed_at",
  "first_seen_at",
  "last_seen_at",
  "source_created_at",
  "source_updated_at",
  "latitude",
  "longitude",
  "service_type",
  "is_alarm",
  "is_auto_created",
  "is_auto_closed",
  ...provenanceColumns,
] as const;

type Column = (typeof contractColumns)[number];
type ProvenanceColumn = (typeof provenanceColumns)[number];

const extraColumn = "fibre core";

/** A row before it is laid out under a header. */
type Values = Record<Column, string> & { [extraColumn]?: string };

type Random = () => number;

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const eatOffset = 3 * hour;
const defaultFirstExport = "2026-06-15T06-20-00";
const defaultEveryMinutes = 20;
const chunkLength = 256 * 1024;

/**
 * Makes a run of change files, oldest first.
 *
 * @returns each file's bytes, and beside them its records and the counts loading it must give
 */
export function sampleExports(options: SampleOptions): SampleFile[] {
  const run = startRun(options);
  return times(options.files, (index) => exportFile(run, index));
}

/**
 * Streams one big clean file, the same tickets for the same seed, without holding it in memory.
 *
 * Between any two revisions exactly `changedShare` of the tickets differ in what is loaded. The
 * columns that ingest drops name the export and so differ in every row, as they do in the source.
 *
 * @returns chunks of about 256 KiB, cut between rows
 */
export function* sampleCsv(options: SampleCsvOptions): Generator<Buffer> {
  let pending = csvLine(contractColumns);
  for (const row of sampleCsvRows(options)) {
    pending += csvLine(layOut(row, contractColumns));
    if (pending.length >= chunkLength) {
      yield Buffer.from(pending);
      pending = "";
    }
  }
  yield Buffer.from(pending);
}

function* sampleCsvRows(options: SampleCsvOptions): Generator<Values> {
  const { dataset, rows, revision = 0, changedShare = 0 } = options;
  const profile = profiles[dataset];
  const firstExport = parseExportTime(defaultFirstExport);
  const exportTime = (nth: number) => firstExport + nth * defaultEveryMinutes * minute;
  const provenance = provenanceValues(profile, exportTime(revision));

  for (let number = 1; number <= rows; number++) {
    // One generator a ticket: its row depends on nothing before it, so nothing must be remembered.
    const random = seededRandom(profile, options.seed + Math.imul(number, 0x9e3779b1));
    const ticket = meetTicket(profile, number, exportTime(0), random);
    const changes = isInShare(number, changedShare) ? revision : 0;
    for (let change = 1; change <= changes; change++) {
      advanceTicket(profile, ticket, exportTime(change), random);
    }
    yield { ...ticketValues(ticket, exportTime(changes)), ...provenance };
  }
}

/** Spreads the share evenly over the numbers, so that any file has exactly that share. */
function isInShare(number: number, share: number): boolean {
  return Math.floor(number * share) > Math.floor((number - 1) * share);
}

// The run and its files

interface Run {
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

function startRun(options: SampleOptions): Run {
  const profile = profiles[options.dataset];
  return {
    profile,
    random: seededRandom(profile, options.seed),
    firstExport: parseExportTime(options.firstExport ?? defaultFirstExport),
    interval: (options.everyMinutes ?? defaultEveryMinutes) * minute,
    ticketsPerFile: options.ticketsPerFile,
    repeatShare: options.repeatShare ?? 0,
    firstTurn: options.seed >>> 0,
    mess: options.mess ?? true,
    lastRows: new Map(),
  };
}

/** The file being written. */
interface Export {
  at: number;
  shape: FileShape;
  header: readonly string[];
}

function exportFile(run: Run, index: number): SampleFile {
  const shape = run.mess ? messyShape(run.firstTurn + index) : cleanShape;
  const header = fileHeader(shape, run.random);
  const file = { at: run.firstExport + index * run.interval, shape, header };
  const tickets = exportTickets(run, file).map((values) => layOut(values, header));
  const bad = run.mess ? badRows(run, file, tickets) : noBadRows;
  const rows = mingle(tickets, bad, run.random);
  return {
    key: exportKey(run.profile.dataset, file.at),
    exportedAt: new Date(file.at),
    header,
    rows,
    body: fileBody(file, rows, run.random),
    expected: {
      staged: rows.length,
      dropped_alarm: bad.alarms.length,
      dropped_sentinel: bad.sentinels.length,
      rejected: bad.rejected.length,
      duplicates: bad.superseded.length,
    },
  };
}

/** The rows of one file: repeats, changes to known tickets and, for the rest, new tickets. */
function exportTickets(run: Run, file: Export): Values[] {
  const { profile, random, lastRows, ticketsPerFile } = run;
  const repeats = Math.min(lastRows.size, Math.round(run.repeatShare * ticketsPerFile));
  const changes = Math.min(lastRows.size - repeats, Math.floor((ticketsPerFile - repeats) / 2));
  const known = draw(random, [...lastRows], repeats + changes);

  const repeated = known.slice(0, repeats).map(([, lastRow]) => lastRow);
  const changed = known.slice(repeats).map(([ticket]) => ticket);
  for (const ticket of changed) advanceTicket(profile, ticket, file.at, random);
  const met = times(ticketsPerFile - repeats - changes, (index) =>
    meetTicket(profile, lastRows.size + index + 1, file.at, random),
  );

  const written = [...changed, ...met].map((ticket) => {
    const row = exportedRow(run, file, ticket);
    lastRows.set(ticket, row);
    return row;
  });
  return draw(random, [...repeated, ...written], ticketsPerFile);
}

function exportedRow({ profile, random, mess }: Run, file: Export, ticket: Ticket): Values {
  const values: Values = {
    ...ticketValues(ticket, file.at),
    ...provenanceValues(profile, file.at),
  };
  if (file.shape.extraColumn) values[extraColumn] = pick(random, ["", "A1", "B,2"]);
  if (mess) messUp(values, random);
  return values;
}

// Tickets

interface Profile {
  dataset: Dataset;
  idPrefix: string;
  /** Keeps the INC and CRQ files of one seed from being twins. */
  salt: number;
  /** Raw status words for each step of a ticket's life; the last step is closed. */
  lifeCycle: readonly (readonly string[])[];
  serviceTypes: readonly string[];
  slaTarget: number;
  department: string;
}

const profiles: Record<Dataset, Profile> = {
  inc: {
    dataset: "inc",
    idPrefix: "INC",
    salt: 0x1d872b41,
    lifeCycle: [
      ["Open", "New"],
      ["Assigned"],
      ["In progress", "pending ", "On site"],
      ["closed", "Resolved"],
    ],
    serviceTypes: ["FTTH", "FTTH", "FTTH", "FTTB", "Fixed Wireless"],
    slaTarget: 48 * hour,
    department: "Field Ops",
  },
  crq: {
    dataset: "crq",
    idPrefix: "CRQ",
    salt: 0x6a09e667,
    lifeCycle: [
      ["Open", "Requested"],
      ["Assigned", "Scheduled "],
      ["In progress", "pending ", "Cabling"],
      ["closed", "Installed", "Completed"],
    ],
    serviceTypes: ["FTTH", "FTTH", "FTTB"],
    slaTarget: 7 * day,
    department: "Installations",
  },
};

interface Ticket {
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
function meetTicket(profile: Profile, number: number, exportedAt: number, random: Random): Ticket {
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
    team: chance(random, 0.1) ? "" : `Team ${1 + below(random, 8)}`,
    owner: chance(random, 0.04) ? "" : `tech${1 + below(random, 24)}@isp.example`,
    serviceType: pick(random, profile.serviceTypes),
  };
}

/** Moves a ticket one step on; a closed one reopens now and then, and else stays as it is. */
function advanceTicket(profile: Profile, ticket: Ticket, at: number, random: Random): void {
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
    ticket.team = `Team ${1 + below(random, 8)}`;
    ticket.owner = `tech${1 + below(random, 24)}@isp.example`;
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

function ticketId(profile: Profile, number: number): string {
  return profile.idPrefix + String(number).padStart(7, "0");
}

function normalizedStatus(ticket: Ticket): string {
  if (ticket.closedAt !== null) return "closed";
  return ticket.reopened && ticket.step === 0 ? "reopened" : "open";
}

function slaStatus(ticket: Ticket): string {
  if (ticket.closedAt === null) return "";
  return ticket.closedAt - ticket.openedAt <= ticket.slaTarget ? "met" : "breached";
}

function ticketValues(ticket: Ticket, seenAt: number): Omit<Values, ProvenanceColumn> {
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

function provenanceValues(profile: Profile, exportedAt: number): Pick<Values, ProvenanceColumn> {
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

// Places

/** With their regions. QOA and PTMP stand for Quarry Road and Pipeline; some have no cluster. */
const clusters = [
  ["Embakasi", "Nairobi"],
  ["Karen", "Nairobi"],
  ["Kasarani", "Nairobi"],
  ["Kilimani", "Nairobi"],
  ["Langata", "Nairobi"],
  ["Westlands", "Nairobi"],
  ["QOA", "Nairobi"],
  ["PTMP", "Nairobi"],
  ["Ruaka", "Kiambu"],
  ["Thika", "Kiambu"],
  ["Rongai", "Kajiado"],
  ["Syokimau", "Machakos"],
  ["", "Nairobi"],
] as const;

/** Plain names, then what is hard to carry: commas, quotes, line breaks, more than ASCII. */
const places = [
  "Argwings Kodhek Rd",
  "Lavington Green",
  "Donholm Phase 8",
  "Mirema Drive",
  "Garden City Mall",
  "Kamakis Corner",
  "Ndege Road, Gate 4",
  "Café Amani, 2nd Fl",
  "Rose Avenue – Annex",
  "Mūgumo Close",
  "Delta Towers 🏢",
  "Flat 3\\B Ring Rd",
  'Court "Amani" House 7',
  'The "Palms", Block D',
  "Tassia Estate\nBlock C",
  "Juja Farm\n\nPlot 19",
  "Acacia Court\r\nDoor 5",
];

const nairobiPoints = [
  ["-1.292066", "36.821945"],
  ["-1.2676", "36.8108"],
  ["-1.3194", "36.7073"],
  ["-1.2195", "36.8960"],
] as const;

/** Prefixes the place with network codes as they stand in the source, or with none. */
function locationName(cluster: string, random: Random): string {
  const place = pick(random, places);
  const area = (cluster || "NBO").toUpperCase();
  const cabinet = `_FDT${1 + below(random, 280)}`;
  const codes = ["", "", `NW_${area}`, `NW_${area}${cabinet}`, `ADR_MNT_${area}`, cabinet];
  const parts = [pick(random, codes), chance(random, 0.15) ? "SDUS" : "", place];
  return parts.filter((part) => part !== "").join(" ");
}

function spellRegion(region: string, random: Random): string {
  return pick(random, [region, region, region.toLowerCase(), region.toUpperCase(), ` ${region}`]);
}

// Mess in the values of a row

const oddTimes = [
  "2026-06-15T10:00:00",
  "2026-06-15T10:00",
  "2026-06-15 10:00",
  "2026-06-15 10:00:00.250",
  "2026-06-15T10:00:00Z",
  "2026-06-15 10:00:00+03:00",
  "2026-06-15T10:00:00-05:30",
  "2026-06-15",
  "2026-02-30 10:00:00",
  "2026-06-15 25:00:00",
  "15/06/2026 10:00",
  "yesterday",
];
const oddDurations = ["12.5", "0.4", "n/a", "-", "1e3", "99999999999"];
const oddCoordinates = [
  ["0", "0"],
  ["-91", "36"],
  ["-1.28", "361.8"],
  ["36.8", "-1.3"],
  ["abc", "36.8"],
  ["-1.28", ""],
] as const;
const trueSpellings = ["true", "True", "TRUE", "t", "T", "1", "yes", "YES"];
const falseSpellings = ["False", "FALSE", "f", "F", "0", "no", "NO", ""];

function messUp(values: Values, random: Random): void {
  if (chance(random, 0.04)) values.ticket_id = `  ${values.ticket_id} `;
  if (chance(random, 0.04)) values.owner = "   ";
  if (chance(random, 0.02)) values.bucket = pick(random, ["", "unknown"]);
  if (chance(random, 0.08)) values.is_alarm = pick(random, falseSpellings);
  if (chance(random, 0.3)) values.is_actionable = values.is_actionable.toUpperCase();
  if (chance(random, 0.1)) messUpTime(values, random);
  if (values.mttr !== "") messUpDuration(values, random);
  if (chance(random, 0.05)) {
    [values.latitude, values.longitude] = pick(random, oddCoordinates);
  }
}

/** An open ticket gets no `closed_at`: whether that is a closure is not this file's question. */
function messUpTime(values: Values, random: Random): void {
  const columns = ["created_at_service", "scheduled_at", "closed_at"] as const;
  const column = pick(random, columns.slice(0, values.closed_at === "" ? 2 : 3));
  values[column] = pick(random, oddTimes);
}

function messUpDuration(values: Values, random: Random): void {
  if (chance(random, 0.3)) values.mttr += ".0";
  else if (chance(random, 0.25)) values.mttr = pick(random, oddDurations);
}

// Mess among the rows of a file

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

const noBadRows: BadRows = { alarms: [], sentinels: [], rejected: [], superseded: [] };

function badRows(run: Run, file: Export, tickets: readonly SampleRow[]): BadRows {
  const { random } = run;
  const { shape, header } = file;
  return {
    alarms: shape.alarms.map((spelling) => alarmRow(run, file, spelling)),
    sentinels: shape.sentinel === undefined ? [] : [shape.sentinel(header)],
    rejected: rejectedRows(run, file),
    superseded: times(Math.min(below(random, 5), tickets.length), () =>
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
  const blankIds = times(below(random, 4), () => {
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
function mingle(tickets: readonly SampleRow[], bad: BadRows, random: Random): SampleRow[] {
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

// The file around the rows

type Sentinel = (header: readonly string[]) => SampleRow;

/** The comma makes the writer quote the third; the fourth is the same line left unquoted. */
const sentinels: readonly Sentinel[] = [
  (header) => header.map((name) => (name === "ticket_id" ? "EXPORT STOPPED at 500 rows" : "")),
  () => ["EXPORT STOPPED: row limit reached"],
  () => ["EXPORT STOPPED, row limit reached"],
  () => ["EXPORT STOPPED", " row limit reached"],
];

interface FileShape {
  bom: boolean;
  quotedHeader: boolean;
  crlf: boolean;
  shuffledColumns: boolean;
  finalNewline: boolean;
  extraColumn: boolean;
  blankLines: boolean;
  repeatsHeader: boolean;
  needlessQuotes: boolean;
  /** `is_alarm` as each of the file's alarms spells it. */
  alarms: readonly string[];
  sentinel: Sentinel | undefined;
}

const cleanShape: FileShape = {
  bom: false,
  quotedHeader: false,
  crlf: false,
  shuffledColumns: false,
  finalNewline: true,
  extraColumn: false,
  blankLines: false,
  repeatsHeader: false,
  needlessQuotes: false,
  alarms: [],
  sentinel: undefined,
};

/**
 * Twelve files in a row show each trait at least once. The traits that get in each other's way,
 * the first five, have coprime periods: a long run meets every mix of them.
 */
function messyShape(turn: number): FileShape {
  return {
    bom: turn % 2 === 1,
    quotedHeader: turn % 3 === 2,
    crlf: turn % 5 === 2,
    shuffledColumns: turn % 7 === 3,
    finalNewline: turn % 11 !== 5,
    extraColumn: turn % 9 === 4,
    blankLines: turn % 9 === 7,
    repeatsHeader: turn % 9 === 0,
    needlessQuotes: true,
    alarms: trueSpellings.filter((_, index) => index % 6 === turn % 6),
    sentinel: sentinels[turn % 8],
  };
}

function fileHeader(shape: FileShape, random: Random): readonly string[] {
  const columns = shape.extraColumn ? [...contractColumns, extraColumn] : contractColumns;
  return shape.shuffledColumns ? draw(random, columns, columns.length) : columns;
}

function layOut(values: Values, header: readonly string[]): SampleRow {
  return header.map((name) => values[name as keyof Values] ?? "");
}

function fileBody(file: Export, rows: readonly SampleRow[], random: Random): Buffer {
  const { shape, header } = file;
  const newline = shape.crlf ? "\r\n" : "\n";
  const quotedForNothing = () => shape.needlessQuotes && chance(random, 0.02);
  const lines = [header.map((name) => csvField(name, shape.quotedHeader)).join(",")];
  if (shape.blankLines) lines.push("");
  for (const row of rows) {
    lines.push(row.map((text) => csvField(text, quotedForNothing())).join(","));
    if (shape.blankLines && chance(random, 0.05)) lines.push("");
  }
  const text = lines.join(newline) + (shape.finalNewline ? newline : "");
  return Buffer.from(shape.bom ? `\ufeff${text}` : text);
}

function csvLine(fields: readonly string[]): string {
  return `${fields.map((text) => csvField(text, false)).join(",")}\n`;
}

function csvField(text: string, quoted: boolean): string {
  return quoted || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Times

function parseExportTime(stamp: string): number {
  const [date, time = ""] = stamp.split("T");
  const at = Date.parse(`${date}T${time.replaceAll("-", ":")}+03:00`);
  if (Number.isNaN(at)) throw new RangeError(`not an export time: ${stamp}`);
  return at;
}

function exportStamp(at: number): string {
  return eatTimestamp(at).replace(" ", "T").replaceAll(":", "-");
}

function exportKey(dataset: Dataset, at: number): string {
  return `automations/${dataset}/changes/${exportStamp(at)}.csv`;
}

/** Nairobi keeps UTC+3 all year, so a shifted UTC clock shows its wall time on any machine. */
function eatTimestamp(at: number): string {
  return new Date(at + eatOffset).toISOString().slice(0, 19).replace("T", " ");
}

// Chance

/** Mulberry32: integer arithmetic only, hence the same numbers everywhere. */
function seededRandom(profile: Profile, seed: number): Random {
  let state = (seed ^ profile.salt) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 up to, not including, `limit`. */
function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function chance(random: Random, probability: number): boolean {
  return random() < probability;
}

function pick<T>(random: Random, list: readonly T[]): T {
  const picked = list[below(random, list.length)];
  if (picked === undefined) throw new RangeError("nothing to pick from");
  return picked;
}

/** Draws `count` of the list without putting back; drawing all of them shuffles. */
function draw<T>(random: Random, list: readonly T[], count: number): T[] {
  const left = [...list];
  for (let drawn = 0; drawn < count; drawn++) {
    const other = drawn + below(random, left.length - drawn);
    [left[drawn], left[other]] = [left[other] as T, left[drawn] as T];
  }
  return left.slice(0, count);
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}
