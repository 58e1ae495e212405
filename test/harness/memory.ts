import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CliOptions, type CliResult, runCli } from "./cli.ts";

const PEAK_MEMORY = new URL("../bench/peak-memory.ts", import.meta.url).href;

/** Runs `fleettickets <args>` to its end and measures how much memory was resident at the peak. */
export async function runCliMeasured(
  args: string[],
  { env, ...options }: CliOptions & { timeoutMs?: number },
): Promise<CliResult & { peakBytes: number }> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-memory-"));
  const file = join(folder, "peak-memory");
  try {
    const result = await runCli(args, {
      ...options,
      env: { ...env, NODE_OPTIONS: `--import=${PEAK_MEMORY}`, PEAK_MEMORY_FILE: file },
    });
    return { ...result, peakBytes: Number(await readFile(file, "utf8")) };
  } finally {
    await rm(folder, { recursive: true });
  }
}
