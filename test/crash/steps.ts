import { setTimeout as sleep } from "node:timers/promises";
import type { Failure, FaultyS3, Operation, Rule } from "../harness/faulty-s3.ts";
import type { Stage } from "./stage.ts";
import { withClient } from "./tables.ts";
import type { Message } from "./tap.ts";

/** A place in a run at which it can be made to stand still, seen from outside. */
export interface Step {
  name: string;
  /** Where in a row of kills it belongs: some files, or all of them, are done when it comes. */
  when: "early" | "any" | "late";
  /** Whether a row of kills can meet it but once, because a kill there leaves it done. */
  isOnce?: boolean;
  /** Resolves when the run stands there, with what to do once the kill is done. */
  reach: (stage: Stage) => Promise<() => void>;
  /** How a run may end whose database was killed here. */
  exitCodes: number[];
}

export type Matcher = (message: Message) => boolean;

/** Every step of a run, in its order. */
export const steps: readonly Step[] = [
  inDatabase("connecting", ({ type }) => type === "startup"),
  inDatabase("before the lock is taken", sends("tickets.start_run(")),
  inStore("before the bucket is listed", "list", { does: "reset" }),
  inDatabase("before the ledger is asked", sends("tickets.sort_files(")),
  inStore("before an object is read", "get", { does: "reset" }),
  inDatabase("before a file's transaction", sends("begin")),
  inDatabase("before a file is opened", sends("tickets.open_file(")),
  inDatabase("before COPY", sends("copy ")),
  early(inDatabase("mid-COPY", ({ from, copied }) => from === "client" && copied === 2)),
  inDatabase("at the end of COPY", ({ from, type }) => from === "client" && type === "c"),
  inDatabase("COPY done, unanswered", gets("copy ")),
  inDatabase("after COPY, before apply", sends("tickets.apply_file(")),
  inApply("mid-apply, before the tickets", "tickets.closure_events"),
  inApply("mid-apply, before the day's snapshot", "tickets.daily_snapshot"),
  inApply("mid-apply, before the watermark", "tickets.import_meta"),
  inDatabase("applied, unanswered", gets("tickets.apply_file(")),
  inDatabase(
    "after apply, before commit",
    nextAfter(sends("tickets.apply_file("), sends("commit")),
  ),
  inDatabase("committed, unanswered", nextAfter(sends("tickets.apply_file("), gets("commit"))),
  early(inDatabase("before a refusal is written", sends("tickets.refuse_file("))),
  {
    ...early(
      inDatabase("refused, unanswered", nextAfter(sends("tickets.refuse_file("), gets("commit"))),
    ),
    isOnce: true,
  },
  inStore("after commit, before the archive copy", "copy", { does: "reset" }),
  inStore("copied, unverified", "head", { key: /processed/, following: "copy" }),
  inStore("after the archive copy, before delete", "delete", { does: "reset" }),
  inStore("deleted, unverified", "head", { key: /changes/, following: "delete" }),
  inDatabase("after delete, before it is noted", sends("tickets.mark_archived(")),
  inDatabase("archive noted, unanswered", gets("tickets.mark_archived(")),
  inDatabase("between two files", nextAfter(gets("tickets.mark_archived("), sends("begin"))),
  late(inStore("before the bucket is listed again", "list", { following: "delete" })),
  late(inDatabase("before the history alone", sends("tickets.capture_history("))),
  late(inDatabase("before the lock is given back", sends("tickets.finish_run("))),
  late({ ...inDatabase("leaving", ({ type }) => type === "X"), exitCodes: [0, 6] }),
];

function inDatabase(name: string, isIt: Matcher): Step {
  return {
    name,
    when: "any",
    exitCodes: [3],
    async reach({ tap }) {
      const held = await tap.holdAt(isIt);
      return () => {
        held.cut();
      };
    },
  };
}

/** The request waits before it is served; then the server serves it, or does something else. */
function inStore(
  name: string,
  operation: Operation,
  how: { key?: RegExp; does?: Failure; following?: Operation } = {},
): Step {
  return {
    name,
    when: "any",
    exitCodes: [3],
    reach: ({ s3 }) => holdRequest(s3, operation, how),
  };
}

/**
 * Resolves when such a request has come, with what lets it go on.
 *
 * @param following only the first one after a request of this kind
 */
export function holdRequest(
  s3: FaultyS3,
  operation: Operation,
  { key = /^/, does, following }: { key?: RegExp; does?: Failure; following?: Operation } = {},
): Promise<() => void> {
  const come = Promise.withResolvers<() => void>();
  const letGo = Promise.withResolvers<undefined>();
  function before(): Promise<undefined> {
    come.resolve(() => {
      letGo.resolve(undefined);
    });
    return letGo.promise;
  }
  function wait(): void {
    s3.fail({ operation, key, times: 1, before, ...(does && { does }) } as Rule);
  }
  if (following === undefined) wait();
  else s3.fail({ operation: following, times: 1, before: wait });
  return come.promise;
}

/** The file's statement waits for a table that another session has locked. */
function inApply(name: string, table: string): Step {
  return {
    name,
    when: "any",
    exitCodes: [3],
    async reach({ database, tap }) {
      const locker = await database.connect();
      await locker.query(`begin; lock table ${table} in share mode`);
      const held = await tap.holdAt(sends("tickets.apply_file("));
      held.release();
      await withClient(database.url, async (client) => {
        const isWaiting =
          "select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
        while ((await client.query(isWaiting, [tap.backendPid()])).rowCount === 0) await sleep(10);
      });
      return () => {
        locker.end().catch(() => undefined); // it may be gone with the server
      };
    },
  };
}

function early(step: Step): Step {
  return { ...step, when: "early" };
}

function late(step: Step): Step {
  return { ...step, when: "late" };
}

export function sends(statement: string): Matcher {
  return ({ from, text }) => from === "client" && text.includes(statement);
}

export function gets(statement: string): Matcher {
  return (message) =>
    message.from === "server" && message.type === "C" && message.statement.includes(statement);
}

/** The first message of a kind that comes after one of another kind, within a connection. */
export function nextAfter(first: Matcher, isIt: Matcher): Matcher {
  let hasCome = false;
  return (message) => {
    if (message.type === "startup") hasCome = false;
    if (hasCome) return isIt(message);
    hasCome = first(message);
    return false;
  };
}
