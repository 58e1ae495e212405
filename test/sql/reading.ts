/** Reading: the outputs of the schema reporting as the web app gets them, held to their schemas. */

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ClientBase } from "pg";
import type { Dataset } from "../../src/samples.ts";
import { only } from "./staging.ts";

export interface Feature {
  type: "Feature";
  id: string;
  geometry: { type: "Point"; coordinates: [longitude: number, latitude: number] };
  properties: Record<string, unknown>;
}

export interface FeatureCollection {
  type: "FeatureCollection";
  features: Feature[];
}

export interface TicketsForMap extends FeatureCollection {
  summary: {
    total: number;
    located: number;
    unlocated: number;
    by_dataset: Record<string, number>;
    by_geo_source: Record<string, number>;
    freshness: Record<string, Record<string, unknown>>;
  };
}

export interface Group {
  name: string | null;
  open: number;
  closed: number;
  mttr_median_minutes: number | null;
  sla_breached: number;
}

export interface Dashboard {
  filters: Record<string, string | null>;
  open: FeatureCollection;
  closed: FeatureCollection;
  metrics: Record<string, number | null> & { aging: Record<string, number> };
  by_cluster: Group[];
  by_team: Group[];
  by_owner: Group[];
  freshness: Record<string, unknown>;
}

/** The arguments that are given, by name; those left out keep their defaults. */
export type Arguments = Readonly<Record<string, string | null>>;

export async function ticketsForMap(
  client: ClientBase,
  args: Arguments = {},
): Promise<TicketsForMap> {
  const text = await call(client, "fn_tickets_for_map", args);
  const map = JSON.parse(text) as TicketsForMap;
  assertSchema("tickets-for-map", map);
  assertGeoJson(text, map);
  return map;
}

export async function dashboard(
  client: ClientBase,
  args: Arguments = {},
  dataset: Dataset = "inc",
): Promise<Dashboard> {
  const text = await call(client, `fn_${dataset}_dashboard`, args);
  const result = JSON.parse(text) as Dashboard;
  assertSchema("dashboard", result);
  assertGeoJson(text, result.open);
  assertGeoJson(text, result.closed);
  return result;
}

/** Calls a function of the schema reporting, and returns its JSON as the text that it is. */
async function call(client: ClientBase, name: string, args: Arguments): Promise<string> {
  const names = Object.keys(args);
  const list = names.map((argument, index) => `${argument} => $${index + 1}`).join(", ");
  const { rows } = await client.query<{ result: string }>(
    `select reporting.${name}(${list})::text as result`,
    names.map((argument) => args[argument]),
  );
  return only(rows).result;
}

/** Puts a ticket where a file would: the values of its row, those left out being blank. */
export async function insertTicket(
  client: ClientBase,
  ticketId: string,
  values: Readonly<Record<string, string>> = {},
  dataset: Dataset = "inc",
): Promise<void> {
  await client.query(
    "insert into tickets.ticket (dataset, ticket_id, raw) values ($1, $2, $3::jsonb)",
    [dataset, ticketId, { ticket_id: ticketId, ...values }],
  );
}

export function ids({ features }: FeatureCollection): string[] {
  return features.map(({ id }) => id);
}

const SCHEMAS = join(import.meta.dirname, "../../docs/reference/schemas");
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
for (const file of globSync("*.schema.json", { cwd: SCHEMAS })) {
  ajv.addSchema(JSON.parse(readFileSync(join(SCHEMAS, file), "utf8")) as object);
}

function assertSchema(name: string, value: unknown): void {
  const validate = ajv.getSchema(`${name}.schema.json`);
  assert.ok(validate, name);
  assert.ok(validate(value), ajv.errorsText(validate.errors));
}

/** What RFC 7946 asks for beyond the shape: section by section of it. */
function assertGeoJson(text: string, { features }: FeatureCollection): void {
  // 4: no crs. 11.2: six decimals are a matter of centimetres, more are noise.
  assert.doesNotMatch(text, /"crs"/);
  for (const [, pair = ""] of text.matchAll(/"coordinates"\s*:\s*\[([^\]]*)\]/g)) {
    assert.match(pair, /^-?\d{1,3}(\.\d{1,6})?,-?\d{1,2}(\.\d{1,6})?$/);
  }
  // 3.1.1: longitude first. Kenya is where no latitude could be.
  for (const { geometry, id } of features) {
    const [longitude, latitude] = geometry.coordinates;
    assert.ok(Math.abs(longitude) <= 180 && Math.abs(latitude) <= 90, id);
  }
  const sorted = ids({ type: "FeatureCollection", features }).sort(byBytes);
  assert.deepEqual(
    features.map(({ id }) => id),
    sorted,
  );
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}
