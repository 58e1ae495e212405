/** Where the time of a load goes: each step by itself, and within the database as it tells. */

import { performance } from "node:perf_hooks";
import { pipeline } from "node:stream/promises";
import type { Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import * as api from "../../src/api/load.ts";
import type { Database } from "../../src/database.ts";
import { openGate } from "../../src/gate.ts";
import type { Store, StoredObject } from "../../src/store.ts";
import { secondsSince } from "./servers.ts";

/** Seconds by step. The sum is more than a load takes: bytes are received, gated and copied at once. */
export type Breakdown = Record<string, number>;

const PLACES = "places of a file";

// Which parts of tickets.apply_file make up which step: parts of its statement, functions that it
// asks, and indexes that it builds, by their access methods. What is not here is `other`.
const steps: Record<string, readonly string[]> = {
  dedup: ["_count_lines"],
  compare: ["_judge_staged", "looked_up", "compared"],
  build: ["_staged_tickets", "staged"],
  write_tickets: ["added", "changed"],
  // To look up where tickets stand; with a change, the entries in these indexes are in write_tickets.
  geometry: [PLACES, "gist"],
  other_indexes: ["btree"],
  order_versions: ["come_late", "moved", "repeated", "no_more_repeated"],
  history: ["status_changes", "closed", "tallied", "_count_day", "captured", "breached", "emptied"],
};

// Tells how long the building of each index took: auto_explain knows nothing of it.
const timeIndexes = `
  create function public.time_index() returns event_trigger language plpgsql as $$
  begin
    if tg_event = 'ddl_command_start' then
      perform set_config('bench.began_at', clock_timestamp()::text, true);
    else
      raise notice '{"index": "%", "seconds": %}', (
        select m.amname
        from pg_event_trigger_ddl_commands() as d
        join pg_class as c on c.oid = d.objid
        join pg_am as m on m.oid = c.relam
      ), extract(epoch from clock_timestamp() - current_setting('bench.began_at')::timestamptz);
    end if;
  end;
  $$;
  create event trigger time_index_start on ddl_command_start
    when tag in ('CREATE INDEX') execute function public.time_index();
  create event trigger time_index_end on ddl_command_end
    when tag in ('CREATE INDEX') execute function public.time_index();
`;

/**
 * Loads an object step by step in one session, each step timed. auto_explain times the parts of the
 * statements in the database, which costs them time of its own: the shares are right, their sum is
 * more than a load without it takes.
 */
export async function breakDown(
  client: Client,
  store: Store,
  object: StoredObject,
): Promise<Breakdown> {
  const db = databaseOf(client);
  const receive = await timed(() => drained(store.read(object)));
  const gate = await timed(async () => drained((await openGate(store.read(object))).records));

  const file = { dataset: "inc", key: object.key, etag: object.etag, bytes: object.bytes };
  const { header, records, counts } = await openGate(store.read(object));
  await client.query("begin");
  const opened = await api.openFile(db, "inc", file.key, header);
  const columns = ["line", ...opened.copy_columns].join(", ");
  const copy = await timed(() => db.copyIn(`${opened.staging_table} (${columns})`, records));
  const parts = new Map<string, number>();
  const onNotice = (notice: { message: string | undefined }) => {
    addNotice(notice.message ?? "", parts);
  };
  await client.query(`
    ${timeIndexes}
    load 'auto_explain';
    set local auto_explain.log_min_duration = 0;
    set local auto_explain.log_analyze = on;
    set local auto_explain.log_buffers = off;
    set local auto_explain.log_nested_statements = on;
    set local auto_explain.log_format = json;
    set local auto_explain.log_level = notice;
  `);
  client.on("notice", onNotice);
  const apply = await timed(() =>
    api.applyFile(db, file, { ...counts(), header, isSnapshot: true }),
  );
  client.off("notice", onNotice);
  await client.query("drop function public.time_index cascade");
  const commit = await timed(() => client.query("commit"));

  const inSteps = Object.entries(steps).map(
    ([step, names]) => [step, sum(names.map((name) => parts.get(name) ?? 0))] as const,
  );
  const other = apply - sum(inSteps.map(([, seconds]) => seconds));
  return { receive, gate, copy, ...Object.fromEntries(inSteps), other, commit };
}

/** A node of a plan, as far as it is of use here. Times are of one loop, in milliseconds. */
interface PlanNode {
  "Node Type": string;
  "Subplan Name"?: string;
  "CTE Name"?: string;
  "Function Name"?: string;
  "Actual Total Time": number;
  "Actual Loops": number;
  Plans?: PlanNode[];
}

/** What a message says that is ours, or auto_explain's: `duration: 1.2 ms  plan:` and JSON. */
function addNotice(message: string, parts: Map<string, number>): void {
  const told = JSON.parse(message.slice(message.indexOf("{"))) as
    { index: string; seconds: number } | { "Query Text": string; Plan: PlanNode };
  if ("index" in told) {
    add(parts, told.index, told.seconds);
  } else if (told["Query Text"].includes("tickets._places_of(")) {
    // Within the function that puts tickets together, whose time it is part of.
    add(parts, PLACES, secondsOf(told.Plan));
    add(parts, "_staged_tickets", -secondsOf(told.Plan));
  } else {
    addSelfTimes(told.Plan, parts);
  }
}

/**
 * Adds what each CTE of a statement took by itself. The time of a CTE stands in the plan twice: at
 * itself, and in the scan that made it run, from which it is taken off.
 */
function addSelfTimes(root: PlanNode, parts: Map<string, number>): void {
  const scans = new Map<string, { part: string; seconds: number }>();
  const whole = new Map<string, number>();

  function visit(node: PlanNode, part: string): void {
    let self = secondsOf(node);
    for (const child of node.Plans ?? []) {
      const name = /^CTE (.*)$/.exec(child["Subplan Name"] ?? "")?.[1];
      if (name === undefined) self -= secondsOf(child);
      else whole.set(name, secondsOf(child));
      visit(child, name ?? child["Function Name"] ?? part);
    }
    add(parts, part, self);
    const scanned = node["CTE Name"];
    if (scanned !== undefined && self > (scans.get(scanned)?.seconds ?? 0)) {
      scans.set(scanned, { part, seconds: self });
    }
  }

  visit(root, root["Function Name"] ?? "");
  for (const [name, { part, seconds }] of scans) {
    add(parts, part, -Math.min(seconds, whole.get(name) ?? 0));
  }
}

function add(parts: Map<string, number>, part: string, seconds: number): void {
  parts.set(part, (parts.get(part) ?? 0) + seconds);
}

function secondsOf(node: PlanNode): number {
  return (node["Actual Total Time"] * node["Actual Loops"]) / 1000;
}

/** A session as the program's own SQL calls want it. */
function databaseOf(client: Client): Database {
  return {
    async query<Row>(text: string, values: readonly unknown[] = []) {
      const { rows } = await client.query(text, [...values]);
      return rows as Row[];
    },
    async copyIn(into, records) {
      await pipeline(records, client.query(copyFrom(`copy ${into} from stdin with (format csv)`)));
    },
    close: () => client.end(),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return secondsSince(startedAt);
}

async function drained(chunks: AsyncIterable<Buffer>): Promise<void> {
  const reader = chunks[Symbol.asyncIterator]();
  while ((await reader.next()).done !== true);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
