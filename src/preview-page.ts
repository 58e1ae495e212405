import { createHash } from "node:crypto";
import type { Bundle } from "./preview-bundle.ts";
import type { Report } from "./preview/data.ts";

const icon =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">' +
      '<circle cx="8" cy="6" r="5" fill="#c8372d"/><path d="M4 9l4 7 4-7z" fill="#c8372d"/></svg>',
  );

/**
 * What the page may do: run its own script and style, and ask its own server; and, where a style for
 * the map is configured, get that style and its tiles from where it is.
 */
export function contentPolicy(styleUrl: string | undefined): string {
  const mapServer = styleUrl === undefined ? "" : ` ${new URL(styleUrl).origin}`;
  return policy({
    "default-src": "'none'",
    "script-src": "'self'",
    "worker-src": "'self'",
    "style-src": "'self'",
    "img-src": `'self' data: blob:${mapServer}`,
    "connect-src": `'self'${mapServer}`,
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
  });
}

/** The page that `fleettickets preview` serves; its data comes later. */
export function previewPage(styleUrl: string | undefined): string {
  const style = styleUrl === undefined ? "" : ` data-style-url="${escapeHtml(styleUrl)}"`;
  return page({
    attributes: ` data-worker-url="/worker.js"${style}`,
    head: `<link rel="stylesheet" href="/page.css">`,
    end: `<script src="/page.js"></script>`,
  });
}

/** The page as one file that needs nothing else and asks nobody. */
export function reportPage(report: Omit<Report, "worker">, bundle: Bundle): string {
  for (const what of ["script", "style"] as const) {
    // Nothing could escape it there, and the rest of the file would be read as HTML.
    if (/<\/(script|style)|<!--/i.test(bundle[what]))
      throw new Error(`the page's ${what} ends its element`);
  }
  const carried: Report = { ...report, worker: bundle.worker };
  const may = policy({
    "default-src": "'none'",
    "script-src": hashOf(bundle.script),
    "style-src": hashOf(bundle.style),
    // Of blobs that the page makes itself: in a page from a file the map fetches its worker's.
    "worker-src": "blob:",
    "connect-src": "blob:",
    "img-src": "data: blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
  });
  return page({
    head: `<meta http-equiv="Content-Security-Policy" content="${escapeHtml(may)}">
<style>${bundle.style}</style>`,
    end: `<script type="application/json" id="report">${jsonInHtml(carried)}</script>
<script>${bundle.script}</script>`,
  });
}

/**
 * JSON that stays JSON inside a script element, whatever is in it: nothing in it ends the element or
 * begins a comment, and no old parser takes a line to end in it.
 */
export function jsonInHtml(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>&\u2028\u2029]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function page(parts: { attributes?: string; head: string; end: string }): string {
  return `<!doctype html>
<html lang="en"${parts.attributes ?? ""}>
<head>
<meta charset="utf-8">
${parts.head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="${icon}">
<title>Tickets</title>
</head>
<body>
<a class="skip" href="#numbers">Skip to the numbers</a>
<header>
<h1>Tickets</h1>
<p id="freshness"></p>
</header>
<main id="main">
<noscript><p class="notice">This page draws its map and charts with JavaScript, which is off.</p></noscript>
<div id="notices"></div>
<section id="filters" aria-label="Filters"></section>
<section id="numbers" aria-labelledby="numbers-title" tabindex="-1">
<h2 id="numbers-title">Numbers</h2>
<div id="metrics"></div>
</section>
<section aria-labelledby="map-title">
<h2 id="map-title">Map</h2>
<p id="map-summary" role="status"></p>
<div id="map"></div>
<div id="legend"></div>
<div id="list"></div>
</section>
<section aria-labelledby="charts-title">
<h2 id="charts-title">Charts</h2>
<div id="charts"></div>
</section>
</main>
<footer id="footer"></footer>
${parts.end}
</body>
</html>
`;
}

function policy(directives: Record<string, string>): string {
  return Object.entries(directives)
    .map(([name, sources]) => `${name} ${sources}`)
    .join("; ");
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
