// Loaded before the program whose memory is measured. At its end it writes how much was resident at
// the peak, in bytes, into the file that PEAK_MEMORY_FILE names.

import { existsSync, readFileSync, writeFileSync } from "node:fs";

const file = process.env["PEAK_MEMORY_FILE"];
if (file === undefined) throw new Error("PEAK_MEMORY_FILE names no file");

process.once("exit", () => {
  writeFileSync(file, String(peakBytes()));
});

function peakBytes(): number {
  // On Linux, maxRSS begins with what the process had that started this one.
  if (!existsSync("/proc/self/status")) return process.resourceUsage().maxRSS * 1024;
  const status = readFileSync("/proc/self/status", "utf8");
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kibibytes === undefined) throw new Error("/proc/self/status has no VmHWM");
  return Number(kibibytes) * 1024;
}
