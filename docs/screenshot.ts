// Makes docs/images/preview.png, the page over two weeks of the demo's tickets:
// `node docs/screenshot.ts`. With a folder as its argument it puts pictures of the whole page there,
// in both themes and of a phone, to look at after a change.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { Browser } from "playwright-core";
import { openDatabase } from "../src/database.ts";
import { startEmbeddedS3 } from "../src/embedded-s3.ts";
import { everyNewFile, ingest } from "../src/ingest.ts";
import { migrate } from "../src/migrate.ts";
import { loadBundle } from "../src/preview-bundle.ts";
import { startPreview } from "../src/preview-server.ts";
import { openReader } from "../src/reading.ts";
import { type SampleFile, contractColumns, sampleExports } from "../src/samples.ts";
import { openStore } from "../src/store.ts";
import { startBrowser } from "../test/harness/browser.ts";
import { csvOf } from "../test/harness/csv.ts";
import type { Scope } from "../test/harness/scope.ts";

const IMAGE = join(import.meta.dirname, "images", "preview.png");
const DAYS = 14;
const limits = { stallMs: 60_000, statementMs: 900_000 };

// What geocoding would find; the samples have hardly any coordinates, like their model.
const clusterPoints: Readonly<Record<string, readonly [lat: number, lng: number]>> = {
  Embakasi: [-1.3231, 36.8941],
  Karen: [-1.3194, 36.7073],
  Kasarani: [-1.2195, 36.896],
  Kilimani: [-1.2897, 36.7869],
  Langata: [-1.3667, 36.7667],
  Westlands: [-1.2676, 36.8108],
  QOA: [-1.2533, 36.8594],
  PTMP: [-1.3119, 36.8906],
  Ruaka: [-1.2078, 36.7817],
  Thika: [-1.0388, 37.0834],
  Rongai: [-1.3961, 36.7442],
  Syokimau: [-1.3667, 36.9283],
};

const cleanUps: (() => Promise<unknown>)[] = [];
const scope: Scope = { after: (cleanUp) => cleanUps.push(cleanUp) };
try {
  const url = await servePage();
  const browser = await startBrowser(scope);
  const folder = process.argv[2];
  if (folder === undefined) await picture(browser, url, IMAGE, { height: 1400 });
  else {
    for (const theme of ["light", "dark"] as const) {
      const whole = { theme, isWhole: true };
      await picture(browser, url, join(folder, `${theme}.png`), whole);
      await picture(browser, url, join(folder, `${theme}-phone.png`), { ...whole, width: 390 });
    }
  }
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}

/** Loads the tickets into an embedded database, a day after the other, and serves the page of it. */
async function servePage(): Promise<string> {
  const log = pino({ level: "fatal" });
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-screenshot-"));
  scope.after(() => rm(folder, { recursive: true }));
  const databaseUrl = `pglite:${join(folder, "db")}`;
  await migrate(databaseUrl, log);

  const s3 = await startEmbeddedS3("isptickets");
  scope.after(() => s3.stop());
  const store = openStore(s3.config, limits.stallMs);
  scope.after(() => {
    store.close();
    return Promise.resolve();
  });
  const db = await openDatabase(databaseUrl, limits);
  const runs = (["inc", "crq"] as const).map((dataset) => ({ dataset, files: samples(dataset) }));
  for (let i = 0; i < DAYS; i++) {
    for (const { dataset, files } of runs) {
      const file = files[i];
      if (file === undefined) throw new Error(`there is no file of day ${i}`);
      await s3.put(file.key, withCoordinates(file));
      // The clock of the schema goes with the exports.
      await db.query("select set_config('tickets.now', $1, false)", [
        new Date(file.exportedAt.getTime() + 12 * 60_000).toISOString(),
      ]);
      const result = await ingest(everyNewFile(dataset), {
        db,
        store,
        log,
        shouldStop: () => false,
      });
      if (result.error !== null) throw new Error(result.error.message);
    }
  }

  const reader = openReader({ databaseUrl, limits }, () => Promise.resolve(db));
  scope.after(() => reader.close());
  const server = await startPreview(
    { host: "127.0.0.1", port: 0, styleUrl: undefined },
    { reader, bundle: await loadBundle(), log },
  );
  scope.after(() => server.close());
  return server.url;
}

function samples(dataset: "inc" | "crq"): SampleFile[] {
  return sampleExports({
    dataset,
    seed: 20260615,
    files: DAYS,
    ticketsPerFile: dataset === "inc" ? 120 : 60,
    firstExport: "2026-06-02T08-40-00",
    everyMinutes: 24 * 60,
  });
}

/** The export with a point near its cluster's in each row, so that the map has something to show. */
function withCoordinates({ header, rows }: SampleFile): Buffer {
  const whole = rows.filter((row) => row.length === header.length);
  const records = whole.map((row, i) => {
    const values = Object.fromEntries(header.map((name, at) => [name, row[at] ?? ""]));
    const point = clusterPoints[values["cluster"] ?? ""];
    if (point === undefined) return values;
    const [lat, lng] = point;
    // Around the middle like the seeds of a sunflower.
    const [angle, far] = [i * 2.39996, 0.012 * Math.sqrt((i % 40) / 40)];
    return {
      ...values,
      latitude: (lat + far * Math.sin(angle)).toFixed(6),
      longitude: (lng + far * Math.cos(angle)).toFixed(6),
    };
  });
  return Buffer.from(csvOf(records, contractColumns));
}

async function picture(
  browser: Browser,
  url: string,
  path: string,
  look: { theme?: "light" | "dark"; width?: number; height?: number; isWhole?: boolean },
): Promise<void> {
  const { theme = "light", width = 1280, height = 900, isWhole = false } = look;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: theme });
  page.on("console", (message) => {
    console.error(message.text());
  });
  await page.goto(url);
  await page.locator("main[aria-busy=false]").waitFor();
  await page.locator(".crowd").first().waitFor();
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path, fullPage: isWhole });
  await page.close();
  console.log(path);
}
