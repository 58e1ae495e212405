import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collect: (() => void) | undefined;

/** Collects all garbage at once, which takes some 10 ms. */
export function collectGarbage(): void {
  if (collect === undefined) {
    // A context made after the flag is set has the function, in whatever way Node was started.
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
}
