import {
  CodedError,
  type ExitCode,
  ObjectStoreError,
  describeError,
  exitCodeOf,
  exitCodes,
} from "./errors.ts";

/** What a look at one thing has found. */
export interface Check {
  check: string;
  /** warning: it works, and a person should look. skipped: what it needs is not there. */
  status: "ok" | "warning" | "failed" | "skipped";
  finding: string;
  /** What to do about it. */
  cure: string | null;
  /** How a run that meets this ends; 0 unless it failed. */
  exit_code: ExitCode;
}

export function ok(check: string, finding: string): Check {
  return { check, status: "ok", finding, cure: null, exit_code: exitCodes.done };
}

export function skipped(check: string, finding: string): Check {
  return { check, status: "skipped", finding, cure: null, exit_code: exitCodes.done };
}

export function warning(check: string, finding: string, cure: string): Check {
  return { check, status: "warning", finding, cure, exit_code: exitCodes.done };
}

export function failed(check: string, exit_code: ExitCode, finding: string, cure: string): Check {
  return { check, status: "failed", finding, cure, exit_code };
}

/** What kept a look at something from its end, whatever it was: the other looks go on. */
export function failure(check: string, error: unknown, where = ""): Check {
  const { message, hint } = describeError(error);
  const isForeseen = error instanceof CodedError || error instanceof ObjectStoreError;
  const cure =
    hint ?? (isForeseen ? "Look at the server's log" : "A defect of the program: report it");
  return failed(check, exitCodeOf(error), `${where}${message}`, cure);
}
