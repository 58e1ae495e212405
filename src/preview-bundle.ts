import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { UsageError } from "./errors.ts";

/** What the browser gets besides the page itself, each one text without a reference to another. */
export interface Bundle {
  script: string;
  style: string;
  /** The program of the map's worker. */
  worker: string;
}

/**
 * The bundle that came with the package; in a checkout it is made anew from the sources, which takes
 * a fraction of a second.
 */
export async function loadBundle(): Promise<Bundle> {
  const maker = new URL("./preview-build.ts", import.meta.url);
  if (existsSync(maker)) return makeBundle(maker);
  const built = (name: string) => readFile(new URL(`./preview/${name}`, import.meta.url), "utf8");
  const [script, style, worker] = await Promise.all([
    built("page.js"),
    built("page.css"),
    built("worker.js"),
  ]);
  return { script, style, worker };
}

async function makeBundle(maker: URL): Promise<Bundle> {
  try {
    const { bundle } = (await import(maker.href)) as { bundle: () => Promise<Bundle> };
    return await bundle();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") {
      throw new UsageError(
        "the page is made from its sources, for which a development dependency is missing: npm ci",
      );
    }
    throw error;
  }
}
