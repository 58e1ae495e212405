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

// Which parts of tickets.apply_file make up which step: parts of its statement and functions that it
// asks. What is not here is `other`, such as the building of indexes after a first load.
const steps: Record<string, readonly string[]> = {
  dedup: ["_count_lines"],
  compare: ["_judge_staged", "looked_up", "compared"],
  build: ["_staged_tickets", "staged"],
  write_tickets: ["added", "changed"],
  order_versions: ["come_late", "moved", "repeated", "no_more_repeated"],
  history: ["status_changes", "closed", "tallied", "_count_day", "captured", "breached", "emptied"],
};

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
  const plans: PlanNode[] = [];
  const onNotice = (notice: { message: string | undefined }) => {
    plans.push(planOf(notice.message ?? ""));
  };
  await client.query(`
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
  const commit = await timed(() => client.query("commit"));

  const parts = new Map<string, number>();
  for (const plan of plans) addSelfTimes(plan, parts);
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

/** The plan in a message of auto_explain: `duration: 1.2 ms  plan:` and JSON. */
function planOf(message: string): PlanNode {
  const { Plan } = JSON.parse(message.slice(message.indexOf("{"))) as { Plan: PlanNode };
  return Plan;
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
    add(part, self);
    const scanned = node["CTE Name"];
    if (scanned !== undefined && self > (scans.get(scanned)?.seconds ?? 0)) {
      scans.set(scanned, { part, seconds: self });
    }
  }

  function add(part: string, seconds: number): void {
    parts.set(part, (parts.get(part) ?? 0) + seconds);
  }

  visit(root, root["Function Name"] ?? "");
  for (const [name, { part, seconds }] of scans) {
    add(part, -Math.min(seconds, whole.get(name) ?? 0));
  }
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
