import type { Check } from "../check.ts";
import { examine, exitCodeOfChecks } from "../doctor.ts";
import { coloured, print, printJson } from "../output.ts";
import { printableInLine } from "../printable.ts";
import { type CommonFlags, runDiagnosis } from "../session.ts";

/** `fleettickets doctor` */
export function doctorCommand(flags: CommonFlags): Promise<void> {
  return runDiagnosis(flags, async (diagnosis) => {
    const checks = await examine(diagnosis);
    const exitCode = exitCodeOfChecks(checks);
    if (flags.json === true) printJson({ checks, exit_code: exitCode });
    else print(checks.map(lineFor).join("\n"));
    return exitCode;
  });
}

const colours = { ok: "green", warning: "yellow", failed: "red", skipped: "dim" } as const;

function lineFor({ check, status, finding, cure }: Check): string {
  const [name, found] = [printableInLine(check).padEnd(18), printableInLine(finding)];
  const line = `${coloured(colours[status], status.padEnd(7))}  ${name}  ${found}`;
  return cure === null ? line : `${line}\n${" ".repeat(29)}→ ${printableInLine(cure)}`;
}
