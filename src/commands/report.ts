import { rename, rm, writeFile } from "node:fs/promises";
import { UsageError, exitCodes } from "../errors.ts";
import { print, printJson } from "../output.ts";
import { loadBundle } from "../preview-bundle.ts";
import { reportPage } from "../preview-page.ts";
import { readFilters } from "../preview/data.ts";
import { readReport } from "../report.ts";
import { type CommonFlags, runCommand } from "../session.ts";

/** The flags of `fleettickets report`. */
export interface ReportFlags extends CommonFlags {
  readonly out: string;
  readonly dataset?: string | undefined;
  readonly cluster?: string | undefined;
  readonly status?: string | undefined;
  readonly window?: string | undefined;
}

/** `fleettickets report --out <file>` */
export function reportCommand(flags: ReportFlags): Promise<void> {
  return runCommand(flags, ["database"], async ({ config, log }) => {
    const { dataset, cluster, status, window, out } = flags;
    const asked = new Map(Object.entries({ dataset, cluster, status, window }));
    const report = await readReport(
      config,
      readFilters({ get: (name) => asked.get(name) ?? null }),
    );
    const html = reportPage(report, await loadBundle());
    await writeWhole(out, html);
    const { map, left_out } = report;
    if (left_out > 0) {
      const hint = "Narrow it with --dataset, --cluster or --status";
      log.warn({ left_out, hint }, "the least urgent tickets are left out to keep the file small");
    }
    const bytes = Buffer.byteLength(html);
    if (flags.json === true) {
      const tickets = map.features.length;
      printJson({ out, bytes, tickets, left_out, exit_code: exitCodes.done });
    } else {
      print(
        `${out}: ${map.features.length} tickets on the map, ${(bytes / 1e6).toFixed(1)} MB` +
          (left_out > 0 ? `; ${left_out} less urgent ones left out` : ""),
      );
    }
    return exitCodes.done;
  });
}

/** Writes a file that is whole or not there at all, also when the disk is full. */
async function writeWhole(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    await writeFile(part, text);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${path} cannot be written: ${reason}; name another file with --out`);
  }
}
