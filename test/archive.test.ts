import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ExitCode, exitCodes } from "../src/errors.ts";
import { runCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { type FaultyS3, type Operation, type Rule, startFaultyS3 } from "./harness/faulty-s3.ts";
import {
  type Loader,
  archiveKey,
  changeKey,
  createServerDatabase,
  ledgerOf,
  loader,
  onlyDataset,
  rawOf,
  ticketsOf,
} from "./harness/loader.ts";
import type { Scope } from "./harness/scope.ts";

const ingest = ["ingest", "inc", "--apply"];
const key = changeKey(1);
const body = csvOf([{ ticket_id: "T1", owner: "a" }]);

describe("an archive that fails loses nothing, loads nothing twice, and is resumed:", () => {
  const faults: readonly [what: string, rule: Rule, leaves: readonly string[]][] = [
    ["the store fails to copy", { operation: "copy", does: 500 }, [key]],
    ["the store forbids copying", { operation: "copy", does: 403 }, [key]],
    ["the connection breaks over the copy", { operation: "copy", does: "reset" }, [key]],
    ["the copy fails in its answer's body", { operation: "copy", does: "error in 200" }, [key]],
    ["the copy has other content", { operation: "copy", does: { stores: "nonsense" } }, [key]],
    ["the copy is cut short", { operation: "copy", does: { stores: body.slice(0, 99) } }, [key]],
    ["the store cannot show the copy", { operation: "head", key: /processed/, does: 500 }, [key]],
    ["the store forbids deleting", { operation: "delete", does: 403 }, [key, archiveKey(key)]],
    ["the store fails to delete", { operation: "delete", does: 503 }, [key, archiveKey(key)]],
    [
      "the store only says it deletes",
      { operation: "delete", does: "pretend" },
      [key, archiveKey(key)],
    ],
  ];
  for (const [what, rule, leaves] of faults) {
    test(what, async (t) => {
      const { db, s3, report } = await startArchive(t);
      await s3.put(key, body);
      await s3.put(changeKey(2), csvOf([{ ticket_id: "T2" }]));
      s3.fail(rule);
      const failed = onlyDataset(await report(ingest, exitCodes.objectStore));
      assert.deepEqual(
        failed.files.map((file) => file.status),
        ["applied", "applied"],
      );
      const left = await s3.keys();
      assert.deepEqual(
        left.filter((each) => each === key || each === archiveKey(key)),
        leaves,
      );
      const [file] = await db.look(ledgerOf);
      assert.deepEqual([file?.status, file?.is_archived], ["applied", false]);

      s3.heal();
      const resumed = onlyDataset(await report(ingest));
      assert.deepEqual([resumed.files, resumed.archived], [[], 2]);
      assert.deepEqual(await s3.keys(), [key, changeKey(2)].map(archiveKey));
      assert.equal((await s3.get(archiveKey(key))).toString(), body);
      assert.ok((await db.look(ledgerOf)).every(({ is_archived }) => is_archived));
      assert.equal(asked(s3, "get", key), 1);
    });
  }
});

test("a copy that is there is not made again", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(key, body);
  s3.fail({ operation: "delete", does: 403 });
  await report(ingest, exitCodes.objectStore);
  s3.heal();
  await report(ingest);
  assert.equal(asked(s3, "copy", archiveKey(key)), 1);
  assert.deepEqual(await s3.keys(), [archiveKey(key)]);
});

test("an object that is in the archive already is deleted from its place", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(key, body);
  await s3.put(archiveKey(key), body);
  const { archived } = onlyDataset(await report(ingest));
  assert.equal(archived, 1);
  assert.deepEqual(await s3.keys(), [archiveKey(key)]);
  assert.equal(asked(s3, "copy", archiveKey(key)), 0);
});

test("what is in the archive under the same name is never overwritten", async (t) => {
  const { s3, report } = await startArchive(t);
  const contents = ["a", "b", "c"].map((owner) => csvOf([{ ticket_id: "T1", owner }]));
  for (const content of contents) {
    await s3.put(key, content);
    await report(ingest);
  }
  const archived = await s3.keys();
  assert.deepEqual(
    archived.filter((each) => !each.startsWith(archiveKey(key).replace(".csv", ""))),
    [],
  );
  const kept = [];
  for (const each of archived) kept.push((await s3.get(each)).toString());
  assert.deepEqual(kept.sort(), contents.sort());
});

test("nor is what has the name with a suffix", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(archiveKey(key), "one");
  const mark = (await s3.put(key, body)).replaceAll('"', "").slice(0, 8);
  const taken = archiveKey(key).replace(".csv", `.${mark}.csv`);
  await s3.put(taken, "another");
  await report(ingest);
  const keys = await s3.keys();
  assert.equal(keys.length, 3);
  assert.equal((await s3.get(archiveKey(key))).toString(), "one");
  assert.equal((await s3.get(taken)).toString(), "another");
  const [third = ""] = keys.filter((each) => each !== archiveKey(key) && each !== taken);
  assert.equal((await s3.get(third)).toString(), body);
});

describe("an object that takes the place of one that was loaded is not lost", () => {
  const newer = csvOf([{ ticket_id: "T1", owner: "b" }]);
  const moments: readonly [when: string, rules: readonly Rule[]][] = [
    ["before the archive looks at it", [{ operation: "head", key: /changes/, times: 1 }]],
    ["before it is copied", [{ operation: "copy", times: 1 }]],
    [
      "before its copy is verified",
      [
        { operation: "head", key: /processed/, times: 1 },
        { operation: "head", key: /processed/, times: 1 },
      ],
    ],
  ];
  for (const [when, rules] of moments) {
    test(when, async (t) => {
      const { db, s3, env, run } = await startArchive(t);
      await s3.put(key, body);
      for (const [index, rule] of rules.entries()) {
        const isLast = index === rules.length - 1;
        s3.fail(isLast ? { ...rule, before: () => s3.put(key, newer) } : rule);
      }
      // Whether the store's trouble shows in the exit code depends on the moment.
      await runCliOnce(env);
      await run(ingest);
      assert.equal((await db.look(rawOf))["owner"], "b");
      const kept = [];
      for (const each of await s3.keys()) kept.push((await s3.get(each)).toString());
      assert.ok(kept.includes(newer), "the new object is nowhere");
      assert.deepEqual(await s3.keys("automations/inc/changes/"), []);
    });
  }
});

test("an object that somebody took away after it was loaded is no trouble", async (t) => {
  const { db, s3, report } = await startArchive(t);
  await s3.put(key, body);
  s3.fail({ operation: "head", key: /changes/, times: 1, before: () => s3.remove(key) });
  const { archived } = onlyDataset(await report(ingest));
  assert.equal(archived, 0);
  const next = onlyDataset(await report(ingest));
  assert.deepEqual([next.files, next.archived], [[], 0]);
  assert.deepEqual([...(await db.look((query) => ticketsOf(query, "inc"))).keys()], ["T1"]);
});

test("an object uploaded in parts is verified by its content, since copying changes its ETag", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(key, body, { parts: 3 });
  const { archived } = onlyDataset(await report(ingest));
  assert.equal(archived, 1);
  assert.deepEqual(await s3.keys(), [archiveKey(key)]);
  assert.equal((await s3.get(archiveKey(key))).toString(), body);
});

test("an object uploaded in parts stays where its copy has other content of the same size", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(key, body, { parts: 3 });
  s3.fail({ operation: "copy", does: { stores: body.replace("T1", "T9") } });
  await report(ingest, exitCodes.objectStore);
  assert.deepEqual(await s3.keys(), [key]);
});

describe("a store whose ETags are not the MD5 of the content, as with SSE-KMS,", () => {
  test("has each object archived once, verified by its content", async (t) => {
    const { db, s3, report } = await startArchive(t, { hasOpaqueEtags: true });
    await s3.put(key, body);
    const { archived } = onlyDataset(await report(ingest));
    assert.equal(archived, 1);
    assert.deepEqual(await s3.keys(), [archiveKey(key)]);
    assert.equal((await s3.get(archiveKey(key))).toString(), body);
    assert.ok((await db.look(ledgerOf)).every(({ is_archived }) => is_archived));
  });

  test("has the move resumed with the copy that is there", async (t) => {
    const { s3, report } = await startArchive(t, { hasOpaqueEtags: true });
    await s3.put(key, body);
    s3.fail({ operation: "delete", does: 403 });
    await report(ingest, exitCodes.objectStore);
    s3.heal();
    await report(ingest);
    assert.deepEqual(await s3.keys(), [archiveKey(key)]);
    assert.equal(asked(s3, "copy", archiveKey(key)), 1);
  });

  test("keeps an object whose copy has other content of the same size", async (t) => {
    const { s3, report } = await startArchive(t, { hasOpaqueEtags: true });
    await s3.put(key, body);
    s3.fail({ operation: "copy", does: { stores: body.replace("T1", "T9") } });
    await report(ingest, exitCodes.objectStore);
    assert.deepEqual(await s3.keys(), [key]);
    assert.equal(asked(s3, "copy", archiveKey(key)), 1);
  });

  test("keeps another object of the same size that has the name in the archive", async (t) => {
    const { s3, report } = await startArchive(t, { hasOpaqueEtags: true });
    const other = body.replace("T1", "T9");
    await s3.put(archiveKey(key), other);
    await s3.put(key, body);
    await report(ingest);
    const kept = [];
    for (const each of await s3.keys()) kept.push((await s3.get(each)).toString());
    assert.deepEqual(kept.sort(), [body, other].sort());
  });
});

test("a file that is refused is not archived", async (t) => {
  const { s3, report } = await startArchive(t);
  await s3.put(key, "ticket_id,owner\nT1\n");
  await report(ingest, exitCodes.fileRefused);
  assert.deepEqual(
    s3.requests.filter(({ operation }) => operation === "copy" || operation === "delete"),
    [],
  );
});

test("nothing is archived before its load is committed", async (t) => {
  const { db, s3, report } = await startArchive(t);
  await s3.put(key, body);
  const committed: unknown[] = [];
  s3.fail({
    operation: "copy",
    async before() {
      committed.push(...(await db.look(ledgerOf)).map(({ status }) => status));
    },
  });
  await report(ingest);
  assert.deepEqual(committed, ["applied"]);
});

test("a key with blanks, umlauts and signs in its prefix is archived, too", async (t) => {
  const { db, s3, report } = await startArchive(t);
  const prefix = "Übung + 1%/in c&d=e/";
  await db.look((query) =>
    query("update tickets.datasets set key_prefix = $1 where dataset = 'inc'", [prefix]),
  );
  const name = key.slice(key.lastIndexOf("/") + 1);
  await s3.put(`${prefix}changes/${name}`, body);
  await report(ingest);
  assert.deepEqual(await s3.keys(), [`${prefix}processed/${name}`]);
});

async function startArchive(
  scope: Scope,
  options: { hasOpaqueEtags?: boolean } = {},
): Promise<Loader & { s3: FaultyS3 }> {
  const s3 = await startFaultyS3(scope, options);
  return { ...loader(await createServerDatabase(scope), s3), s3 };
}

function asked({ requests }: FaultyS3, operation: Operation, of: string): number {
  return requests.filter((each) => each.operation === operation && each.key === of).length;
}

async function runCliOnce(env: Record<string, string>): Promise<void> {
  const { code } = await runCli(ingest, { env });
  const expected: (ExitCode | null)[] = [exitCodes.done, exitCodes.objectStore];
  assert.ok(expected.includes(code as ExitCode), `exit code ${code}`);
}
