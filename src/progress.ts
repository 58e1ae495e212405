const WIDTH = 24;
const EVERY_MS = 100;

let shown = false;
let lastDrawn = 0;

/** Takes the bar off the terminal, so that something else can be printed. */
export function clearProgress(): void {
  if (!shown) return;
  process.stderr.write("\r\u001b[K");
  shown = false;
}

/**
 * Draws how far a long step is, where stderr is a terminal; nowhere else.
 *
 * @param label what is under way
 * @param done share between 0 and 1
 */
export function drawProgress(label: string, done: number): void {
  if (!process.stderr.isTTY || Date.now() - lastDrawn < EVERY_MS) return;
  lastDrawn = Date.now();
  const filled = Math.round(Math.min(1, done) * WIDTH);
  const bar = "█".repeat(filled) + "░".repeat(WIDTH - filled);
  process.stderr.write(`\r\u001b[K${bar} ${Math.floor(done * 100)} % ${label}`);
  shown = true;
}
