import * as api from "./api/geocode.ts";
import type { Database } from "./database.ts";
import {
  type ErrorDescription,
  type ExitCode,
  GeocoderError,
  describeError,
  exitCodeOf,
  exitCodes,
} from "./errors.ts";
import type { Geocoder } from "./geocoder-client.ts";
import type { Nearby, Reply, Wait } from "./geocoders.ts";
import { type Logger, reportError } from "./log.ts";
import { openQuestionBar } from "./progress.ts";

export const geocodingKinds = ["clusters", "locations"] as const;
export type GeocodingKind = (typeof geocodingKinds)[number];

/** What a run is to do. */
export interface GeocodeOptions {
  kind: GeocodingKind;
  /** Questions at most. */
  limit: number;
}

/** What a run needs. */
export interface GeocodeTools {
  db: Database;
  /** undefined: a dry run, which asks nobody and writes nothing. */
  geocoder: Geocoder | undefined;
  log: Logger;
  /** Once it says so, the run ends after the answer in hand. */
  shouldStop: () => boolean;
  /** Waits, and ends early when the run is to stop. */
  sleep: (ms: number) => Promise<void>;
  /** Between 0 and 1, to spread what several runs try again. */
  random: () => number;
}

/** A cluster, or a place in a cluster, and what came of it; in a dry run it is `due`. */
export interface PlaceOutcome {
  place: string | null;
  cluster: string;
  query: string;
  tickets: number;
  /** `kept`: a person has verified it meanwhile. */
  status: "due" | "ok" | "no_match" | "rejected_far" | "error" | "kept";
  latitude: number | null;
  longitude: number | null;
  /** From the point of its cluster. */
  distance_m: number | null;
  /** Why there is no answer. */
  error: string | null;
}

/** What cannot be asked for. */
export interface SkippedPlace {
  place: string;
  cluster: string | null;
  tickets: number;
  reason: string;
}

/** What came of a run. */
export interface GeocodeResult {
  kind: GeocodingKind;
  applied: boolean;
  provider: string | null;
  /** Places or clusters that wait for an answer, those in `places` included. */
  due: number;
  /** HTTP requests made, all tries included. */
  requests: number;
  ok: number;
  no_match: number;
  rejected_far: number;
  errors: number;
  places: PlaceOutcome[];
  skipped: SkippedPlace[];
  stopped: boolean;
  /** What ended the run early; the answers before it are kept. */
  error: ErrorDescription | null;
  /** When it may go on, where the geocoder has said so: ISO 8601. */
  retry_at: string | null;
  exit_code: ExitCode;
}

/** What is asked once, for all that wait for the same answer. */
interface Inquiry {
  query: string;
  near: Nearby | undefined;
  waiting: { place: string | null; cluster: string; tickets: number }[];
}

/** One run, as it goes along. */
interface Run extends GeocodeTools {
  geocoder: Geocoder;
  countryCode: string;
  result: GeocodeResult;
}

const unanswered = {
  status: "due",
  latitude: null,
  longitude: null,
  distance_m: null,
  error: null,
} as const;

type Answer = Extract<Reply, { kind: "found" | "no_match" | "failed" }>;

// Tries of one question, as long as there is no answer to it.
const TRIES = 4;
// Times that a service may call us too fast about one question.
const SLOW_DOWNS = 6;
// Questions in a row without an answer: the fault is not theirs.
const FAILURES_IN_A_ROW = 3;
const BACKOFF_MS = 1000;
// Who wants to be left alone for longer is done with us for now.
const MAX_WAIT_MS = 5 * 60_000;

/**
 * One run: asks for everything of a kind that has no point, the places of most tickets first, and
 * writes each answer down before the next question. A dry run says what would be asked.
 *
 * Never throws: what ends a run early is logged and stands in the result, beside the answers that
 * came before it.
 */
export async function geocode(
  options: GeocodeOptions,
  tools: GeocodeTools,
): Promise<GeocodeResult> {
  const { db, geocoder, log } = tools;
  const { kind } = options;
  const result = emptyResult(kind, geocoder);
  try {
    if (geocoder === undefined) {
      for (const { query, waiting } of await takeUp(options, db, result)) {
        result.places.push(...waiting.map((each) => ({ ...each, query, ...unanswered })));
      }
    } else {
      const countryCode = await api.startGeocoding(db, kind);
      await askAll({ ...tools, geocoder, countryCode, result }, await takeUp(options, db, result));
      await api.finishGeocoding(db, kind);
    }
    result.stopped = tools.shouldStop();
  } catch (error) {
    // The lock goes with the connection, which whoever opened it closes now.
    reportError(error, log);
    result.error = describeError(error);
    result.exit_code = exitCodeOf(error);
    if (error instanceof GeocoderError) result.retry_at = error.until?.toISOString() ?? null;
  }
  return result;
}

/** What is to be asked, most tickets first; what cannot be goes to the result at once. */
async function takeUp(
  { kind, limit }: GeocodeOptions,
  db: Database,
  result: GeocodeResult,
): Promise<Inquiry[]> {
  const inquiries = new Map<string, Inquiry>();
  function add(query: string, near: Nearby | undefined, waiting: Inquiry["waiting"][number]): void {
    // Geocoders know no letter case: what differs in nothing else is one question.
    const key = query.toLowerCase();
    const inquiry = inquiries.get(key);
    if (inquiry === undefined) inquiries.set(key, { query, near, waiting: [waiting] });
    else inquiry.waiting.push(waiting);
    result.due++;
  }

  if (kind === "clusters") {
    for (const { query, ...waiting } of await api.clustersToGeocode(db)) {
      add(query, undefined, { place: null, ...waiting });
    }
  } else {
    for (const location of await api.locationsToGeocode(db)) {
      const { place, cluster, query, tickets, skipped, ...near } = location;
      if (skipped !== null || cluster === null) {
        result.skipped.push({ place, cluster, tickets, reason: skipped ?? "no cluster" });
      } else {
        add(query, near, { place, cluster, tickets });
      }
    }
  }
  return [...inquiries.values()].slice(0, limit);
}

async function askAll(run: Run, inquiries: readonly Inquiry[]): Promise<void> {
  const { log, result, shouldStop } = run;
  const showProgress = openQuestionBar(inquiries.length);
  let answered = 0;
  // In a row.
  let failures = 0;
  for (const [index, inquiry] of inquiries.entries()) {
    if (shouldStop()) return;
    showProgress(index, inquiry.query);
    const answer = await askPatiently(run, inquiry);
    if (answer === undefined) return;
    await record(run, inquiry, answer);
    if (answer.kind !== "failed") {
      answered++;
      failures = 0;
      continue;
    }
    failures++;
    if (failures >= FAILURES_IN_A_ROW || (answered === 0 && failures === inquiries.length)) {
      throw new GeocoderError(
        `${run.geocoder.provider} has no answer to ${failures} questions in a row: ${answer.reason}`,
        { hint: "Look at the service and at GEOCODER_URL, then run again; answers are kept" },
      );
    }
  }
  if (result.errors > 0) {
    log.warn({ errors: result.errors }, "questions without an answer, the next run asks again");
  }
}

/**
 * Asks until there is an answer, or no hope of one.
 *
 * @returns undefined when the run was asked to stop while it waited
 * @throws GeocoderError when no other question would fare better
 */
async function askPatiently(run: Run, inquiry: Inquiry): Promise<Answer | undefined> {
  const { db, geocoder, countryCode, log, result } = run;
  const { query, near } = inquiry;
  let failures = 0;
  let slowDowns = 0;
  for (;;) {
    if (!(await waitForTurn(run))) return undefined;
    result.requests++;
    const reply = await geocoder.ask({ query, near, countryCode });
    switch (reply.kind) {
      case "found":
      case "no_match":
        return reply;
      case "refused":
        throw new GeocoderError(`${geocoder.provider} refuses us: ${reply.reason}`, reply);
      case "quota":
        throw quotaError(geocoder, reply.reason, reply.until);
      case "slow_down":
        slowDowns++;
        if (slowDowns >= SLOW_DOWNS) throw quotaError(geocoder, reply.reason, undefined);
        await holdOff(reply, slowDowns);
        break;
      case "failed":
        failures++;
        if (!reply.again || failures >= TRIES) return reply;
        log.debug({ query, reason: reply.reason }, "asking once more");
        await holdOff(reply, failures);
    }
  }

  /** Lets nobody ask for a while, longer from time to time. */
  async function holdOff(
    { reason, wait }: { reason: string; wait: Wait | undefined },
    time: number,
  ): Promise<void> {
    if (wait !== undefined && wait.ms > MAX_WAIT_MS) {
      throw quotaError(geocoder, reason, wait.until);
    }
    const backoffMs = BACKOFF_MS * 2 ** (time - 1) * (0.5 + run.random() / 2);
    const waitMs = Math.ceil(Math.max(wait?.ms ?? 0, backoffMs));
    await api.pauseRequests(db, geocoder.service, waitMs);
  }
}

/** Waits until the limits of the service let us ask; false when the run is to stop. */
async function waitForTurn(run: Run): Promise<boolean> {
  const { db, geocoder, sleep, shouldStop } = run;
  const { service, requestsPerSecond } = geocoder;
  const { wait_ms, quota_until } = await api.reserveRequest(db, service, requestsPerSecond);
  if (wait_ms === null) {
    throw quotaError(geocoder, "tickets.geocoder_services allows no more today", quota_until);
  }
  if (wait_ms > 0) await sleep(wait_ms);
  return !shouldStop();
}

function quotaError(
  { provider }: Geocoder,
  reason: string,
  until: Date | null | undefined,
): GeocoderError {
  // Whatever a server takes for a time.
  const known = until && !Number.isNaN(until.getTime()) ? until : undefined;
  const when = known === undefined ? "when it lets us" : `from ${known.toISOString()} on`;
  return new GeocoderError(`${provider} wants no more questions: ${reason}`, {
    hint: `Run again ${when}; all answers so far are kept`,
    until: known,
  });
}

/** Writes an answer down, for all that waited for it, before anything else is asked. */
async function record(run: Run, inquiry: Inquiry, answer: Answer): Promise<void> {
  const { db, geocoder, log, result } = run;
  const { query, waiting } = inquiry;
  const written = await api.recordAnswer(db, waiting, {
    provider: geocoder.provider,
    query,
    ...(answer.kind === "failed" ? { kind: "error" as const } : answer),
  });
  for (const each of waiting) {
    const row = written.find((w) => w.place === each.place && w.cluster === each.cluster);
    const status = row?.status ?? "kept";
    if (status === "error") result.errors++;
    else if (status !== "kept") result[status]++;
    const distance_m = row?.distance == null ? null : Math.round(row.distance);
    result.places.push({
      ...each,
      query,
      status,
      latitude: answer.kind === "found" ? answer.latitude : null,
      longitude: answer.kind === "found" ? answer.longitude : null,
      distance_m,
      error: answer.kind === "failed" ? answer.reason : null,
    });
    const { place, cluster } = each;
    if (answer.kind === "failed") log.error({ place, cluster, query }, answer.reason);
    else log.info({ place, cluster, query, distance_m }, status);
  }
}

function emptyResult(kind: GeocodingKind, geocoder: Geocoder | undefined): GeocodeResult {
  return {
    kind,
    applied: geocoder !== undefined,
    provider: geocoder?.provider ?? null,
    due: 0,
    requests: 0,
    ok: 0,
    no_match: 0,
    rejected_far: 0,
    errors: 0,
    places: [],
    skipped: [],
    stopped: false,
    error: null,
    retry_at: null,
    exit_code: exitCodes.done,
  };
}
