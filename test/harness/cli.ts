import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../src/fleettickets.js", import.meta.url));

export interface CliOptions {
  /** All that the command sees of an environment, besides PATH and HOME. */
  env?: Record<string, string>;
  /** By default a folder without a `.env`. */
  cwd?: string;
  /** How many files the command may have open at once, Node's own included. */
  openFiles?: number;
}

export interface CliResult {
  /** The exit code; null when a signal ended the command. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** stdout, parsed, when the command was called with `--json` and printed JSON. */
  json?: unknown;
}

/** Starts `fleettickets <args>` and leaves it running. */
export function spawnCli(
  args: string[],
  { env = {}, cwd = tmpdir(), openFiles }: CliOptions = {},
): ChildProcessWithoutNullStreams {
  const { PATH, HOME } = process.env;
  const options = { cwd, env: { PATH, HOME, ...env } };
  if (openFiles === undefined) return spawn(process.execPath, [CLI, ...args], options);
  const limited = `ulimit -n ${openFiles}; exec "$0" "$@"`;
  return spawn("sh", ["-c", limited, process.execPath, CLI, ...args], options);
}

/**
 * Runs `fleettickets <args>` to its end.
 *
 * @throws when it takes longer than `timeoutMs`, with what it printed until then
 */
export async function runCli(
  args: string[],
  { timeoutMs = 60_000, ...options }: CliOptions & { timeoutMs?: number } = {},
): Promise<CliResult> {
  const child = spawnCli(args, options);
  child.stdin.end();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  clearTimeout(timer);
  const result = { code, signal, stdout, stderr };
  if (timedOut) throw new Error(`no end after ${timeoutMs} ms: ${describeRun(args, result)}`);
  return args.includes("--json") ? { ...result, ...parsed(stdout) } : result;
}

/** The command and all it said, for the message of a failed assertion. */
export function describeRun(args: string[], { code, signal, stdout, stderr }: CliResult): string {
  return `fleettickets ${args.join(" ")} ended with ${signal ?? code}
--- stdout\n${stdout}\n--- stderr\n${stderr}`;
}

function parsed(stdout: string): { json?: unknown } {
  try {
    return { json: JSON.parse(stdout) };
  } catch {
    return {}; // a command that failed may print none
  }
}
