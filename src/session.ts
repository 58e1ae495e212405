import { type Config, type Flags, type Part, loadDotEnv, readConfig } from "./config.ts";
import { type ExitCode, describeError, exitCodeOf } from "./errors.ts";
import { type Logger, createLog, reportError } from "./log.ts";
import { printJson } from "./output.ts";

/** Flags that every command has. */
export interface CommonFlags extends Flags {
  readonly json?: boolean | undefined;
}

/** What a command works with. */
export interface Session {
  config: Config;
  log: Logger;
}

/**
 * Runs a command: configures it, and maps what it throws to a message and the exit code of the
 * process.
 *
 * @param needs the parts of the configuration that the command uses
 * @param work the command; it returns its exit code
 */
export async function runCommand(
  flags: CommonFlags,
  needs: readonly Part[],
  work: (session: Session) => Promise<ExitCode>,
): Promise<void> {
  let log = await createLog("info");
  try {
    loadDotEnv();
    const config = readConfig(process.env, flags, needs);
    log = await createLog(config.logLevel);
    process.exitCode = await work({ config, log });
  } catch (error) {
    process.exitCode = exitCodeOf(error);
    reportError(error, log);
    if (flags.json === true)
      printJson({ error: describeError(error), exit_code: process.exitCode });
  }
}
