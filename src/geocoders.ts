// What each provider is asked, and what its answers mean. No request is made here.
import { excerpt } from "./secrets.ts";

/** A place to look for. */
export interface Question {
  query: string;
  /** Two letters, lower case: answers from elsewhere are not wanted. */
  countryCode: string;
  /** Where the answer probably is; it never limits the search. */
  near: Nearby | undefined;
}

/** The surroundings of a cluster, in degrees. */
export interface Nearby {
  latitude: number;
  longitude: number;
  /** West, south, east, north. */
  box: readonly [number, number, number, number];
}

/** What a request came to. */
export type Reply =
  | { kind: "found"; latitude: number; longitude: number; countryCode: string | undefined }
  | { kind: "no_match" }
  /** No further request would fare better until a person has mended something. */
  | { kind: "refused"; reason: string; hint: string }
  /** Nothing more today, or for longer than anybody would wait. */
  | { kind: "quota"; reason: string; until: Date | undefined }
  /** Too fast. */
  | { kind: "slow_down"; reason: string; wait: Wait | undefined }
  /** No answer to this question; `again`: it may be worth another try. */
  | { kind: "failed"; reason: string; again: boolean; wait: Wait | undefined };

/** How long a server wants to be left alone, and until when that is, if it says so. */
export interface Wait {
  ms: number;
  until: Date | undefined;
}

/** A whole answer over HTTP. */
export interface HttpAnswer {
  status: number;
  /** The JSON of the body; undefined where it is none. */
  body: unknown;
  retryAfter: Wait | undefined;
}

export interface Provider {
  /** Where its public service is; undefined: the operator has to say which server to use. */
  url: string | undefined;
  /** The end of the host names of its public service, whose plan has limits. */
  ownDomain: string;
  needsKey: boolean;
  /** Below the base address. */
  path: string;
  parameters(question: Question, key: string): Record<string, string>;
  interpret(answer: HttpAnswer): Reply;
}

export const providerNames = ["locationiq", "opencage", "nominatim"] as const;
export type ProviderName = (typeof providerNames)[number];

export const providers: Readonly<Record<ProviderName, Provider>> = {
  locationiq: {
    url: "https://us1.locationiq.com",
    ownDomain: "locationiq.com",
    needsKey: true,
    path: "/v1/search",
    parameters: (question, key) => ({ key, ...nominatimParameters(question) }),
    interpret(answer) {
      // Its way of saying so. A 404 of anybody else, at a wrong address, says no such thing.
      if (answer.status === 404 && typeof field(answer.body, "error") === "string") {
        return { kind: "no_match" };
      }
      return answer.status === 200 ? nominatimPlaces(answer.body) : unsuccessful(answer);
    },
  },

  opencage: {
    url: "https://api.opencagedata.com",
    ownDomain: "opencagedata.com",
    needsKey: true,
    path: "/geocode/v1/json",
    parameters: ({ query, countryCode, near }, key) => ({
      key,
      q: query,
      countrycode: countryCode,
      limit: "1",
      no_annotations: "1",
      // Whom we look for is nobody's business.
      no_record: "1",
      // `bounds` would limit the search: a far answer would come as a wrong one from nearby.
      ...(near === undefined ? {} : { proximity: `${near.latitude},${near.longitude}` }),
    }),
    interpret(answer) {
      return answer.status === 200 ? opencageResults(answer.body) : unsuccessful(answer);
    },
  },

  nominatim: {
    url: undefined,
    ownDomain: "nominatim.openstreetmap.org",
    needsKey: false,
    path: "/search",
    parameters: (question) => nominatimParameters(question),
    interpret(answer) {
      return answer.status === 200 ? nominatimPlaces(answer.body) : unsuccessful(answer);
    },
  },
};

function nominatimParameters({ query, countryCode, near }: Question): Record<string, string> {
  return {
    q: query,
    format: "json",
    countrycodes: countryCode,
    limit: "1",
    addressdetails: "1",
    // Unbounded, the box only puts what is in it first.
    ...(near === undefined ? {} : { viewbox: near.box.join(","), bounded: "0" }),
  };
}

function nominatimPlaces(body: unknown): Reply {
  if (!Array.isArray(body)) return senseless("is no list of places");
  const places: unknown[] = body;
  if (places.length === 0) return { kind: "no_match" };
  const [place] = places;
  return point(
    field(place, "lat"),
    field(place, "lon"),
    field(field(place, "address"), "country_code"),
    isWholeCountry(place),
  );
}

function opencageResults(body: unknown): Reply {
  const results: unknown = field(body, "results");
  if (!Array.isArray(results)) return senseless("has no results");
  const found: unknown[] = results;
  if (found.length === 0) return { kind: "no_match" };
  const geometry = field(found[0], "geometry");
  const components = field(found[0], "components");
  return point(
    field(geometry, "lat"),
    field(geometry, "lng"),
    field(components, "country_code"),
    field(components, "_type") === "country",
  );
}

/** A country is what is left of a query of which nothing but the country was understood. */
function isWholeCountry(place: unknown): boolean {
  const country = field(field(place, "address"), "country");
  return (
    field(place, "addresstype") === "country" ||
    (typeof country === "string" && field(place, "display_name") === country)
  );
}

function point(
  latitude: unknown,
  longitude: unknown,
  countryCode: unknown,
  isCountry: boolean,
): Reply {
  const [lat, lng] = [degrees(latitude), degrees(longitude)];
  if (lat === undefined || lng === undefined || Math.abs(lat) > 90 || Math.abs(lng) > 180) {
    return senseless("has no coordinates");
  }
  if (isCountry) return { kind: "no_match" };
  return {
    kind: "found",
    latitude: lat,
    longitude: lng,
    countryCode: typeof countryCode === "string" ? countryCode : undefined,
  };
}

/** Nominatim writes its numbers as strings, those next to the equator as `5e-05`. */
function degrees(value: unknown): number | undefined {
  const isNumeric =
    typeof value === "string" && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value);
  const number = isNumeric ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

function senseless(how: string): Reply {
  return { kind: "failed", reason: `the answer ${how}`, again: true, wait: undefined };
}

/** An answer whose status is not 200; the three mean the same by theirs. */
function unsuccessful({ status, body, retryAfter }: HttpAnswer): Reply {
  const reason = [`HTTP ${status}`, wordsOf(body)].filter(Boolean).join(": ");
  if (status === 401 || status === 403) {
    return { kind: "refused", reason, hint: "Check GEOCODER_API_KEY and what its plan allows" };
  }
  if (status >= 300 && status < 400) {
    return {
      kind: "refused",
      reason: `${reason}: it sends us to another address`,
      hint: "Set GEOCODER_URL to where the service is; redirects are not followed",
    };
  }
  const reset = field(field(body, "rate"), "reset");
  const until = typeof reset === "number" ? new Date(reset * 1000) : retryAfter?.until;
  const isSpent = field(field(body, "rate"), "remaining") === 0;
  if (status === 402) return { kind: "quota", reason, until };
  if (status === 429) {
    if (/\bday\b|\bdaily\b/i.test(reason) || isSpent) {
      return { kind: "quota", reason, until };
    }
    const minute = { ms: 60_000, until: undefined };
    const byDefault = /\bminute\b/i.test(reason) ? minute : undefined;
    return { kind: "slow_down", reason, wait: retryAfter ?? byDefault };
  }
  return { kind: "failed", reason, again: status >= 500 || status === 408, wait: retryAfter };
}

/** What a refusal says of itself. */
function wordsOf(body: unknown): string {
  const words = [
    field(body, "error"),
    field(body, "message"),
    field(field(body, "error"), "message"),
    field(field(body, "status"), "message"),
  ].find((value) => typeof value === "string");
  return typeof words === "string" ? excerpt(words, 200) : "";
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
