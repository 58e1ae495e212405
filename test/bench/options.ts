/** What the command line of the bench may say. */

import { parseArgs } from "node:util";
import { UsageError } from "../../src/errors.ts";
import { CHANGE_FILE_ROWS, type GrowthOptions } from "./growth.ts";
import type { MemoryOptions } from "./memory.ts";
import type { RatiosOptions } from "./ratios.ts";

/** What is to be measured, and whether it is printed for a program. */
export interface Options {
  command:
    | ({ name: "ratios" } & RatiosOptions)
    | ({ name: "growth" } & GrowthOptions)
    | ({ name: "memory" } & MemoryOptions);
  json: boolean;
}

export const usage = `Usage: npm run bench -- [command] [options]

ratios, where no command is named: loads and answers, beside a plain COPY, insert and query
  --rows <n>       tickets of an export, 200000 by default
  --repeat <n>     repetitions, 3 by default
growth: a first load, change files of ${CHANGE_FILE_ROWS} rows and runs with nothing new, by number of tickets
  --rows <n,n,…>   numbers of tickets, 10000,200000,1000000,2000000 by default
  --repeat <n>     change files, and as many runs with nothing new, 5 by default
memory: the most memory that the loader has with a large file, and with one of 1 MB
  --megabytes <n>  size of the large one, 2048 by default

  --json           print one machine-readable result
  --help           print this
`;

const commands: Record<Options["command"]["name"], (args: string[]) => Options> = {
  ratios(args) {
    const { json, rows, repeat } = valuesOf(args, { rows: "200000", repeat: "3" });
    return {
      command: {
        name: "ratios",
        // A tenth of fewer rows is no whole number of them.
        rows: wholeNumber("--rows", rows, 10),
        repeat: wholeNumber("--repeat", repeat, 1),
      },
      json,
    };
  },
  growth(args) {
    const defaults = { rows: "10000,200000,1000000,2000000", repeat: "5" };
    const { json, rows, repeat } = valuesOf(args, defaults);
    // Fewer do not have as many tickets to change as a change file wants.
    const sizes = rows.split(",").map((each) => wholeNumber("--rows", each, CHANGE_FILE_ROWS));
    return {
      command: {
        name: "growth",
        sizes: [...new Set(sizes)],
        repeat: wholeNumber("--repeat", repeat, 1),
      },
      json,
    };
  },
  memory(args) {
    const { json, megabytes } = valuesOf(args, { megabytes: "2048" });
    return {
      command: { name: "memory", megabytes: wholeNumber("--megabytes", megabytes, 1) },
      json,
    };
  },
};

/**
 * Reads the command line.
 *
 * @returns undefined where it asks for help
 * @throws UsageError
 */
export function readOptions(args: readonly string[]): Options | undefined {
  if (args.includes("--help")) return undefined;
  const [first = "", ...others] = args;
  if (first === "" || first.startsWith("-")) return commands.ratios([...args]);
  if (!isCommand(first)) {
    throw new UsageError(`There is no command ${first}: ${Object.keys(commands).join(", ")}`);
  }
  return commands[first](others);
}

function isCommand(name: string): name is keyof typeof commands {
  return Object.hasOwn(commands, name);
}

/** The options of a command, which all take a value, and --json, which none does without. */
function valuesOf<Name extends string>(
  args: string[],
  defaults: Record<Name, string>,
): Record<Name, string> & { json: boolean } {
  const names = Object.keys(defaults) as Name[];
  try {
    const { values } = parseArgs({
      args,
      options: {
        ...Object.fromEntries(names.map((name) => [name, { type: "string" }] as const)),
        json: { type: "boolean" },
      },
    });
    return { ...defaults, ...values, json: values.json === true };
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function wholeNumber(option: string, text: string, from: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < from) {
    throw new UsageError(`${option} takes whole numbers from ${from} on, not ${text || "nothing"}`);
  }
  return number;
}
