// Exports as the source writes them, with up to three things gone wrong. The gate must agree about
// each of them with a strict reader, however the file is cut into chunks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusedFile } from "../src/errors.ts";
import { openGate } from "../src/gate.ts";
import { sampleExports } from "../src/samples.ts";
import { type Random, oneOf, seededRandom } from "./crash/random.ts";
import { type StrictFile, fieldsOf, readStrictly } from "./harness/strict-csv.ts";

const FILES = 20_000;
const SEED = 20260615;

const smallFile =
  'ticket_id,owner,location_name\nT1,a,"Gate B\nsecond line"\nT2,"b ""c""",d\nT3,,\n';
const tokens = [
  ...['"', '""', ",", "\n", "\r", "\r\n", "\0", "\ufeff", " ", "é", "\\.", ";", "<", "a\rb"],
  ...['"\n', ',"', '",', '","', '"\n"', "\n\\.\n", "\n\n", "\nEXPORT STOPPED at 500 rows\n"],
  ...["\nexport stopped,,\n", '\n"EXPORT STOPPED, now"\r\n', "\nT9,b\n", "\nT9,b,c\n", "\n \t\n"],
].map((text) => Buffer.from(text));
const badTokens = ["ff", "c3", "e282", "c0af", "eda080"].map((hex) => Buffer.from(hex, "hex"));

test(`of ${FILES} damaged exports, the gate refuses and passes on what a strict reader does`, async () => {
  const random = seededRandom(SEED);
  const originals = originalFiles();
  let passed = 0;
  for (let n = 0; n < FILES; n++) {
    let body = oneOf(originals, random);
    for (let damages = Math.floor(random() * 4); damages > 0; damages--) {
      body = damaged(body, random);
    }
    const expected = readStrictly(body);
    if (expected !== undefined) passed++;
    const cuts = [[body], cutAtRandom(body, random)];
    // Byte by byte takes long.
    if (n % 200 === 0) cuts.push(Array.from(body, (byte) => Buffer.from([byte])));
    for (const chunks of cuts) {
      const found = await gateOf(chunks);
      assert.deepEqual(found, expected, `file ${n} in ${chunks.length} chunks: ${body.toString()}`);
    }
  }
  assert.ok(passed > FILES / 5 && passed < (FILES * 4) / 5, `${passed} files passed`);
});

/** Sample exports and a small file, each in the forms that exporters give them. */
function originalFiles(): [Buffer, ...Buffer[]] {
  const samples = (["inc", "crq"] as const).flatMap((dataset) =>
    sampleExports({ dataset, seed: 1, files: 2, ticketsPerFile: 2 }).map(({ body }) =>
      body.toString(),
    ),
  );
  const texts = [smallFile, ...samples].flatMap((text) => [
    text,
    text.replaceAll("\n", "\r\n"),
    `\ufeff${text.trimEnd()}`,
    text.replaceAll(/^[^",\n]*(?=,)/gm, '"$&"'),
  ]);
  return [Buffer.from(smallFile), ...texts.map((text) => Buffer.from(text))];
}

function damaged(body: Buffer, random: Random): Buffer {
  const at = Math.floor(random() * (body.length + 1));
  const end = Math.min(body.length, at + 1 + Math.floor(random() * random() * 300));
  const [before, part, behind] = [body.subarray(0, at), body.subarray(at, end), body.subarray(end)];
  const token =
    random() < 0.05 ? oneOf(nonEmpty(badTokens), random) : oneOf(nonEmpty(tokens), random);
  const damages: readonly [() => Buffer[], ...(() => Buffer[])[]] = [
    () => [before, token, part, behind],
    () => [before, token, behind],
    () => [before, behind],
    () => [before, part, part, behind],
    () => [before],
    () => [beforeComma(body, at), Buffer.from('"'), body.subarray(beforeComma(body, at).length)],
    () => [Buffer.from(body.toString("latin1").replaceAll("\n", "\r"), "latin1")],
    () => quotedBetweenCommas(body, at, random),
    () => [behind, part, before],
  ];
  return Buffer.concat(oneOf(damages, random)());
}

/** Quotes at the right places: behind a comma, and before one that may be rows away. */
function quotedBetweenCommas(body: Buffer, at: number, random: Random): Buffer[] {
  const start = body.indexOf(",", at) + 1;
  const end = body.indexOf(",", start + Math.floor(random() * 1000));
  if (start === 0 || end === -1) return [body];
  const quote = Buffer.from('"');
  return [body.subarray(0, start), quote, body.subarray(start, end), quote, body.subarray(end)];
}

/** What stands before the next comma, or before the field behind it. */
function beforeComma(body: Buffer, at: number): Buffer {
  const comma = body.indexOf(",", at);
  return body.subarray(0, comma === -1 ? body.length : comma + (at % 2));
}

function cutAtRandom(body: Buffer, random: Random): Buffer[] {
  const cuts = Array.from({ length: 1 + Math.floor(random() * 6) }, () =>
    Math.floor(random() * (body.length + 1)),
  );
  const ends = [...cuts, body.length].sort((a, b) => a - b);
  return ends.map((end, index) => body.subarray(ends[index - 1] ?? 0, end));
}

async function gateOf(chunks: readonly Buffer[]): Promise<StrictFile | undefined> {
  try {
    const { header, records, counts } = await openGate(streamOf(chunks));
    const passed: Buffer[] = [];
    for await (const record of records) passed.push(record);
    const rows = fieldsOf(Buffer.concat(passed).toString()).map(([line, ...fields]) => ({
      line: Number(line),
      fields,
    }));
    assert.equal(counts().rows, rows.length);
    return { header, rows, droppedLines: counts().droppedLines };
  } catch (error) {
    if (error instanceof RefusedFile) return undefined;
    throw error;
  }
}

async function* streamOf(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield chunk;
  }
}

function nonEmpty<T>(items: readonly T[]): readonly [T, ...T[]] {
  const [first, ...others] = items;
  assert.ok(first !== undefined);
  return [first, ...others];
}
