import {
  type Config,
  type Flags,
  type Part,
  inspectConfig,
  loadDotEnv,
  readConfig,
} from "./config.ts";
import { type ExitCode, describeError, exitCodeOf } from "./errors.ts";
import { type Logger, createLog, logFailure, reportError } from "./log.ts";
import { print, printJson } from "./output.ts";

/** Flags that every command has. */
export interface CommonFlags extends Flags {
  readonly json?: boolean | undefined;
}

/** What a command works with. */
export interface Session {
  config: Config;
  log: Logger;
}

/** What a command works with that is there to find fault. */
export interface Diagnosis extends Session {
  /** What is wrong with the configuration, by the part of it that suffers. */
  problems: Record<"general" | "database" | "bucket" | "geocoder", string[]>;
}

/**
 * Runs a command: configures it, and maps what it throws to a message and the exit code of the
 * process.
 *
 * @param needs the parts of the configuration that the command uses
 * @param work the command; it returns its exit code
 */
export function runCommand(
  flags: CommonFlags,
  needs: readonly Part[],
  work: (session: Session) => Promise<ExitCode>,
): Promise<void> {
  return run(flags, () => ({ config: readConfig(process.env, flags, needs) }), work);
}

/** Runs a command that no problem of the configuration keeps from beginning. */
export function runDiagnosis(
  flags: CommonFlags,
  work: (diagnosis: Diagnosis) => Promise<ExitCode>,
): Promise<void> {
  const configure = () => {
    const env = process.env;
    const { problems: general } = inspectConfig(env, flags, []);
    const problemsOf = (part: Part) =>
      inspectConfig(env, flags, [part]).problems.filter((problem) => !general.includes(problem));
    return {
      config: inspectConfig(env, flags, ["geocoder if named"]).config,
      problems: {
        general,
        database: problemsOf("database"),
        bucket: problemsOf("bucket"),
        geocoder: problemsOf("geocoder if named"),
      },
    };
  };
  return run(flags, configure, work);
}

async function run<Configured extends { config: Config }>(
  flags: CommonFlags,
  configure: () => Configured,
  work: (session: Configured & { log: Logger }) => Promise<ExitCode>,
): Promise<void> {
  let log = await createLog("info");
  // Whoever was to read the result has gone, or the disk is full: what is done is done.
  process.stdout.on("error", ({ message }) => {
    log.error({ reason: message }, "the result could not be written");
  });
  // Node would print those of a library beside the log, on lines that are no JSON.
  process.removeAllListeners("warning");
  process.on("warning", ({ name, message }) => {
    log.warn({ warning: name }, message);
  });
  try {
    loadDotEnv();
    const configured = configure();
    log = await createLog(configured.config.logLevel);
    process.exitCode = await work({ ...configured, log });
  } catch (error) {
    process.exitCode = exitCodeOf(error);
    reportError(error, log);
    if (flags.json === true)
      printJson({ error: describeError(error), exit_code: process.exitCode });
  }
  const failure = logFailure();
  if (failure !== undefined && flags.json !== true) {
    print(`Some of the log could not be written: ${failure.message}`);
  }
}
