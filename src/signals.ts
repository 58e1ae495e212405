import type { Logger } from "./log.ts";

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Watches for the signals that ask a program to end. The first one is a request, to end when the
 * file in hand is done; a second one ends the process at once, and the database rolls back.
 */
export function stopOnSignal(log: Logger): { isAsked: () => boolean; forget: () => void } {
  let isAsked = false;
  function ask(signal: NodeJS.Signals): void {
    isAsked = true;
    log.warn({ signal }, "ending after the file in hand; once more ends at once");
    forget();
  }
  function forget(): void {
    for (const signal of signals) process.off(signal, ask);
  }
  for (const signal of signals) process.on(signal, ask);
  return { isAsked: () => isAsked, forget };
}
