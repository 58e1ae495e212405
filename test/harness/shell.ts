/** A shell in a checkout, as somebody sits at who follows the documentation. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { findPostgres } from "./find-postgres.ts";
import type { Scope } from "./scope.ts";

const ROOT = join(import.meta.dirname, "../..");
const TIMEOUT_MS = 60_000;

/** What a command printed, on stdout and stderr together, and how it ended. */
export interface ShellResult {
  code: number;
  output: string;
}

/** A command that goes on until Ctrl-C. */
export interface Service {
  /** What it has printed until now. */
  printed(): string;
  /** Waits until it has printed this. */
  until(pattern: RegExp): Promise<void>;
  /** Presses Ctrl-C and waits until the command and all its children are gone. */
  stop(): Promise<void>;
}

export interface Shell {
  /** The folder of the checkout, in which the shell begins. */
  folder: string;
  /** Variables and the current folder stay from one command to the next. */
  run(command: string, typed?: string): Promise<ShellResult>;
  /** Runs a command that has to end well, and returns what it prints. */
  output(command: string): Promise<string>;
  /** Starts a command and waits until it has printed this. */
  serve(command: string, ready: RegExp): Promise<Service>;
}

// In a process group of its own, a job takes Ctrl-C as it does in a terminal. The end of our
// process is the end of the shell's input, and with it of all that it runs.
const BEGIN = `set -m
trap 'for job in $(jobs -p); do kill -KILL -- "-$job"; done' EXIT
`;

/**
 * Opens a shell, closed at the end of `scope` with whatever it still runs.
 *
 * @param env what it has in its environment, besides PATH, HOME and what keeps npm to itself
 */
export async function openShell(scope: Scope, env: Record<string, string> = {}): Promise<Shell> {
  const parent = await mkdtemp(join(tmpdir(), "fleettickets-walk-"));
  const folder = join(parent, "fleettickets");
  makeCheckout(folder);
  const bash = spawn("bash", ["--norc"], {
    cwd: folder,
    env: { ...cleanEnvironment(makeCommands(join(parent, "bin"))), ...env },
    // Of its own it only tells of jobs that end.
    stdio: ["pipe", "pipe", "ignore"],
  });
  const answers = createInterface({ input: bash.stdout })[Symbol.asyncIterator]();
  const ended = once(bash, "exit");
  let files = 0;
  let lastCode = 0;
  bash.stdin.write(BEGIN);
  scope.after(async () => {
    bash.stdin.end();
    await ended;
    await rm(parent, { recursive: true });
  });

  async function ask(script: string): Promise<number> {
    bash.stdin.write(`${script}\n`);
    const { value, done } = await answers.next();
    if (done) throw new Error(`the shell ended: ${script}`);
    return Number(value);
  }

  function outputFile(): string {
    files += 1;
    return join(parent, `output-${files}`);
  }

  async function run(command: string, typed = ""): Promise<ShellResult> {
    const file = outputFile();
    const code = await ask(
      `(exit ${lastCode}); eval ${quoted(command)} >${file} 2>&1 <<'the end of what is typed'
${typed}
the end of what is typed
echo $?`,
    );
    lastCode = code;
    return { code, output: readFileSync(file, "utf8") };
  }

  return {
    folder,
    run,

    async output(command) {
      const { code, output } = await run(command);
      assert.equal(code, 0, `${command}\n${output}`);
      return output;
    },

    async serve(command, ready) {
      const file = outputFile();
      writeFileSync(file, "");
      const printed = () => readFileSync(file, "utf8");
      const pid = await ask(`eval ${quoted(command)} >${file} 2>&1 </dev/null &\necho $!`);
      const isThere = async () => (await ask(`kill -0 -- -${pid}; echo $?`)) === 0;

      async function until(pattern: RegExp): Promise<void> {
        const deadline = Date.now() + TIMEOUT_MS;
        while (!pattern.test(printed())) {
          if (!(await isThere()) || Date.now() > deadline) {
            throw new Error(`${command} did not print ${pattern.source}:\n${printed()}`);
          }
          await sleep(50);
        }
      }

      await until(ready);
      return {
        printed,
        until,
        async stop() {
          const deadline = Date.now() + TIMEOUT_MS;
          await ask(`kill -INT -- -${pid}; echo $?`);
          while (await isThere()) {
            if (Date.now() > deadline) throw new Error(`${command} goes on:\n${printed()}`);
            await sleep(20);
          }
        },
      };
    },
  };
}

/** What `git clone` and `npm ci` make; files that somebody may change are copies. */
function makeCheckout(folder: string): void {
  mkdirSync(folder);
  for (const name of ["node_modules", "src", "test", "package.json", ".env.example", ".gmrc.cjs"]) {
    symlinkSync(join(ROOT, name), join(folder, name));
  }
  for (const name of ["migrations", "current.sql"]) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true, verbatimSymlinks: true });
  }
}

/** Commands that the pages call, in the place of what would be slow or is not there. */
function makeCommands(folder: string): string {
  const command = (name: string, script: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  };
  mkdirSync(folder);
  symlinkSync(join(ROOT, "src/fleettickets.js"), join(folder, "fleettickets"));
  // npm's takes a second to come to the same.
  command("npx", 'exec "$@"');
  command("aws", `exec node ${quoted(join(import.meta.dirname, "aws.ts"))} "$@"`);
  return folder;
}

function cleanEnvironment(commands: string): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  const path = [
    commands,
    join(process.execPath, ".."),
    join(ROOT, "node_modules/.bin"),
    findPostgres().binDir,
    PATH,
  ];
  return {
    PATH: path.join(":"),
    HOME,
    PSQLRC: "/dev/null",
    PGCLIENTENCODING: "UTF8",
    // `npm run` installs nothing, and asks nobody.
    npm_config_ignore_scripts: "true",
    npm_config_offline: "true",
    npm_config_update_notifier: "false",
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
