import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A temporary folder, with at most one server living in it. */
export interface GuardedFolder {
  path: string;
  /** Names the server's process; undefined says that it has ended. */
  holds(pid: number | undefined): void;
  /** Stops the server, removes the folder and waits for both. */
  remove(): Promise<void>;
}

// Waits for the end of its input, which comes when we close it or when we are no more. Each line
// until then is the process to stop, an empty one says that there is none. What has not ended
// within ten seconds of its signal is killed, and no longer waited for: where nobody reaps
// orphans, a dead process answers `kill -0` for ever.
const GUARD = `
  pid=
  while read -r line; do pid=$line; done
  if [ -n "$pid" ] && kill -s "$2" "$pid" 2>/dev/null; then
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
      tries=$((tries + 1))
      if [ "$tries" -gt 100 ]; then kill -s KILL "$pid"; break; fi
      sleep 0.1
    done
  fi
  rm -rf "$1"
`;

/**
 * Makes a temporary folder that goes, and its server with it, when this process does. A guard
 * process sees to it, because a process ended by a signal cannot clean up after itself. The
 * guard has a session of its own, so that Ctrl-C does not end it along with us.
 *
 * @param signal what ends the folder's server without delay
 */
export async function guardedFolder(
  name: string,
  { parent = tmpdir(), signal = "KILL" }: { parent?: string; signal?: "QUIT" | "KILL" } = {},
): Promise<GuardedFolder> {
  const path = await mkdtemp(join(parent, `fleettickets-${name}-`));
  const guard = spawn("/bin/sh", ["-c", GUARD, "guard", path, signal], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  // A folder that nobody removed must not keep the process from ending.
  guard.unref();
  const ended = once(guard, "exit");
  return {
    path,
    holds(pid) {
      guard.stdin.write(`${pid ?? ""}\n`);
    },
    async remove() {
      guard.ref();
      guard.stdin.end();
      await ended;
    },
  };
}
