/**
 * Whatever can run something at its end: a test's context, or `{ after }` from node:test for
 * what a whole file shares.
 */
export interface Scope {
  after(cleanUp: () => Promise<void>): void;
}

/** Undoes in the end, last things first, whatever `work` has set up. */
export async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const cleanUps: (() => Promise<void>)[] = [];
  try {
    return await work({ after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}
