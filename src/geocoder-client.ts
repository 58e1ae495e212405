import type { GeocoderConfig } from "./config.ts";
import { type HttpAnswer, type Question, type Reply, type Wait, providers } from "./geocoders.ts";

// An answer has a few hundred bytes.
const MAX_BODY_BYTES = 1_000_000;
// Whoever runs a server wants to know who is asking; Nominatim's policy insists.
const USER_AGENT = "fleettickets geocode";

/** One geocoding service. */
export interface Geocoder {
  /** As the gazetteers name it. */
  provider: string;
  /** Whose limits count: the provider, or the host of a server of one's own. */
  service: string;
  requestsPerSecond: number;
  /** One request. Never throws: whatever goes wrong is a reply, too. */
  ask(question: Question): Promise<Reply>;
}

/**
 * @param now the clock by which dates in answers are read
 */
export function openGeocoder(config: GeocoderConfig, now: () => number = Date.now): Geocoder {
  const { provider: name, apiKey, requestsPerSecond, timeoutMs } = config;
  const provider = providers[name];
  const { hostname, host } = new URL(config.url);
  const isPublic = hostname === provider.ownDomain || hostname.endsWith(`.${provider.ownDomain}`);

  return {
    provider: name,
    service: isPublic ? name : host,
    requestsPerSecond,

    async ask(question) {
      const url = new URL(config.url.replace(/\/+$/, "") + provider.path);
      url.search = new URLSearchParams(provider.parameters(question, apiKey)).toString();
      try {
        const response = await fetch(url, {
          // The key must not follow to wherever somebody points.
          redirect: "manual",
          headers: {
            "user-agent": USER_AGENT,
            accept: "application/json",
            "accept-language": "en",
          },
          signal: AbortSignal.timeout(timeoutMs),
        });
        const text = await readBody(response);
        return replyOf({
          status: response.status,
          body: parsed(text),
          retryAfter: retryAfter(response.headers.get("retry-after"), now()),
        });
      } catch (error) {
        return { kind: "failed", reason: reasonOf(error), again: true, wait: undefined };
      }
    },
  };

  function replyOf(answer: HttpAnswer): Reply {
    if (answer.status === 200 && answer.body === undefined) {
      return { kind: "failed", reason: "the answer is no JSON", again: true, wait: undefined };
    }
    return provider.interpret(answer);
  }

  function reasonOf(error: unknown): string {
    if (!(error instanceof Error)) return String(error);
    if (error.name === "TimeoutError") return `no whole answer within ${timeoutMs / 1000} s`;
    // fetch says no more than that it failed; what it met is the cause.
    const cause = error.cause instanceof Error ? error.cause : error;
    const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
    return [code, cause.message].filter(Boolean).join(": ");
  }
}

async function readBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES)
      throw new Error(`the answer is longer than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what that means depends on the status
  }
}

/** Seconds, or the date of HTTP. */
function retryAfter(text: string | null, now: number): Wait | undefined {
  if (text === null) return undefined;
  const at = /^\d{1,9}$/.test(text.trim()) ? now + Number(text) * 1000 : Date.parse(text);
  return Number.isNaN(at) ? undefined : { ms: Math.max(0, at - now), until: new Date(at) };
}
