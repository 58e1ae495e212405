import { setTimeout as delay } from "node:timers/promises";
import type { Part } from "../config.ts";
import { type Database, withDatabase } from "../database.ts";
import {
  type GeocodeOptions,
  type GeocodeResult,
  type GeocodingKind,
  type PlaceOutcome,
  type SkippedPlace,
  geocode,
} from "../geocode.ts";
import { type Geocoder, openGeocoder } from "../geocoder-client.ts";
import type { Logger } from "../log.ts";
import { print, printJson, table } from "../output.ts";
import { type CommonFlags, runCommand } from "../session.ts";
import { stopOnSignal } from "../signals.ts";
import { endedEarly } from "../summary.ts";

/** The flags of `fleettickets geocode`. */
export interface GeocodeFlags extends CommonFlags {
  readonly apply?: boolean | undefined;
  readonly limit?: number | undefined;
}

/** `fleettickets geocode <clusters|locations>` */
export function geocodeCommand(kind: GeocodingKind, flags: GeocodeFlags): Promise<void> {
  // What would be asked can be seen before there is anybody to ask.
  const needs: Part[] = ["database", flags.apply === true ? "geocoder" : "geocoder if named"];
  return runCommand(flags, needs, async ({ config, log }) => {
    const geocoder =
      flags.apply === true && config.geocoder !== undefined
        ? openGeocoder(config.geocoder)
        : undefined;
    const options = { kind, limit: flags.limit ?? Infinity };
    const result = await withDatabase(config, (db) => runGeocoding(options, db, geocoder, log));
    if (flags.json === true) printJson(result);
    else print(summary(result));
    return result.exit_code;
  });
}

async function runGeocoding(
  options: GeocodeOptions,
  db: Database,
  geocoder: Geocoder | undefined,
  log: Logger,
): Promise<GeocodeResult> {
  const stop = stopOnSignal(log, "answer");
  try {
    return await geocode(options, {
      db,
      geocoder,
      log,
      shouldStop: stop.isAsked,
      sleep: (ms) =>
        delay(ms, undefined, { signal: stop.asked }).catch((error: unknown) => {
          if (!stop.isAsked()) throw error;
        }),
      random: Math.random,
    });
  } finally {
    stop.forget();
  }
}

function summary(result: GeocodeResult): string {
  const { kind, places, skipped, error } = result;
  const parts = [`${kind === "clusters" ? "Clusters" : "Locations"}: ${headline(result)}`];
  if (places.length > 0) parts.push(tableOf(result));
  if (skipped.length > 0) parts.push(skippedTable(skipped));
  if (error !== null) parts.push(endedEarly(error));
  return parts.join("\n\n");
}

function headline(result: GeocodeResult): string {
  const { applied, due, places, skipped } = result;
  if (!applied) {
    const questions = new Set(places.map(({ query }) => query)).size;
    const facts = [
      due === 0 ? "nothing to ask for" : `${due} to ask for, in ${questions} questions`,
      skipped.length > 0 ? `${skipped.length} skipped` : "",
    ];
    return `${facts.filter(Boolean).join(", ")} (dry run: nobody was asked; --apply makes it real)`;
  }
  const left = due - places.length;
  const facts = [
    places.length === 0 && due === 0 ? "nothing to ask for" : `${result.ok} found`,
    result.no_match > 0 ? `${result.no_match} without a match` : "",
    result.rejected_far > 0 ? `${result.rejected_far} refused as too far` : "",
    result.errors > 0 ? `${result.errors} without an answer` : "",
    left > 0 ? `${left} not asked for yet` : "",
    skipped.length > 0 ? `${skipped.length} skipped` : "",
    result.requests > 0 ? `${result.requests} requests` : "",
    result.stopped ? "stopped by a signal" : "",
  ];
  return facts.filter(Boolean).join(", ");
}

const statusWords: Readonly<Record<PlaceOutcome["status"], string>> = {
  due: "",
  ok: "found",
  no_match: "no match",
  rejected_far: "too far",
  error: "no answer",
  kept: "kept, verified",
};

function tableOf({ kind, applied, places }: GeocodeResult): string {
  const columns = [
    ...(kind === "locations" ? [["place", "left"] as const] : []),
    ["cluster", "left"] as const,
    ["tickets", "right"] as const,
    ...(applied
      ? [
          ["answer", "left"] as const,
          ["latitude", "right"] as const,
          ["longitude", "right"] as const,
        ]
      : [["question", "left"] as const]),
    ...(applied && kind === "locations" ? [["km from cluster", "right"] as const] : []),
  ];
  return table(
    columns.map(([title, align]) => ({ title, align })),
    places.map((outcome) => [
      ...(outcome.place === null ? [] : [outcome.place]),
      outcome.cluster,
      String(outcome.tickets),
      ...(applied ? answerCells(outcome) : [outcome.query]),
    ]),
  );
}

function answerCells({ status, latitude, longitude, distance_m }: PlaceOutcome): string[] {
  return [
    statusWords[status],
    latitude?.toFixed(6) ?? "",
    longitude?.toFixed(6) ?? "",
    distance_m === null ? "" : (distance_m / 1000).toFixed(1),
  ];
}

/** Skipped places by cluster: what is to be done is done for a cluster. */
function skippedTable(skipped: readonly SkippedPlace[]): string {
  const groups = new Map<
    string,
    { cluster: string; reason: string; places: number; tickets: number }
  >();
  for (const { cluster, reason, tickets } of skipped) {
    const name = cluster ?? "none";
    const group = groups.get(name) ?? { cluster: name, reason, places: 0, tickets: 0 };
    groups.set(name, group);
    group.places++;
    group.tickets += tickets;
  }
  return table(
    [
      { title: "skipped: cluster", align: "left" },
      { title: "places", align: "right" },
      { title: "tickets", align: "right" },
      { title: "why", align: "left" },
    ],
    [...groups.values()].map(({ cluster, reason, places, tickets }) => [
      cluster,
      String(places),
      String(tickets),
      reason,
    ]),
  );
}
