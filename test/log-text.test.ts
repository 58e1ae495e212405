import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { pino } from "pino";
import { textOfLogLine } from "../src/log-text.ts";

/** What a terminal shows of what `write` logs. */
function shown(write: (log: pino.Logger) => void): string {
  const lines: string[] = [];
  const sink = { write: (line: string) => lines.push(textOfLogLine(line)) };
  const timestamp = pino.stdTimeFunctions.isoTime;
  write(pino({ level: "trace", base: null, timestamp }, sink));
  return lines.join("");
}

describe("on a terminal, a line of the log", () => {
  test("is the time, the level and the message, with each fact on a line below", () => {
    const text = shown((log) => {
      log.warn({ key: "a/b.csv", rows: 3, ids: ["T1"] }, "two ids\nin one row");
    });
    assert.match(
      stripVTControlCharacters(text),
      /^\[\d\d:\d\d:\d\d\] WARN: two ids\n {4}in one row\n {4}key: a\/b\.csv\n {4}rows: 3\n {4}ids: \["T1"\]\n$/,
    );
  });

  test("has a name for every level", () => {
    const names = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
    const text = stripVTControlCharacters(
      shown((log) => {
        for (const name of names) log[name]("x");
      }),
    );
    assert.deepEqual(
      text.match(/[A-Z]+(?=: x)/g),
      names.map((name) => name.toUpperCase()),
    );
  });

  test("shows the stack of an error, the cause and the code with it", () => {
    const cause = new TypeError("the reason");
    const error = Object.assign(new Error("broken", { cause }), { code: "E1" });
    const text = shown((log) => {
      log.fatal({ err: error }, "unexpected error");
    });
    assert.match(text, /^ {4}err: Error: broken\n {8}at .*log-text\.test/m);
    assert.match(text, /caused by: TypeError: the reason/);
    assert.match(text, /^ {4}code: E1$/m);
  });

  test("cannot steer the terminal, whatever a key or a value has in it", () => {
    const sign = "\u001b]0;owned\u0007\r\u009b2J\u007f";
    const text = shown((log) => {
      log.error({ key: sign, deep: { key: sign } }, sign);
    });
    assert.doesNotMatch(stripColors(text), /[^\P{Cc}\n]/u);
    assert.match(text, /\\x1b\]0;owned\\x07\\x0d\\x9b2J\\x7f/);
  });
});

/** Without the colour of the level, which is our own. */
function stripColors(text: string): string {
  return text.replaceAll(/\u001b\[\d+m/g, "");
}
