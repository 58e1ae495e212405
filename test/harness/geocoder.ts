import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ProviderName } from "../../src/geocoders.ts";
import type { Scope } from "./scope.ts";

/** What the server sends back. */
export interface StubAnswer {
  status: number;
  headers?: Record<string, string>;
  body: string;
  /** stall: nothing comes; cut: half of the body and then the connection breaks; reset: it breaks. */
  does?: "stall" | "cut" | "reset";
}

/** A request as it came. */
export interface StubRequest {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: IncomingMessage["headers"];
}

/** What answers to questions look like at a provider. */
export interface Dialect {
  found(latitude: number, longitude: number, country?: string): StubAnswer;
  noMatch(): StubAnswer;
  /** The whole country, which is what is left where nothing else was understood. */
  country(): StubAnswer;
  badKey(): StubAnswer;
  forbidden(): StubAnswer;
  tooFast(window: "Second" | "Minute" | "Day", headers?: Record<string, string>): StubAnswer;
  /** @param reset when the quota is renewed, in seconds of Unix time */
  quota(reset: number): StubAnswer;
  serverError(headers?: Record<string, string>): StubAnswer;
}

/** A geocoding service on 127.0.0.1. */
export interface GeocoderStub {
  url: string;
  /** Host and port, which is the service by whose name requests are counted. */
  host: string;
  requests: StubRequest[];
  /** The questions, as they were asked. */
  questions(): string[];
}

/** Answers of LocationIQ, and of Nominatim, as they come over the wire. */
function nominatimLike(provider: "locationiq" | "nominatim"): Dialect {
  const place = (latitude: number, longitude: number, name: string, address: object) => ({
    place_id: "235428791",
    licence: "https://locationiq.com/attribution",
    osm_type: "way",
    osm_id: "4720541",
    boundingbox: [
      String(latitude - 0.01),
      String(latitude + 0.01),
      String(longitude - 0.01),
      String(longitude + 0.01),
    ],
    lat: String(latitude),
    lon: String(longitude),
    display_name: name,
    class: "highway",
    type: "residential",
    importance: 0.41,
    address,
  });
  const error = (status: number, text: string, headers = {}) =>
    json(status, { error: text }, headers);
  return {
    found: (latitude, longitude, country = "ke") =>
      json(200, [
        place(latitude, longitude, "Argwings Kodhek Road, Kilimani, Nairobi, Kenya", {
          road: "Argwings Kodhek Road",
          suburb: "Kilimani",
          city: "Nairobi",
          country: "Kenya",
          country_code: country,
        }),
      ]),
    noMatch: () => (provider === "locationiq" ? error(404, "Unable to geocode") : json(200, [])),
    country: () =>
      json(200, [place(1.44, 38.43, "Kenya", { country: "Kenya", country_code: "ke" })]),
    badKey: () => error(401, "Invalid key"),
    forbidden: () => error(403, "Access restricted"),
    tooFast: (window, headers) => error(429, `Rate Limited ${window}`, headers),
    quota: (reset) => ({
      ...error(402, "Payment required"),
      headers: { "retry-after": new Date(reset * 1000).toUTCString() },
    }),
    serverError: (headers) =>
      error(500, "Unknown error - Please try again after some time", headers),
  };
}

const opencage: Dialect = {
  found: (latitude, longitude, country = "ke") =>
    opencageAnswer(200, "OK", [
      {
        components: {
          "ISO_3166-1_alpha-2": country.toUpperCase(),
          _category: "road",
          _type: "road",
          country: "Kenya",
          country_code: country,
          road: "Argwings Kodhek Road",
        },
        confidence: 9,
        formatted: "Argwings Kodhek Road, Nairobi, Kenya",
        geometry: { lat: latitude, lng: longitude },
      },
    ]),
  noMatch: () => opencageAnswer(200, "OK", []),
  country: () =>
    opencageAnswer(200, "OK", [
      {
        components: { _type: "country", country: "Kenya", country_code: "ke" },
        confidence: 1,
        formatted: "Kenya",
        geometry: { lat: 1.44, lng: 38.43 },
      },
    ]),
  badKey: () => opencageAnswer(401, "invalid API key", []),
  forbidden: () => opencageAnswer(403, "forbidden", []),
  tooFast: (window, headers) =>
    window === "Day"
      ? opencageAnswer(429, "too many requests", [], {
          rate: { limit: 2500, remaining: 0, reset: 1_781_740_800 },
          headers,
        })
      : opencageAnswer(429, "too many requests", [], { headers }),
  quota: (reset) =>
    opencageAnswer(402, "quota exceeded", [], { rate: { limit: 2500, remaining: 0, reset } }),
  serverError: (headers) => opencageAnswer(503, "internal server error", [], { headers }),
};

function opencageAnswer(
  code: number,
  message: string,
  results: unknown[],
  { rate, headers }: { rate?: object; headers?: Record<string, string> | undefined } = {},
): StubAnswer {
  const body = {
    documentation: "https://opencagedata.com/api",
    licenses: [{ name: "see attribution guide", url: "https://opencagedata.com/credits" }],
    ...(rate === undefined ? {} : { rate }),
    results,
    status: { code, message },
    stay_informed: { blog: "https://blog.opencagedata.com" },
    thanks: "For using an OpenCage API",
    timestamp: { created_http: "Mon, 15 Jun 2026 06:00:00 GMT", created_unix: 1_781_503_200 },
    total_results: results.length,
  };
  return json(code, body, headers);
}

export const dialects: Readonly<Record<ProviderName, Dialect>> = {
  locationiq: nominatimLike("locationiq"),
  opencage,
  nominatim: nominatimLike("nominatim"),
};

function json(status: number, body: unknown, headers: Record<string, string> = {}): StubAnswer {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(body),
  };
}

/**
 * Starts a geocoding service, closed at the end of `scope`.
 *
 * @param answer what it says to a question, and the how-manieth request it is, from 0
 */
export async function startGeocoder(
  scope: Scope,
  answer: (question: string, request: number) => StubAnswer | Promise<StubAnswer>,
): Promise<GeocoderStub> {
  const requests: StubRequest[] = [];

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://stub");
    const query = Object.fromEntries(url.searchParams);
    requests.push({
      method: request.method ?? "",
      path: url.pathname,
      query,
      headers: request.headers,
    });
    const { status, headers, body, does } = await answer(query["q"] ?? "", requests.length - 1);
    if (does === "stall") return;
    if (does === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    const bytes = Buffer.from(body);
    response.writeHead(status, { ...headers, "content-length": bytes.length });
    if (does !== "cut") {
      response.end(bytes);
      return;
    }
    response.write(bytes.subarray(0, bytes.length / 2), () => request.socket.destroy());
  }

  const server = createServer((request, response) => void handle(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  scope.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    requests,
    questions: () => requests.map(({ query }) => query["q"] ?? ""),
  };
}
