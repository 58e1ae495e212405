import type { Values } from "./columns.ts";
import { type Random, chance, pick } from "./random.ts";

// The mess in the values of a row: what a source writes that has no rules.

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
export const trueSpellings = ["true", "True", "TRUE", "t", "T", "1", "yes", "YES"];
const falseSpellings = ["False", "FALSE", "f", "F", "0", "no", "NO", ""];

export function messUp(values: Values, random: Random): void {
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
