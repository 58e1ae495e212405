/** The examples of test/examples: what the source writes, and what must come of it. */

import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Dataset, SampleCounts } from "../../src/samples.ts";
import type { ExpectedTicket } from "./model.ts";

const FOLDER = join(import.meta.dirname, "..", "examples");

export interface ExampleExport {
  key: string;
  body: Buffer;
}

export interface ExampleExpectations {
  /** By key. */
  files: Map<string, SampleCounts>;
  /** By number. */
  tickets: Map<string, ExpectedTicket>;
}

/** The change files of a dataset, oldest first. */
export function exampleExports(dataset: Dataset): ExampleExport[] {
  const root = join(FOLDER, "exports");
  return globSync(`automations/${dataset}/changes/*.csv`, { cwd: root })
    .sort()
    .map((key) => ({ key, body: readFileSync(join(root, key)) }));
}

/** What loading the change files of a dataset must give. */
export function exampleExpectations(dataset: Dataset): ExampleExpectations {
  const lines = readFileSync(join(FOLDER, `expected-${dataset}.jsonl`), "utf8")
    .trim()
    .split("\n");
  const expected: ExampleExpectations = { files: new Map(), tickets: new Map() };
  for (const line of lines) {
    const entry = JSON.parse(line) as
      ({ file: string } & SampleCounts) | ({ ticket_id: string } & ExpectedTicket);
    if ("file" in entry) {
      const { file, ...counts } = entry;
      expected.files.set(file, counts);
    } else {
      const { ticket_id, ...ticket } = entry;
      expected.tickets.set(ticket_id, {
        ...ticket,
        closed_at: instant(ticket.closed_at),
        created_at_service: instant(ticket.created_at_service),
        scheduled_at: instant(ticket.scheduled_at),
      });
    }
  }
  return expected;
}

/** A file of test/examples that stands by itself. */
export function exampleFile(name: "blank-lines.csv" | "header-only.csv" | "lone-cr.csv"): Buffer {
  return readFileSync(join(FOLDER, name));
}

/** Why and where each file of test/examples/refused is refused. */
export const refusals: Readonly<Record<string, { code: string; line: number | null }>> = {
  "backslash-dot.csv": { code: "TK110", line: 21 },
  "cut-mid-row.csv": { code: "TK109", line: 21 },
  "duplicate-header.csv": { code: "TK011", line: 1 },
  "empty.csv": { code: "TK101", line: null },
  "gzip-body.csv": { code: "TK102", line: 1 },
  "html-error-page.csv": { code: "TK103", line: 1 },
  "latin1.csv": { code: "TK106", line: 2 },
  "mostly-rejected.csv": { code: "TK021", line: 2 },
  "no-ticket-id.csv": { code: "TK010", line: 1 },
  "nul-byte.csv": { code: "TK105", line: 2 },
  "row-too-long.csv": { code: "TK109", line: 2 },
  "row-too-short.csv": { code: "TK109", line: 2 },
  "semicolons.csv": { code: "TK104", line: 1 },
  "stray-quotes-fuse-rows.csv": { code: "TK107", line: 2 },
  "unterminated-quote.csv": { code: "TK107", line: 2 },
  "xml-error.csv": { code: "TK103", line: 1 },
};

/** The files of test/examples/refused. */
export function refusedExamples(): { name: string; body: Buffer }[] {
  return globSync(join(FOLDER, "refused", "*.csv"))
    .sort()
    .map((path) => ({ name: basename(path), body: readFileSync(path) }));
}

function instant(text: string | null): string | null {
  return text === null ? null : new Date(text).toISOString();
}
