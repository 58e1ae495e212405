import { openReader } from "./reading.ts";
import {
  type Dashboard,
  type Filters,
  type Report,
  type TicketMap,
  stateOf,
  urgency,
} from "./preview/data.ts";
import type { Config } from "./config.ts";

/** What a report may carry of tickets, in characters of JSON: more is slow to open and to mail. */
const REPORT_LIMIT = 25_000_000;

/**
 * Reads what a report is to carry.
 *
 * @param limit characters of JSON that its tickets may take
 * @throws DatabaseError, or CodedError when the filters make no sense
 */
export async function readReport(
  config: Pick<Config, "databaseUrl" | "limits">,
  filters: Filters,
  limit = REPORT_LIMIT,
): Promise<Omit<Report, "worker">> {
  const reader = openReader(config);
  try {
    await reader.check();
    const dashboards = JSON.parse(await reader.dashboards(filters)) as Dashboard[];
    const all = JSON.parse(await reader.map(filters)) as TicketMap;
    const features = mostUrgent(all.features, limit);
    return {
      filters,
      made_at: new Date().toISOString(),
      map: { ...all, features },
      left_out: all.features.length - features.length,
      dashboards,
    };
  } finally {
    await reader.close();
  }
}

/** As many tickets as fit, those that can wait left out; in the order that they came in. */
function mostUrgent(features: TicketMap["features"], limit: number): TicketMap["features"] {
  let left = limit;
  const kept = new Set<TicketMap["features"][number]>();
  const byState = Map.groupBy(features, ({ properties }) => stateOf(properties));
  for (const feature of urgency.flatMap((state) => byState.get(state) ?? [])) {
    left -= JSON.stringify(feature).length;
    if (left < 0) break;
    kept.add(feature);
  }
  return features.filter((feature) => kept.has(feature));
}
