// kill -9 of a run on the embedded database, which takes its database with it. The folder opens
// again, holds whole files only, and a plain run completes.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startEmbedded } from "../../src/embedded.ts";
import { type CliResult, describeRun } from "../harness/cli.ts";
import { createEmbeddedDatabase } from "../harness/embedded.ts";
import type { Scope } from "../harness/scope.ts";
import { startCli } from "./cli.ts";
import { seededRandom } from "./random.ts";
import {
  type Place,
  assertNothingHalf,
  assertPlainRunCompletes,
  fillBucket,
  ingestAll,
  makeExports,
  makeReference,
  readDatasets,
  setStage,
} from "./stage.ts";
import { holdRequest } from "./steps.ts";
import { type Queryable, stoppedAt } from "./tables.ts";

const seed = Number(process.env["CRASH_SEED"] ?? randomInt(2 ** 31));
const KILLS_AT_ANY_MOMENT = 3;
// About as long as a run takes for all files.
const MOMENTS_MS = 1000;

describe(`kill -9 of a run on the embedded database (CRASH_SEED=${seed})`, () => {
  const random = seededRandom(seed);
  const exports = makeExports(seed, { files: { inc: 2, crq: 1 }, refused: true });

  test("leaves whole files, and the next run completes", async (t) => {
    // What a server makes of the exports, so does the embedded database.
    const reference = await makeReference(await setStage(t, exports), exports);
    let place = await setPlace(t);

    /** @returns whether it came in time; the run may have ended by then */
    async function kill(moment: string, reached: Promise<() => void>, delayMs = 0) {
      const when = `CRASH_SEED=${seed}, killed ${moment}`;
      const run = startCli(ingestAll, place.directEnv);
      const letGo = await Promise.race([reached, run.ended.then(tooEarly(when))]);
      if (delayMs > 0) letGo();
      await sleep(delayMs);
      run.child.kill("SIGKILL");
      letGo();
      const { signal } = await run.ended;
      place.s3.heal();
      const left = await assertNothingHalf(place, reference, when);
      return { isKilled: signal === "SIGKILL", isDone: left.length === 0 };
    }

    await kill("before the archive copy", holdRequest(place.s3, "copy"));
    await kill("after delete", holdRequest(place.s3, "head", { following: "delete" }));
    for (let kills = 0; kills < KILLS_AT_ANY_MOMENT;) {
      const delayMs = 1 + Math.floor(random() * MOMENTS_MS);
      const reading = holdRequest(place.s3, "get");
      const { isKilled, isDone } = await kill(`${delayMs} ms after reading`, reading, delayMs);
      if (isKilled) kills++;
      if (!isDone) continue;
      await assertPlainRunCompletes(place, reference, `CRASH_SEED=${seed}, all files loaded`);
      place = await setPlace(t);
    }
    await assertPlainRunCompletes(place, reference, `CRASH_SEED=${seed}, after all kills`);
  });

  async function setPlace(scope: Scope): Promise<Place> {
    const { folder, url } = await createEmbeddedDatabase(scope);
    const s3 = await fillBucket(scope, exports);
    await appendFile(join(folder, "postgresql.conf"), `\ntickets.now = '${stoppedAt}'\n`);
    return {
      s3,
      directEnv: { ...s3.env, DATABASE_URL: url },
      readTables: () => withFolder(folder, readDatasets),
    };
  }
});

function tooEarly(when: string): (result: CliResult) => never {
  return (result) => assert.fail(`${when}: it never came. ${describeRun(ingestAll, result)}`);
}

async function withFolder<T>(folder: string, work: (database: Queryable) => Promise<T>) {
  const { db, release } = await startEmbedded(folder);
  try {
    return await work(db);
  } finally {
    await release();
  }
}
