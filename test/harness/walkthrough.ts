/**
 * Follows a page of the documentation word by word: types its commands in their order, and holds
 * what they print against what the page shows.
 *
 * In a block that begins with a prompt, `$ ` is before a command of the shell, and `=> ` or `name=# `
 * before one of psql; the lines below are what it prints, where there are any. Blocks of `sh` and
 * `sql` are commands alone. Any other block is more of what the last command printed.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Service, Shell } from "./shell.ts";

const ROOT = join(import.meta.dirname, "../..");
const BLOCK = /^```(\w*)\n(.*?)^```$/gms;
const PROMPT = /^(\$|\w*=[>#]) (.*)/;
const PSQL = 'psql "$DATABASE_URL"';
const LOG = /^\{"level":.*\n/gm;
const TYPED = "the next prompt";

// Times, the names that psql gives to what is staged by hand, ports, passwords of servers.
const VARIES = [
  /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g,
  /(?<=manual:)\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{6}/g,
  /(?<=127\.0\.0\.1:)\d+/g,
  /(?<=postgres:)[0-9a-f]{32}(?=@)/g,
];

/** What is typed at a prompt, and what the page shows below it. */
interface Typed {
  input: string;
  output: string;
}

/** A command of the shell with what is typed into it, or a block of other text. */
interface Step extends Typed {
  /** The language of the block. */
  language: string;
  typed: Typed[];
}

/** What to do with a step otherwise than to type it and to see it end well. */
export interface Note {
  /** Text that the step has in it. Notes stand in the order of the page. */
  at: string;
  /** Why the step is not executed. */
  notRun?: string;
  /** Sets the scene for it. */
  before?: () => unknown;
  /** The exit code with which it ends. */
  code?: number;
  /** What it prints when it is ready: it goes on until Ctrl-C. */
  ready?: RegExp;
  /** Text of the step before which Ctrl-C is pressed. Without it, that is at once. */
  until?: string;
  /** Does in another way what the step asks for; `service` is the last one that was started. */
  does?: (text: string, service: Service | undefined) => unknown;
  /** Does what the page shows the output of without a command, and returns what was printed. */
  prints?: () => Promise<string>;
  /** Looks closer at what was printed. */
  check?: (output: string) => unknown;
}

export interface Walk {
  shell: Shell;
  /** What stands here for addresses and names of the page. */
  names?: Readonly<Record<string, string>>;
  /** What differs from one run to the next, besides times, ports and passwords. */
  varies?: readonly RegExp[];
  notes?: readonly Note[];
}

/** Takes every step of a page. A note without its step is an error. */
export async function walk(page: string, options: Walk): Promise<void> {
  const { shell, names = {}, varies = [], notes = [] } = options;
  const pending = [...notes];
  let running: { service: Service; until: string } | undefined;
  let printed: string | undefined;

  for (const step of stepsOf(page, names)) {
    const content = contentOf(step);
    const isNoted = pending[0] !== undefined && content.includes(pending[0].at);
    const note: Partial<Note> = (isNoted ? pending.shift() : undefined) ?? {};
    try {
      if (running !== undefined && content.includes(running.until)) {
        await running.service.stop();
        running = undefined;
      }
      await take(step, note);
    } catch (error) {
      throw new Error(`${page}, at:\n${content}`, { cause: error });
    }
  }
  assert.deepEqual(
    pending.map(({ at }) => at),
    [],
    `${page}: no steps for these notes, or not in this order`,
  );

  async function take(step: Step, note: Partial<Note>): Promise<void> {
    await note.before?.();
    if (note.notRun !== undefined) printed = undefined;
    else if (note.does !== undefined) await note.does(textOf(step), running?.service);
    else if (note.ready !== undefined) await serve(step, note.ready, note.until);
    else if (step.input !== "") await type(step, note.code);
    else {
      printed = (await note.prints?.()) ?? printed;
      assert.ok(printed !== undefined, "no command was executed that could have printed this");
      compare(step.output, printed, "within");
    }
    await note.check?.(printed ?? "");
  }

  async function type(step: Step, code = 0): Promise<void> {
    const lines = step.typed.map(({ input }) => `${input}\n\\echo ${TYPED}\n`);
    const result = await shell.run(step.input, lines.join(""));
    printed = result.output;
    assert.equal(result.code, code, printed);
    if (step.output !== "") compare(step.output, printed);
    const outputs = printed.split(`${TYPED}\n`);
    for (const [index, { output }] of step.typed.entries()) {
      if (output !== "") compare(output, outputs[index] ?? "");
      else assert.doesNotMatch(outputs[index] ?? "", /^(psql:.*)?(ERROR|FATAL|error):/m);
    }
  }

  async function serve(step: Step, ready: RegExp, until?: string): Promise<void> {
    const service = await shell.serve(step.input, ready);
    printed = service.printed();
    if (until === undefined) await service.stop();
    else running = { service, until };
    if (step.output !== "") compare(step.output, printed, "within");
  }

  /** What the page shows has to be what is printed, in full or as some lines within it. */
  function compare(shown: string, output: string, how: "in full" | "within" = "in full"): void {
    const want = plain(shown, varies);
    // The log goes to a terminal, and to a page where it is the matter at hand.
    const have = plain(want.includes('{"level"') ? output : output.replaceAll(LOG, ""), varies);
    const pattern = want
      .split(/ ?\[…\]\n?/)
      .map(escaped)
      .join("[^]*");
    const isShown = new RegExp(`^${pattern}$`, how === "in full" ? "" : "m").test(have);
    if (!isShown) assert.equal(have, want);
  }
}

/** For notes: what is printed has to match. */
export function says(pattern: RegExp): (output: string) => void {
  return (output) => {
    assert.match(output, pattern);
  };
}

/** The steps of a page, in their order, with other names. */
function stepsOf(page: string, names: Readonly<Record<string, string>>): Step[] {
  let text = readFileSync(join(ROOT, page), "utf8");
  for (const [name, here] of Object.entries(names)) text = text.replaceAll(name, here);
  assert.doesNotMatch(text.replaceAll(BLOCK, ""), /```/, `${page}: a block that is not found`);
  return Array.from(text.matchAll(BLOCK)).flatMap(([, language = "", block = ""]) =>
    stepsOfBlock(language, block),
  );
}

function stepsOfBlock(language: string, block: string): Step[] {
  if (language === "sh" || (language === "" && PROMPT.test(block))) {
    return stepsOfSession(language, block);
  }
  if (language !== "sql") return [{ language, input: "", output: block, typed: [] }];
  return [{ language, input: PSQL, output: "", typed: [{ input: block, output: "" }] }];
}

function stepsOfSession(language: string, block: string): Step[] {
  const lines: (Typed & { isOfShell: boolean })[] = [];
  for (const line of block.trimEnd().split("\n")) {
    const last = lines.at(-1);
    const [, prompt, rest = line] = PROMPT.exec(line) ?? [];
    if (last?.output === "" && isUnfinished(last)) last.input += `\n${line}`;
    else if (language === "sh") lines.push({ isOfShell: true, input: line, output: "" });
    else if (prompt !== undefined)
      lines.push({ isOfShell: prompt === "$", input: rest, output: "" });
    else if (last !== undefined) last.output += `${line}\n`;
    else throw new Error(`nothing was typed that could have printed: ${line}`);
  }
  const steps: Step[] = [];
  for (const { isOfShell, input, output } of lines) {
    if (isOfShell) steps.push({ language, input, output, typed: [] });
    else {
      if (steps.length === 0) steps.push({ language, input: PSQL, output: "", typed: [] });
      steps.at(-1)?.typed.push({ input, output });
    }
  }
  return steps;
}

function isUnfinished({ isOfShell, input }: { isOfShell: boolean; input: string }): boolean {
  if (!isOfShell) return !input.startsWith("\\") && !input.endsWith(";");
  const isQuoteOpen = ['"', "'"].some((quote) => input.split(quote).length % 2 === 0);
  return isQuoteOpen || /[\\|]$/.test(input);
}

/** What a block has in it that is no session. */
function textOf({ output, typed }: Step): string {
  return typed[0]?.input ?? output;
}

/** What the page says in a step, to be known by. */
function contentOf({ input, output, typed }: Step): string {
  return [{ input, output }, ...typed].flatMap((line) => [line.input, line.output]).join("\n");
}

/** Without what differs from run to run, or is but the layout of it. */
function plain(text: string, varies: readonly RegExp[]): string {
  return [...VARIES, ...varies]
    .reduce((result, pattern) => result.replaceAll(pattern, "*"), text)
    .replaceAll(/ {2,}/g, " ")
    .replaceAll(/─{2,}/g, "─")
    .replaceAll(/-{2,}/g, "--")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^\(\d+ rows?\)$/.test(line))
    .join("\n");
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}
