import { readFileSync } from "node:fs";
import { Argument, Command, InvalidArgumentError } from "commander";
import { parseDuration } from "./duration.ts";
import { exitCodes } from "./errors.ts";
import { geocodingKinds } from "./geocode.ts";
import { printable } from "./printable.ts";

const exitCodeHelp = `
Exit codes: 0 done or nothing to do · 1 unexpected, or status too old · 2 usage or configuration ·
3 database · 4 object store · 5 another run has the lock · 6 some file was refused ·
7 geocoder refused

Ctrl-C or SIGTERM: ingest, retry and geocode finish the file or answer in hand and end with the code
for what they did, preview ends with 0. A second signal, or a signal to any other command, ends the
program immediately; the shell reports 130 for Ctrl-C and 143 for SIGTERM.

Configuration is read from the environment and from .env; see .env.example.`;

/** Runs the command line: parses, and leaves the rest to the command. */
export async function main(argv: readonly string[]): Promise<void> {
  await createProgram().parseAsync(argv);
}

/** The command line, ready to parse; the docs' usage page is generated from it, too. */
export function createProgram(): Command {
  const program = new Command("fleettickets")
    .description("Brings INC and CRQ ticket exports from an S3 bucket into PostgreSQL + PostGIS.")
    .version(readVersion(), "-V, --version", "print the version")
    .showHelpAfterError("(--help tells more)")
    .addHelpText("after", exitCodeHelp)
    .configureHelp({ showGlobalOptions: true })
    // It quotes what it does not understand.
    .configureOutput({
      outputError: (text, write) => {
        write(printable(text));
      },
    })
    .exitOverride(({ exitCode }) => {
      // commander says 1 for a wrong command line.
      process.exit(exitCode === 0 ? exitCodes.done : exitCodes.usage);
    });

  define(
    program,
    "migrate",
    "bring the schema of the database up to date",
    "fleettickets migrate",
  ).action(later(async () => (await import("./commands/migrate.ts")).migrateCommand));

  withBucket(
    define(
      program,
      "ingest <dataset>",
      "load what the bucket has and the database has not, oldest first: inc, crq or all",
      "fleettickets ingest all --apply",
    ),
  )
    .option("--apply", "make it real; without it everything is done and rolled back")
    .option("--csv <file...>", "load local files instead of the bucket's")
    .option("--snapshot", "take the newest full snapshot instead of change files")
    .option("--reseed", "load files that are done already once more")
    .option("--no-archive", "leave loaded objects where they are")
    .option("--max-files <n>", "end after so many files of a dataset", positiveInteger)
    .action(later(async () => (await import("./commands/ingest.ts")).ingestCommand));

  withBucket(
    define(
      program,
      "retry <key...>",
      "load refused files again, whatever the ledger says of them",
      "fleettickets retry automations/inc/changes/2026-06-15T06-20-00.csv --apply",
    ),
  )
    .option("--apply", "make it real; without it everything is done and rolled back")
    .action(later(async () => (await import("./commands/retry.ts")).retryCommand));

  define(
    program,
    "geocode",
    "ask a geocoder where clusters, or the places of open tickets, are",
    "fleettickets geocode clusters --apply",
  )
    .addArgument(new Argument("<kind>", "what to look for").choices(geocodingKinds))
    .option("--limit <n>", "ask so many questions at most", positiveInteger)
    .option("--apply", "ask; without it the questions are listed, and nobody is asked")
    .action(later(async () => (await import("./commands/geocode.ts")).geocodeCommand));

  define(
    program,
    "capture-history [dataset]",
    "record closures and today's snapshot without loading anything",
    "fleettickets capture-history",
  ).action(
    later(async () => (await import("./commands/capture-history.ts")).captureHistoryCommand),
  );

  withBucket(
    define(
      program,
      "status",
      "tell how far each dataset is, and what waits",
      "fleettickets status --max-age 2h",
    ),
  )
    .option("--max-age <time>", "end with 1 where a dataset is older: 90m, 2h, 1d12h", seconds)
    .option("--snapshot", "count full snapshots as waiting instead of change files")
    .action(later(async () => (await import("./commands/status.ts")).statusCommand));

  withBucket(
    define(
      program,
      "doctor",
      "look at all that a run depends on, and say how to mend what is broken",
      "fleettickets doctor",
    ),
  ).action(later(async () => (await import("./commands/doctor.ts")).doctorCommand));

  define(
    program,
    "preview",
    "show tickets, numbers and charts on a page of this machine, read-only",
    "fleettickets preview --port 8080",
  )
    .option("--port <n>", "port to listen on, 0 for any that is free", port, 4700)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .action(later(async () => (await import("./commands/preview.ts")).previewCommand));

  define(
    program,
    "report",
    "write the same page as one HTML file with its data inside",
    "fleettickets report --out tickets.html --dataset inc --window 30d",
  )
    .requiredOption("--out <file>", "file to write")
    .option("--dataset <name>", "one dataset instead of all")
    .option("--cluster <name>", "one cluster instead of all")
    .option("--status <status>", "tickets on the map: open, closed or all (default: open)")
    .option("--window <window>", "24h, 7d, 30d, all or an interval (default: 7d)")
    .action(later(async () => (await import("./commands/report.ts")).reportCommand));

  define(
    program,
    "demo",
    "do the whole job here and now: embedded database, embedded object store, sample exports",
    "fleettickets demo",
  ).action(later(async () => (await import("./commands/demo.ts")).demoCommand));

  return program;
}

/** An action whose code is loaded when it is asked for: a run needs the code of its own only. */
function later<Args extends unknown[]>(
  load: () => Promise<(...args: Args) => Promise<void>>,
): (...args: Args) => Promise<void> {
  return async (...args) => (await load())(...args);
}

function define(program: Command, usage: string, description: string, example: string): Command {
  return program
    .command(usage)
    .description(description)
    .option("--json", "print one machine-readable result")
    .option("--log-level <level>", "instead of LOG_LEVEL")
    .addHelpText("after", `\nExample:\n  $ ${example}`);
}

function withBucket(command: Command): Command {
  return command
    .option("--endpoint <url>", "object store, instead of RUSTFS_ENDPOINT")
    .option("--bucket <name>", "bucket, instead of RUSTFS_BUCKET")
    .option("--region <name>", "region, instead of RUSTFS_REGION");
}

function readVersion(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

function seconds(text: string): number {
  const parsed = parseDuration(text);
  if (parsed === undefined) throw new InvalidArgumentError("It takes a time such as 90m, 2h, 1d.");
  return parsed;
}

function port(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new InvalidArgumentError("It takes a number from 0 to 65535.");
  }
  return Number(text);
}

function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("It takes a number from 1 on.");
  return Number(text);
}
