// What `npm run bench` runs: measures the speed that the project promises, how cost grows, and how
// much memory the loader needs. docs/performance.md tells how, and what came of it.
//
//   node test/bench/run.ts [ratios|growth|memory] [--help]

import { UsageError, exitCodes } from "../../src/errors.ts";
import { type Scope, withScope } from "../harness/scope.ts";
import { growth } from "./growth.ts";
import { memory } from "./memory.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { ratios } from "./ratios.ts";
import type { Outcome } from "./report.ts";
import { useObjectStore, useServer } from "./servers.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  let options: Options | undefined;
  try {
    options = readOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\n${usage}`);
    return exitCodes.usage;
  }
  if (options === undefined) {
    process.stdout.write(usage);
    return exitCodes.done;
  }
  const { command, json } = options;
  const { report, sections } = await withScope((scope) => measure(scope, command));
  const text = [...sections, ""].join("\n\n");
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : text);
  return exitCodes.done;
}

async function measure(scope: Scope, command: Options["command"]): Promise<Outcome> {
  await useServer(scope);
  await useObjectStore(scope);
  switch (command.name) {
    case "ratios":
      return ratios(scope, command);
    case "growth":
      return growth(scope, command);
    case "memory":
      return memory(scope, command);
  }
}
