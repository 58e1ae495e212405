import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const elsewhere = [
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** What to do where `findBrowser` finds none. */
export const browserAdvice = `The tests of the page need Chromium or Chrome, and found none.
Install it:
  Debian            sudo apt-get install chromium
  Fedora            sudo dnf install chromium
  macOS             brew install --cask chromium
or name one: TEST_BROWSER=/path/to/chrome npm test`;

/** The program of an installed Chromium or Chrome. */
export function findBrowser(): string | undefined {
  const named = process.env["TEST_BROWSER"];
  if (named !== undefined) return named;
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const candidates = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [...candidates, ...elsewhere].find((path) => existsSync(path) && runs(path));
}

/** Installs Chromium where we may: as root on a system with apt. */
export function installBrowserIfMissing(): void {
  if (findBrowser() !== undefined) return;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  console.error("No Chromium here. Installing it from the distribution:");
  apt("update");
  // A font, too: without one a page has no letters to measure.
  apt("install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core");
}

/** Ubuntu has a chromium-browser that only says where to get one. */
function runs(path: string): boolean {
  return spawnSync(path, ["--version"], { timeout: 20_000 }).status === 0;
}

function apt(...args: string[]): void {
  const { status } = spawnSync("apt-get", args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    // Progress goes to stderr: stdout belongs to the test report.
    stdio: ["ignore", 2, 2],
  });
  // Not the end: with one broken source, apt still has the others.
  if (status !== 0) console.error(`apt-get ${args.join(" ")} failed, see above.`);
}
