import { type Browser, type BrowserContextOptions, type Page, chromium } from "playwright-core";
import { browserAdvice, findBrowser } from "./find-browser.ts";
import type { Scope } from "./scope.ts";

/** A page and what it did that nobody sees. */
export interface WatchedPage {
  page: Page;
  /** Errors and warnings of the console, and exceptions that nobody caught. */
  complaints: string[];
  /** The addresses of all that was requested, data: and blob: aside. */
  requests: string[];
}

/** Starts the browser without a window, closed at the end of `scope`. */
export async function startBrowser(scope: Scope): Promise<Browser> {
  const executablePath = findBrowser();
  if (executablePath === undefined) throw new Error(browserAdvice);
  const browser = await chromium.launch({
    executablePath,
    args: [
      // WebGL without a graphics card.
      "--use-angle=swiftshader",
      "--enable-unsafe-swiftshader",
      // Chromium refuses its sandbox to root.
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ],
  });
  scope.after(() => browser.close());
  return browser;
}

/** Opens a blank page in a profile of its own, closed at the end of `scope`. */
export async function openPage(
  scope: Scope,
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width: 1000, height: 800 },
    locale: "en-GB",
    ...options,
  });
  scope.after(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => {
    if (/error|warning/.test(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  context.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url())) requests.push(request.url());
  });
  return { page, complaints, requests };
}
