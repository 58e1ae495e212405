import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

interface Process {
  pid: number;
  parent: number;
  ended: boolean;
}

/**
 * Kills a process and its children with SIGKILL, as a power cut would: none of them gets to do
 * anything more. Returns when all have ended.
 */
export async function killTree(pid: number): Promise<void> {
  // Stopped, it cannot start another child between our look at the list and the kill.
  process.kill(pid, "SIGSTOP");
  const victims = [pid];
  for (const each of processes()) if (each.parent === pid) victims.push(each.pid);
  for (const victim of victims) killIfThere(victim);
  while (processes().some((each) => victims.includes(each.pid) && !each.ended)) await sleep(10);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** All processes; slim Linux images have no `ps`, other systems no /proc. */
function processes(): Process[] {
  return existsSync("/proc/self/stat") ? processesFromProc() : processesFromPs();
}

function processesFromProc(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        // `pid (command) state parent …`, where the command can hold spaces and parentheses
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return [{ pid: Number(name), parent: Number(parent), ended: state === "Z" }];
      } catch {
        return []; // ended since we read the folder
      }
    });
}

function processesFromPs(): Process[] {
  const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid=,stat="], { encoding: "utf8" });
  return stdout
    .trim()
    .split("\n")
    .map((line) => {
      const [pid, parent, state = ""] = line.trim().split(/\s+/);
      return { pid: Number(pid), parent: Number(parent), ended: state.startsWith("Z") };
    });
}
