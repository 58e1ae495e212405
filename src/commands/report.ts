import { lstat, open, rename, rm } from "node:fs/promises";
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
    await checkTarget(out);
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

/**
 * What is at the path is replaced, and nothing but an older file may be: not /dev/null, nor a link,
 * whose target the user may not have in mind.
 */
async function checkTarget(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw cannotWrite(path, error);
  });
  if (found === undefined || found.isFile()) return;
  const what = found.isSymbolicLink()
    ? "a symbolic link: name the file that it leads to"
    : found.isDirectory()
      ? "a directory: name a file in it"
      : "a device, a pipe or a socket, not a file: name a file";
  throw new UsageError(`--out ${path} is ${what}`);
}

/** Writes a file that is whole or not there at all, also when the disk is full. */
async function writeWhole(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    // In a folder of many users, somebody may have guessed the name and made a link of it.
    const file = await open(part, "wx");
    try {
      await file.writeFile(text).finally(() => file.close());
      await rename(part, path);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function cannotWrite(path: string, error: unknown): UsageError {
  const reason = error instanceof Error ? error.message : String(error);
  return new UsageError(`${path} cannot be written: ${reason}; name another file with --out`);
}
