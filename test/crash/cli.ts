import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { type CliResult, describeRun, spawnCli } from "../harness/cli.ts";

// Far more than any run here needs, on a busy machine, too: a run that reaches it hangs.
const RUN_LIMIT_MS = 60_000;

/** A command that goes on while the test does other things. */
export interface RunningCli {
  child: ChildProcess;
  /** Fails when the command has not ended by itself within the limit. */
  ended: Promise<CliResult>;
}

/** Starts `fleettickets <args>`, with an end to how long it may take. */
export function startCli(
  args: string[],
  env: Record<string, string>,
  limitMs = RUN_LIMIT_MS,
): RunningCli {
  const child = spawnCli(args, { env });
  child.stdin.end();
  const ended = endOf(child, args, limitMs);
  // Whoever awaits it later sees the failure all the same.
  ended.catch(() => undefined);
  return { child, ended };
}

async function endOf(
  child: ReturnType<typeof spawnCli>,
  args: string[],
  limitMs: number,
): Promise<CliResult> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort();
    child.kill("SIGKILL");
  }, limitMs);
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  clearTimeout(timer);
  const result = { code, signal, stdout, stderr };
  if (late.signal.aborted)
    throw new Error(`no end after ${limitMs} ms: ${describeRun(args, result)}`);
  return result;
}
