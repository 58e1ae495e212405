import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ProgressState, progressLine } from "../src/progress.ts";

const halfWay: ProgressState = {
  files: 13,
  filesDone: 2,
  bytes: 80_000_000,
  bytesDone: 20_000_000,
  rows: 31_200,
  key: "automations/inc/changes/2026-06-15T06-20-00.csv",
  isApplying: false,
  elapsedMs: 10_000,
};

describe("the progress bar", () => {
  test("tells bytes, rows, files, the time left and the file in hand", () => {
    assert.equal(
      progressLine(halfWay, 200),
      "██████░░░░░░░░░░░░░░░░░░ 25 % · 20.0 of 80.0 MB · 31,200 rows · file 3 of 13 · " +
        "30 s left · 2026-06-15T06-20-00.csv",
    );
  });

  test("says when the database has the file", () => {
    assert.match(progressLine({ ...halfWay, isApplying: true }, 200), /applying 31,200 rows/);
  });

  test("foretells nothing in its first seconds, nor at its end", () => {
    assert.doesNotMatch(progressLine({ ...halfWay, elapsedMs: 1_000 }, 200), /left/);
    assert.doesNotMatch(progressLine({ ...halfWay, bytesDone: halfWay.bytes }, 200), /left/);
  });

  test("never fills a line of the terminal, however narrow", () => {
    for (let width = 1; width < 150; width++) {
      assert.ok(progressLine(halfWay, width).length < width, `${width} columns`);
    }
  });

  test("knows what to say of nothing at all", () => {
    assert.match(progressLine({ ...halfWay, bytes: 0, bytesDone: 0 }, 200), /100 %/);
  });
});
