/**
 * Whatever can run something at its end: a test's context, or `{ after }` from node:test for
 * what a whole file shares.
 */
export interface Scope {
  after(cleanUp: () => Promise<void>): void;
}
