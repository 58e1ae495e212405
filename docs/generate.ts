// Writes the pages of docs/reference that are made from the sources: `npm run docs`. A test fails
// where a page is not what this makes.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { createProgram } from "../src/cli.ts";
import { exitCodes, ownErrors } from "../src/errors.ts";

const ROOT = join(import.meta.dirname, "..");

// Of a terminal of usual size, whatever the one is that this runs in.
const HELP_WIDTH = 80;

const exitMeanings: Record<keyof typeof exitCodes, { means: string; what: string }> = {
  done: {
    means: "done, or nothing to do",
    what: "Nothing. A run that only passes by files refused earlier ends so, too: watch `files_refused` in `tickets.freshness`.",
  },
  unexpected: {
    means: "unexpected: a defect of the program; of `status`, older than `--max-age`",
    what: "Read the last line of the log, it has the stack; report it. `status`: look at cron and at the exporter.",
  },
  usage: {
    means: "usage or configuration",
    what: "Each problem is named with its cure.",
  },
  database: {
    means: "database",
    what: "Look at the server, then run again. What was committed stays, the file in hand is rolled back.",
  },
  objectStore: {
    means: "object store",
    what: "Look at the store, then run again. What was loaded stays loaded; archiving is resumed.",
  },
  locked: {
    means: "another run has the lock of the dataset",
    what: "Nothing, unless it lasts. The other datasets of the run were loaded.",
  },
  fileRefused: {
    means: "some file was refused; the others are loaded",
    what: "[Mend the refused file](../how-to/mend-a-refused-file.md).",
  },
  geocoderRefused: {
    means: "the geocoder refused: key, quota, or no answers",
    what: "The hint says what to mend, or when it goes on: then run again. All answers so far are kept.",
  },
};

/** The generated pages: path from the top of the project → content. */
export function generatedPages(): Promise<Map<string, string>> {
  return Promise.resolve(
    new Map([
      ["docs/reference/cli.md", cliPage(createProgram())],
      ["docs/reference/errors.md", errorsPage()],
    ]),
  );
}

function cliPage(program: Command): string {
  const commands = program.commands.map(
    (command) => `## ${command.name()}\n\n${codeBlock(helpOf(command))}`,
  );
  return `${generatedFrom("src/cli.ts")}
# Command line

In a checkout, \`npx fleettickets …\` runs the sources as they are. In the image the command is
\`fleettickets …\`.

Results go to stdout, the log to stderr: JSON lines, or text where stderr is a terminal. With
\`--json\` stdout gets one line of JSON instead of tables: see [JSON results](json.md). What the
options and the environment set is explained in [configuration](configuration.md), exit codes and
error codes in [errors](errors.md).

${codeBlock(helpOf(program))}

${commands.join("\n\n")}
`;
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => HELP_WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}

function errorsPage(): string {
  const codes = Object.entries(ownErrors);
  const ofDatabase = codes.filter(([code]) => code < "TK100");
  const ofGate = codes.filter(([code]) => code >= "TK100");
  const exits = Object.entries(exitMeanings).map(([name, { means, what }]) => [
    String(exitCodes[name as keyof typeof exitCodes]),
    means,
    what,
  ]);
  return `${generatedFrom("src/errors.ts")}
# Errors

Every error of the project has a code, a message, mostly a detail, and a hint that names what to do
next. The code of a refused file is in \`tickets.ingest_files.error_code\`, in the log and in
\`--json\`; psql shows it as the SQLSTATE after \`\\set VERBOSITY verbose\`.

A code with exit code 6 refuses one file: nothing of it is applied, it stays where it is, and the run
goes on to the next file. A code with another exit code ends the run over its dataset.

## Raised by the database

With the code as SQLSTATE, by the functions of the schema \`tickets\` and by its migrations.

${errorTable(ofDatabase)}

## Raised by the gate in front of COPY

Before the database sees the rows at fault.

${errorTable(ofGate)}

## Codes of others

| code | meaning | exit code |
|---|---|---|
| \`22P04\`, \`22021\` | COPY itself finds fault with the file. | ${exitCodes.fileRefused} |
| \`25006\` | The server is a standby, or the user may only read: name the primary. | ${exitCodes.database} |
| any other SQLSTATE | PostgreSQL says no; its manual has the list. | ${exitCodes.database} |
| \`connection\` | There is no connection to the database, or it broke. | ${exitCodes.database} |
| \`tls\` | The program and the server do not agree on [TLS](../how-to/tls.md). | ${exitCodes.database} |
| \`pooler\` | DATABASE_URL leads to a [pooler](../how-to/pgbouncer.md) that changes the session between transactions. | ${exitCodes.usage} |
| \`stalled\` | The database gave no answer within a time limit. | ${exitCodes.database} |
| \`embedded\` | The folder of the embedded database does not open. | ${exitCodes.database} |
| \`migration\` | A migration failed for a reason without an SQLSTATE. | ${exitCodes.database} |

Errors of the object store have no code: their message says what was tried and what came back. They
end the run over its dataset, but for two: an object that cannot be read whole twice in a row is left
for the next run, and so is archiving that fails. The run goes on and ends with exit code 4.

Errors of a geocoder have no code either. They end the run with exit code 7, but for a single
question without an answer: it is left for the next run.

## Exit codes

A run over several datasets ends with the first code that is not 0.

| exit code | meaning | what to do |
|---|---|---|
${exits.map(row).join("\n")}
`;
}

function errorTable(errors: readonly (readonly [string, (typeof ownErrors)[string]])[]): string {
  const rows = errors.map(([code, { means, exit }]) => row([`\`${code}\``, means, String(exit)]));
  return `| code | meaning | exit code |\n|---|---|---|\n${rows.join("\n")}`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function codeBlock(text: string): string {
  return `\`\`\`\n${text}\n\`\`\``;
}

function generatedFrom(file: string): string {
  return `<!-- Made from ${file} by npm run docs. -->\n`;
}

if (import.meta.main) {
  for (const [path, content] of await generatedPages()) {
    await writeFile(join(ROOT, path), content);
    console.log(path);
  }
}
