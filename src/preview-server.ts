import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { UsageError, describeError } from "./errors.ts";
import type { Logger } from "./log.ts";
import type { Bundle } from "./preview-bundle.ts";
import { contentPolicy, previewPage } from "./preview-page.ts";
import { type Failure, type Filters, readFilters } from "./preview/data.ts";
import { printableJson } from "./printable.ts";
import { type Reader, isWrongQuestion } from "./reading.ts";

export interface PreviewOptions {
  /** What to listen on; 127.0.0.1 unless somebody wants it otherwise. */
  host: string;
  /** 0: any that is free. */
  port: number;
  /** A MapLibre style to draw the map with; without one it needs no other server. */
  styleUrl: string | undefined;
}

export interface PreviewServer {
  url: string;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

/**
 * Serves the page: nothing but what GET and HEAD may have, to whoever asks for it by an address of
 * this machine.
 *
 * @throws UsageError when it may not listen there
 */
export async function startPreview(
  { host, port, styleUrl }: PreviewOptions,
  { reader, bundle, log }: { reader: Reader; bundle: Bundle; log: Logger },
): Promise<PreviewServer> {
  const headers = {
    "Content-Security-Policy": contentPolicy(styleUrl),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
  };
  const fixed: Readonly<Record<string, Answer>> = {
    "/": { status: 200, type: "text/html", body: previewPage(styleUrl) },
    "/page.js": { status: 200, type: "text/javascript", body: bundle.script },
    "/page.css": { status: 200, type: "text/css", body: bundle.style },
    "/worker.js": { status: 200, type: "text/javascript", body: bundle.worker },
  };

  async function answer(request: IncomingMessage): Promise<Answer> {
    if (!isOurs(request.headers.host, host)) {
      // Another site's name that points here: its page would read what is meant for this one.
      return plain(421, "This page is only served under an address of this machine.");
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "This page is only for reading: GET and HEAD.");
    }
    const base = "http://localhost";
    const path = request.url ?? "/";
    if (!path.startsWith("/") || !URL.canParse(path, base))
      return plain(400, "This is no address.");
    const { pathname, searchParams } = new URL(path, base);
    if (Object.hasOwn(fixed, pathname)) return fixed[pathname] as Answer;
    if (pathname === "/api/map") return data(() => reader.map(filtersOf(searchParams)));
    if (pathname === "/api/dashboards") {
      return data(() => reader.dashboards(filtersOf(searchParams)));
    }
    return plain(404, "There is nothing here. The page is at /");
  }

  async function data(read: () => Promise<string>): Promise<Answer> {
    try {
      return { status: 200, type: "application/json", body: await read() };
    } catch (error) {
      const status = isWrongQuestion(error) ? 400 : 503;
      if (status === 503) log.error({ err: describeError(error) }, "the page got no data");
      const { message, code, hint } = describeError(error);
      const failure: Failure = {
        error: { message, ...(code && { code }), ...(hint && { hint }) },
      };
      return { status, type: "application/json", body: printableJson(failure) };
    }
  }

  function send(request: IncomingMessage, response: ServerResponse, answered: Answer): void {
    const body = Buffer.from(answered.body);
    response.writeHead(answered.status, {
      ...headers,
      ...(answered.status === 405 && { Allow: "GET, HEAD" }),
      "Content-Type": `${answered.type}; charset=utf-8`,
      "Content-Length": body.length,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  const server = createServer((request, response) => {
    answer(request).then(
      (answered) => {
        send(request, response, answered);
      },
      (error: unknown) => {
        log.error({ err: error }, "unexpected error");
        send(request, response, plain(500, "Something unexpected happened; the log has it."));
      },
    );
  });
  await listen();
  const { address, port: taken } = server.address() as AddressInfo;
  const name = isIP(address) === 6 ? `[${address}]` : address;
  return {
    url: `http://${name}:${taken}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };

  function listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        reject(
          new UsageError(
            `the page cannot listen on ${host}:${port} (${error.code}): --port names ` +
              "another port, 0 any that is free, --host another address",
          ),
        );
      });
      server.listen(port, host, resolve);
    });
  }
}

/** @throws UsageError for a character that no text of PostgreSQL can hold */
function filtersOf(query: URLSearchParams): Filters {
  if (query.toString().includes("%00")) {
    throw new UsageError("a query parameter holds a NUL character: remove %00 from the address");
  }
  return readFilters(query);
}

/** Whether a request was made to an address, or to a name that no other site can have. */
function isOurs(asked: string | undefined, host: string): boolean {
  const url = `http://${asked ?? ""}`;
  if (asked === undefined || !URL.canParse(url)) return false;
  const name = new URL(url).hostname.replace(/^\[(.*)\]$/, "$1");
  return isIP(name) !== 0 || name === "localhost" || name === host.toLowerCase();
}

function plain(status: number, text: string): Answer {
  return { status, type: "text/plain", body: `${text}\n` };
}
