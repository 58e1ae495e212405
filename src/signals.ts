import type { Logger } from "./log.ts";

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Watches for the signals that ask a program to end. The first one is a request, to end when the
 * file in hand is done; a second one ends the process at once, and the database rolls back.
 *
 * @param inHand what is brought to its end before
 * @returns `asked` is aborted by the request, so that nobody waits for the sake of waiting
 */
export function stopOnSignal(
  log: Logger,
  inHand = "file",
): { isAsked: () => boolean; asked: AbortSignal; forget: () => void } {
  const request = new AbortController();
  function ask(signal: NodeJS.Signals): void {
    log.warn({ signal }, `ending after the ${inHand} in hand; once more ends at once`);
    request.abort();
    forget();
  }
  function forget(): void {
    for (const signal of signals) process.off(signal, ask);
  }
  for (const signal of signals) process.on(signal, ask);
  return { isAsked: () => request.signal.aborted, asked: request.signal, forget };
}
