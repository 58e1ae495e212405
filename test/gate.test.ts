import assert from "node:assert/strict";
import { PerformanceObserver, constants } from "node:perf_hooks";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { from as copyFrom } from "pg-copy-streams";
import { RefusedFile } from "../src/errors.ts";
import { openGate } from "../src/gate.ts";
import { contractColumns, sampleCsv, sampleExports } from "../src/samples.ts";
import { keepSecret } from "../src/secrets.ts";
import { createDatabase } from "./harness/postgres.ts";
import { exampleExports, exampleFile, refusals, refusedExamples } from "./harness/examples.ts";

/** What the gate makes of a file: why it refuses it, or what it lets through. */
type Verdict = Refusal | Passage;

interface Refusal {
  code: string;
  line: number | undefined;
}

interface Passage {
  header: string[];
  /** As COPY gets them. */
  records: string;
  rows: number;
  droppedLines: number;
}

const contractHeader = contractColumns.join(",");

describe("the gate refuses", () => {
  const defects: readonly [what: string, body: string | Buffer, code: string, line?: number][] = [
    ["an empty object", "", "TK101"],
    ["an object of blank lines", "\n \t\r\n\n", "TK101"],
    ["an object that is only a byte order mark", "\ufeff", "TK101"],
    ["gzip", gzipSync("ticket_id\nT1\n"), "TK102", 1],
    ["zip", Buffer.from("504b0304140000000800", "hex"), "TK102", 1],
    ["bzip2", Buffer.from("425a683931415926", "hex"), "TK102", 1],
    ["zstd", Buffer.from("28b52ffd2400", "hex"), "TK102", 1],
    ["xz", Buffer.from("fd377a585a000004", "hex"), "TK102", 1],
    ["an HTML page", "<!DOCTYPE html>\n<html></html>\n", "TK103", 1],
    ["an HTML page in one line", "<html><body>no, nothing</body></html>", "TK103", 1],
    ["an XML error", '<?xml version="1.0"?><Error/>', "TK103", 1],
    ["an XML error behind a byte order mark and a blank line", "\ufeff\n  <Error/>\n", "TK103", 2],
    ["semicolons between columns", "ticket_id;owner\nT1;a\n", "TK104", 1],
    ["tabs between columns", "ticket_id\towner\nT1\ta\n", "TK104", 1],
    ["bars between columns", "ticket_id|owner\nT1|a\n", "TK104", 1],
    ["semicolons below a blank line", "\nticket_id;owner\nT1;a\n", "TK104", 2],
    ["a NUL byte", "ticket_id,owner\nT1,a\nT2,\0b\n", "TK105", 3],
    ["a NUL byte in quotes", 'ticket_id,owner\nT1,"a\n\0b"\n', "TK105", 3],
    ["a NUL byte in the header", "ticket_id,ow\0ner\nT1,a\n", "TK105", 1],
    ["a NUL byte at the end", "ticket_id,owner\nT1,a\n\0", "TK105", 3],
    ["Latin-1", latin1("ticket_id,owner\nT1,a\nT2,caf\xe9\nT3,a\n"), "TK106", 3],
    ["Latin-1 in a quoted line", latin1('ticket_id,owner\nT1,"a\nb\ncaf\xe9"\n'), "TK106", 4],
    ["a character cut by the end of the file", latin1("ticket_id\nT1\nT\xe2\x82"), "TK106", 3],
    ["a character cut by the end of a line", latin1("ticket_id\nT\xe2\x82\nT2\n"), "TK106", 2],
    ["a character in too many bytes", latin1("ticket_id\nT\xc0\xaf\n"), "TK106", 2],
    ["half of a surrogate pair", latin1("ticket_id\nT\xed\xa0\x80\n"), "TK106", 2],
    ["UTF-16", Buffer.from("\ufeffticket_id\nT1\n", "utf16le"), "TK106", 1],
    ["UTF-16, the other way round", latin1("\xfe\xff\0t\0i\0\n"), "TK106", 1],
    ["a quote within a field", 'ticket_id,owner\nT1,he said "hi" ok\n', "TK107", 2],
    ["a quote behind a blank", 'ticket_id,owner\nT1, "a"\n', "TK107", 2],
    ["text behind a closing quote", 'ticket_id,owner\nT1,"a" b\n', "TK107", 2],
    ["one stray quote", 'ticket_id,owner\nT1,5" pipe\nT2,a\n', "TK107", 2],
    ["two stray quotes that fuse rows", 'ticket_id,owner\nT1,"a\nT2,b\nT3,c"d\n', "TK107", 2],
    ["a quote that stays open", 'ticket_id,owner\nT1,a\nT2,"b\nT3,c\n', "TK108", 3],
    ["a quote that stays open in the header", 'ticket_id,"owner\nT1,a\n', "TK108", 1],
    ["a quote that opens as the last byte", 'ticket_id,owner\nT1,"', "TK108", 2],
    ["a row of too few fields", "ticket_id,owner\nT1,a\n\nT2\nT3,c\n", "TK109", 4],
    ["a row of too many fields", "ticket_id,owner\r\nT1,a\r\nT2,b,c\r\n", "TK109", 3],
    ["a row cut by the end of the file", "ticket_id,owner,team\nT1,a,b\nT2,c", "TK109", 3],
    ["quoted nothing for a row", 'ticket_id,owner\nT1,a\n""\n', "TK109", 3],
    ["a lone \\.", "ticket_id,owner\nT1,a\n\\.\nT2,b\n", "TK110", 3],
    ["a lone \\. that ends with CRLF", "ticket_id,owner\r\nT1,a\r\n\\.\r\nT2,b\r\n", "TK110", 3],
    ["a lone \\. that ends the file", "ticket_id,owner\nT1,a\n\\.", "TK110", 3],
    ["a lone \\. in a file of one column", "ticket_id\nT1\n\\.\nT2\n", "TK110", 3],
    [
      "quotes at the right places that swallow rows",
      `${contractHeader}\n${rowOf("T1")}${swallowing(rowOf("T2"), rowOf("T3"), rowOf("T4"))}`,
      "TK111",
      3,
    ],
    ["a return that ends a row of a file with line feeds", "a,b\n1,2\r3,4\n", "TK112", 2],
    ["a return in a row of too few fields", "a,b\n1,2\n3\r\r\n", "TK112", 3],
    ["a return in a file of one column", "ticket_id\nT1\rT2\n", "TK112", 2],
    ["a return in a header", "ticket_id,own\rer\nT1,a\n", "TK112", 1],
    ["a return in an EXPORT STOPPED row", "a,b\n1,2\nEXPORT STOPPED\r3,4\n", "TK112", 3],
    ["a return in the second line of a row", 'a,b,c\n1,"\n",2\r3\r4,5,6\n', "TK112", 3],
    ["a return behind a closing quote", 'ticket_id,owner\nT1,"a"\rb\n', "TK112", 2],
    ["line ends of a single return", "ticket_id,owner\rT1,a\rT2,b\r", "TK112", 1],
  ];
  for (const [what, body, code, line] of defects) {
    test(what, async () => {
      assert.deepEqual(await gate(body), { code, line });
    });
  }

  for (const { name, body } of refusedExamples()) {
    const { code, line } = refusals[name] ?? assert.fail(`${name} is not in the list`);
    // Those below TK100 are for the database to refuse.
    if (code > "TK100") {
      test(`the example ${name}`, async () => {
        assert.deepEqual(await gate(body), { code, line: line ?? undefined });
      });
    }
  }

  test("an object cut anywhere in a row but in its last field", async () => {
    const body = "ticket_id,owner,team\nT1,aaa,bbb\nT2,ccc,ddd\nT3,eee,fff\n";
    for (let end = body.indexOf("T1") + 1; end < body.length; end++) {
      const cut = body.slice(0, end);
      const [lastLine = ""] = cut.split("\n").slice(-1);
      const refusal = { code: "TK109", line: cut.split("\n").length };
      // Cut in its last field, a row is as good as any: the object's size tells, which COPY's
      // caller knows.
      const isWhole = lastLine === "" || lastLine.split(",").length === 3;
      assert.deepEqual(isWhole ? refusal : await gate(cut), refusal, cut);
    }
  });

  const longHeaders: readonly [what: string, body: string, refusal: Refusal][] = [
    ["64 KiB", `ticket_id,${"x".repeat(2 ** 16)}\nT1,a\n`, { code: "TK113", line: 1 }],
    ["64 KiB below a blank line", `\n ${"x".repeat(2 ** 16)}\n`, { code: "TK113", line: 2 }],
    ["64 KiB in quotes", `ticket_id,"${"x\n".repeat(2 ** 15)}"\n`, { code: "TK113", line: 1 }],
    ["1,600 columns", `ticket_id${",".repeat(1600)}\nT1,a\n`, { code: "TK114", line: 1 }],
  ];
  for (const [what, text, refusal] of longHeaders) {
    test(`a header of more than ${what}, however it comes`, async () => {
      // With another defect right behind: it must not depend on the chunks which one is told.
      const body = Buffer.from(`${text}\0`);
      for (const pieces of [[body], cutEvery(body, 1), cutEvery(body, 1000)]) {
        assert.deepEqual(await gateOf(pieces), refusal);
      }
    });
  }

  test("a row of more than 4 MiB, however it comes", async () => {
    const body = Buffer.from(`ticket_id,owner\nT1,a\nT2,"${"x\n".repeat(2 ** 21 + 10)}"\n`);
    for (const pieces of [[body], cutEvery(body, 64 * 1024), cutEvery(body, 5 * 2 ** 20)]) {
      assert.deepEqual(await gateOf(pieces), { code: "TK108", line: 3 });
    }
  });
});

describe("the gate lets through", () => {
  const files: readonly [what: string, body: string | Buffer, passage: Passage][] = [
    ["a plain file", "ticket_id,owner\nT1,a\nT2,\n", passage("2,T1,a\n3,T2,\n")],
    ["a file without a final line end", "ticket_id,owner\nT1,a\nT2,b", passage("2,T1,a\n3,T2,b\n")],
    ["a file that ends with a comma", "ticket_id,owner\nT1,", passage("2,T1,\n")],
    ["a byte order mark", "\ufeffticket_id,owner\nT1,a\n", passage("2,T1,a\n")],
    ["CRLF", "ticket_id,owner\r\nT1,a\r\nT2,b\r\n", passage("2,T1,a\n3,T2,b\n")],
    ["mixed line ends", "ticket_id,owner\r\nT1,a\nT2,b\r\n", passage("2,T1,a\n3,T2,b\n")],
    ["a final return without its line feed", "ticket_id,owner\r\nT1,a\r", passage("2,T1,a\n")],
    ["a quoted header", '"ticket_id","owner"\nT1,a\n', passage("2,T1,a\n")],
    [
      "a header that needs its quotes",
      '\ufeff"ticket_id","a ""b"", c","d\ne",f\nT1,1,2,3\n',
      passage("3,T1,1,2,3\n", { header: ["ticket_id", 'a "b", c', "d\ne", "f"] }),
    ],
    [
      "blanks around names of columns",
      " ticket_id ,owner\t\nT1,a\n",
      passage("2,T1,a\n", { header: ["ticket_id", "owner"] }),
    ],
    [
      "columns without a name, for the database to refuse",
      ',ticket_id,"",owner,\n1,T1,2,a,3\n',
      passage("2,1,T1,2,a,3\n", { header: ["", "ticket_id", "", "owner", ""] }),
    ],
    [
      "line breaks in quotes, to the letter",
      'ticket_id,owner\nT1,"a\nb"\nT2,"c\r\n\r\nd"\nT3,"\r"\nT4,e\n',
      passage('2,T1,"a\nb"\n4,T2,"c\r\n\r\nd"\n7,T3,"\r"\n8,T4,e\n'),
    ],
    [
      "doubled quotes and commas in quotes",
      'ticket_id,owner\n"T""1","a, b"\nT2,""""\nT3,""\n',
      passage('2,"T""1","a, b"\n3,T2,""""\n4,T3,""\n'),
    ],
    [
      "single returns within values, in quotes",
      'a,b,c\n1,x\ry,"z\r""\r"\n2,\r\r,\r\n3,\r,"\r"\n4,5\r,6\r\r\n',
      passage('2,1,"x\ry","z\r""\r"\n3,2,"\r\r",\n4,3,"\r","\r"\n5,4,"5\r","6\r"\n', {
        header: ["a", "b", "c"],
      }),
    ],
    [
      "blank lines outside quotes, which are dropped",
      '\n\r\nticket_id,owner\n\nT1,a\r\n \t\nT2,"\n\n"\n\n',
      passage('5,T1,a\n7,T2,"\n\n"\n'),
    ],
    [
      "bare EXPORT STOPPED lines, which are dropped and counted",
      "ticket_id,owner\nEXPORT STOPPED at 500 rows\nT1,a\n" +
        '"EXPORT STOPPED, row limit"\nEXPORT STOPPED,row,limit\r\nexport stopped',
      passage("3,T1,a\n", { droppedLines: 4 }),
    ],
    [
      "an EXPORT STOPPED line before the header",
      "EXPORT STOPPED: row limit reached\nticket_id,owner\nT1,a\n",
      passage("3,T1,a\n", { droppedLines: 1 }),
    ],
    [
      "an EXPORT STOPPED row of full width, for the database to drop",
      "ticket_id,owner\nEXPORT STOPPED,\n",
      passage("2,EXPORT STOPPED,\n"),
    ],
    ["no rows", "ticket_id,owner\n", passage("")],
    [
      "a header of 1,600 columns",
      `ticket_id${",c".repeat(1599)}\n`,
      passage("", { header: ["ticket_id", ...Array<string>(1599).fill("c")] }),
    ],
    [
      "a header of 64 KiB",
      `ticket_id,${"x".repeat(2 ** 16 - 10)}\n`,
      passage("", { header: ["ticket_id", "x".repeat(2 ** 16 - 10)] }),
    ],
    [
      "a row of 4 MiB",
      `ticket_id,owner\nT1,${"x".repeat(2 ** 22 - 3)}\nT2,b\n`,
      passage(`2,T1,${"x".repeat(2 ** 22 - 3)}\n3,T2,b\n`),
    ],
    ["no rows and no line end", "ticket_id,owner", passage("")],
    [
      "characters of every length",
      "ticket_id,owner\nT1,é€😀\u{10ffff}\n",
      passage("2,T1,é€😀\u{10ffff}\n"),
    ],
    [
      "backslashes that are text",
      'ticket_id,owner\n\\.,a\nT1,\\.\nT2,"\n\\.\n"\n"\\.",\\\n',
      passage('2,\\.,a\n3,T1,\\.\n4,T2,"\n\\.\n"\n7,"\\.",\\\n'),
    ],
    [
      "several lines of text with many commas",
      `${contractHeader}\n${rowOf('"a, b, c, d\ne, f, g, h\ni, j, k"')}`,
      passage(`2,${rowOf('"a, b, c, d\ne, f, g, h\ni, j, k"')}`, { header: [...contractColumns] }),
    ],
  ];
  for (const [what, body, expected] of files) {
    test(what, async () => {
      assert.deepEqual(await gate(body), expected);
    });
  }

  test("the example with blank lines as 40 rows, and the one of a header as none", async () => {
    const counts = async (body: Buffer) => {
      const verdict = await gate(body);
      return "rows" in verdict ? verdict.rows : verdict;
    };
    assert.deepEqual(await counts(exampleFile("blank-lines.csv")), 40);
    assert.deepEqual(await counts(exampleFile("header-only.csv")), 0);
  });

  for (const dataset of ["inc", "crq"] as const) {
    test(`the example and sample exports of ${dataset} as a strict reader reads them`, async () => {
      const samples = sampleExports({ dataset, seed: 11, files: 12, ticketsPerFile: 60 });
      for (const { key, body } of [...exampleExports(dataset), ...samples]) {
        const verdict = await gate(body);
        assert.ok("records" in verdict, key);
        assert.deepEqual(verdict, strictVerdict(body), key);
      }
    });
  }
});

describe("whatever the bytes", () => {
  const runs = { numRuns: 1500, seed: 20260615 };

  test("the gate decides as a strict reader of RFC 4180", async () => {
    let passed = 0;
    await fc.assert(
      fc.asyncProperty(anyFile, async (body) => {
        const verdict = await gate(body);
        const expected = strictVerdict(body);
        if (expected === undefined) assert.ok("code" in verdict, "lets through");
        else assert.deepEqual(verdict, expected);
        if ("rows" in verdict) passed++;
      }),
      runs,
    );
    assert.ok(passed > runs.numRuns / 10, `only ${passed} files passed`);
  });

  test("the outcome does not depend on how they are cut into chunks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(anyFile, anyFile.map(withTwoDefects)),
        fc.array(fc.nat({ max: 200 }), { maxLength: 12 }),
        async (body, cuts) => {
          const whole = await gate(body);
          assert.deepEqual(await gateOf(cutAt(body, cuts)), whole);
          assert.deepEqual(await gateOf(cutEvery(body, 1)), whole);
        },
      ),
      runs,
    );
  });
});

test("whatever the gate lets through, COPY takes for the same rows", async (t) => {
  const client = await (await createDatabase(t)).connect();
  const columns = ["a", "b", "c", "d", "e", "f"];
  await client.query(`create temp table copied (line bigint, ${columns.join(" text, ")} text)`);
  let rows = 0;
  await fc.assert(
    fc.asyncProperty(anyFile, async (body) => {
      const verdict = await gate(body);
      if ("code" in verdict || verdict.header.length > columns.length) return;
      const used = columns.slice(0, verdict.header.length);
      await client.query("truncate copied");
      await pipeline(
        Readable.from([Buffer.from(verdict.records)]),
        client.query(copyFrom(`copy copied (line, ${used.join(", ")}) from stdin (format csv)`)),
      );
      const copied = await client.query<string[]>({
        text: `select line::text, ${used.map((name) => `coalesce(${name}, '')`).join(", ")}
               from copied order by copied.line`,
        rowMode: "array",
      });
      const expected = [...records(Buffer.from(verdict.records))].map(({ fields }) =>
        fields.map((field) => Buffer.from(field, "latin1").toString()),
      );
      assert.deepEqual(copied.rows, expected);
      rows += expected.length;
    }),
    { numRuns: 500, seed: 20260615 },
  );
  assert.ok(rows > 300, `only ${rows} rows`);
});

describe("what the gate says does not depend on the chunks", () => {
  test("of a file with a defect, in chunks of a byte", async () => {
    for (const { body } of refusedExamples()) {
      assert.deepEqual(await gateOf(cutEvery(body, 1)), await gate(body));
    }
  });

  test("of an export, in chunks of 1, 7 and 4096 bytes", async () => {
    for (const { body } of exampleExports("crq")) {
      const whole = await gate(body);
      for (const size of [1, 7, 4096]) {
        assert.deepEqual(await gateOf(cutEvery(body, size)), whole, `${size} bytes`);
      }
    }
  });

  test("where characters are cut", async () => {
    const body = Buffer.from("ticket_id,owner\nT1,é€😀\u{10ffff}\n");
    for (let cut = 0; cut <= body.length; cut++) {
      assert.deepEqual(await gateOf(cutAt(body, [cut])), passage("2,T1,é€😀\u{10ffff}\n"));
    }
  });
});

describe("the gate holds little", () => {
  const chunk = Buffer.alloc(64 * 1024, "all of this is one field, it seems\n");

  test("of a quote that stays open in an endless file", async () => {
    let pulled = 0;
    function* endless() {
      yield Buffer.from('ticket_id,owner\nT1,"');
      for (;;) {
        pulled += chunk.length;
        yield chunk;
      }
    }
    assert.deepEqual(await gateOf(endless()), { code: "TK108", line: 2 });
    assert.ok(pulled < 5 * 2 ** 20, `read ${pulled} bytes`);
  });

  test("of a header that does not end", async () => {
    let pulled = 0;
    function* endless() {
      for (;;) {
        pulled += 64 * 1024;
        yield Buffer.alloc(64 * 1024, "ticket_id,");
      }
    }
    assert.deepEqual(await gateOf(endless()), { code: "TK113", line: 1 });
    assert.ok(pulled < 2 ** 18, `read ${pulled} bytes`);
  });

  test("of a large file, and reads no faster than its records are taken", async () => {
    let pulled = 0;
    let furthest = 0;
    let taken = 0;
    const { records } = await openGate(
      (async function* () {
        for (const piece of sampleCsv({ dataset: "inc", seed: 1, rows: 40_000 })) {
          pulled += piece.length;
          await Promise.resolve();
          yield piece;
        }
      })(),
    );
    for await (const record of records) {
      taken += record.length;
      furthest = Math.max(furthest, pulled - taken);
    }
    assert.ok(taken > 10 * 2 ** 20);
    assert.ok(furthest < 2 ** 20, `was ${furthest} bytes ahead`);
  });
});

test("an incomplete last row is not judged where the source ends by an error", async () => {
  async function* cut() {
    yield* stream([Buffer.from('ticket_id,owner\nT1,"a')]);
    throw new Error("more was to come");
  }
  await assert.rejects(
    async () => {
      const { records } = await openGate(cut());
      await exhaust(records);
    },
    { message: "more was to come" },
  );
});

test("an error page is quoted in part, and no part of a secret with it", async () => {
  const secret = "never-to-be-printed";
  keepSecret(secret);
  for (let before = 0; before < 100; before++) {
    const page = `<p>${"x".repeat(before)}${secret}${"y".repeat(1000)}</p>`;
    await assert.rejects(openGate(stream([Buffer.from(page)])), (error) => {
      assert.ok(error instanceof RefusedFile && error.detail !== undefined);
      assert.ok(error.detail.length < 120, error.detail);
      assert.doesNotMatch(error.detail, /never/);
      return true;
    });
  }
});

test("the gate lets go of its source when it is closed and when it refuses", async () => {
  let open = 0;
  async function* source(body: string) {
    open++;
    try {
      for (const piece of cutEvery(Buffer.from(body), 4)) {
        await Promise.resolve();
        yield piece;
      }
    } finally {
      open--;
    }
  }
  const gated = await openGate(source("ticket_id,owner\nT1,a\nT2,b\n"));
  await gated.close();
  assert.equal(open, 0, "after close");
  await assert.rejects(openGate(source("<html>\n</html>\n")), RefusedFile);
  assert.equal(open, 0, "after the header was refused");
  const { records, close } = await openGate(source("ticket_id,owner\nT1,a\nT2\nT3,b\n"));
  await assert.rejects(exhaust(records), RefusedFile);
  await close();
  assert.equal(open, 0, "after a row was refused");
});

// Files at random: of pieces that mean something to a reader, and whole ones with a byte gone wrong.

const pieces = [
  ...["T1", "a", "é", "€", "😀", " ", ",", ",", ",", "\n", "\n", "\r\n", '"', '"', '""', '"a\n"'],
  ...['","', "\r", "\\.", "\\", "EXPORT STOPPED", '"EXPORT STOPPED, now"\n', "\n\n", "\ufeff"],
].map((text) => Buffer.from(text));
const badPieces = [Buffer.from([0]), Buffer.from([0xc3]), Buffer.from([0xff]), latin1("\xe2\x82")];

const anyPieces = fc
  .array(fc.constantFrom(...pieces, ...pieces, ...badPieces), { maxLength: 25 })
  .map((parts) => Buffer.concat(parts));

const anyValue = fc.constantFrom("", "a", "é", '"b, c"', '"d\ne"', '"f""g"', '"\r\n"', "\\.", " ");
const anyRows = fc
  .integer({ min: 1, max: 4 })
  .chain((columns) =>
    fc.tuple(
      fc.constantFrom("", "\ufeff"),
      fc.array(fc.array(anyValue, { minLength: columns, maxLength: columns }), { maxLength: 6 }),
      fc.constantFrom("\n", "\r\n"),
      fc.boolean(),
    ),
  )
  .map(([mark, rows, lineEnd, endsLast]) => {
    const header = (rows[0] ?? ["a"]).map((_, index) => `column_${index}`);
    const lines = [header, ...rows].map((fields) => fields.join(","));
    return Buffer.from(mark + lines.join(lineEnd) + (endsLast ? lineEnd : ""));
  });

const anyFile = fc.oneof(
  anyPieces,
  anyRows,
  fc.tuple(anyRows, fc.nat(), fc.constantFrom(...pieces, ...badPieces)).map(damaged),
);

function damaged([body, at, piece]: [Buffer, number, Buffer]): Buffer {
  const place = at % (body.length + 1);
  return Buffer.concat([body.subarray(0, place), piece, body.subarray(place)]);
}

function withTwoDefects(body: Buffer): Buffer {
  const half = Math.floor(body.length / 2);
  return Buffer.concat([
    ...[body.subarray(0, half), latin1("\0")],
    ...[body.subarray(half), latin1("\n\xff\n")],
  ]);
}

function gate(body: string | Buffer): Promise<Verdict> {
  return gateOf([Buffer.from(body)]);
}

async function gateOf(pieces: Iterable<Buffer>): Promise<Verdict> {
  try {
    const { header, records, counts } = await openGate(stream(pieces));
    const passed: Buffer[] = [];
    for await (const record of records) passed.push(Buffer.from(record));
    return { header, records: Buffer.concat(passed).toString(), ...counts() };
  } catch (error) {
    if (!(error instanceof RefusedFile)) throw error;
    return { code: error.code, line: error.line };
  }
}

async function exhaust(records: AsyncIterable<Buffer>): Promise<number> {
  let bytes = 0;
  for await (const record of records) bytes += record.length;
  return bytes;
}

async function* stream(pieces: Iterable<Buffer>): AsyncGenerator<Buffer> {
  for (const piece of pieces) {
    // A copy of its own, which is gone afterwards as a socket's would be.
    const chunk = Buffer.from(piece);
    await Promise.resolve();
    yield chunk;
  }
}

function passage(
  passed: string,
  { header = ["ticket_id", "owner"], droppedLines = 0 }: Partial<Passage> = {},
): Passage {
  return { header, records: passed, rows: [...records(Buffer.from(passed))].length, droppedLines };
}

function cutEvery(body: Buffer, size: number): Buffer[] {
  return cutAt(
    body,
    Array.from({ length: Math.ceil(body.length / size) }, (_, index) => index * size),
  );
}

function cutAt(body: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts, body.length].sort((a, b) => a - b);
  return ends.map((end, index) => body.subarray(ends[index - 1] ?? 0, end));
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function rowOf(ticketId: string): string {
  return `${ticketId}${",".repeat(contractColumns.length - 1)}\n`;
}

/** The rows as one: quoted from the second column of the first to that of the last. */
function swallowing(...rows: string[]): string {
  const text = rows.join("");
  const last = text.lastIndexOf("\n", text.length - 2) + 1;
  const end = text.indexOf(",", text.indexOf(",", last) + 1);
  return `${text.slice(0, end)}"${text.slice(end)}`.replace(",", ',"');
}

// An independent reader, made of patterns where the gate is made of states.

interface StrictRecord {
  text: string;
  /** Whether a carriage return is in a field without quotes. */
  hasReturn: boolean;
  fields: string[];
  line: number;
  /** Where the next one begins. */
  end: number;
}

/** @throws SyntaxError where the grammar of RFC 4180 does not allow what stands there */
function* records(body: Buffer): Generator<StrictRecord> {
  const text = body.toString("latin1");
  const field = /(?:"((?:[^"]|"")*)"|([^",\n]*?))(,|\r?\n|\r?$)/y;
  let fields: string[] = [];
  let hasReturn = false;
  let start = 0;
  let line = 1;
  while (start < text.length || fields.length > 0) {
    const from = fields.length === 0 ? start : field.lastIndex;
    field.lastIndex = from;
    const [, quoted, plain = "", separator] =
      field.exec(text) ?? raise(new SyntaxError(`no field at ${from}`));
    fields.push(quoted?.replaceAll('""', '"') ?? plain);
    hasReturn ||= plain.includes("\r");
    if (separator === ",") continue;
    const end = field.lastIndex;
    const record = text.slice(start, end).replace(/\r?\n$|\r$/, "");
    yield { text: record, hasReturn, fields, line, end };
    line += text.slice(start, end).split("\n").length - 1;
    fields = [];
    hasReturn = false;
    start = end;
  }
}

/** What becomes of a file by the contract; undefined: it is refused. */
function strictVerdict(body: Buffer): Passage | undefined {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(body);
    const bytes = body.subarray(0, 3).toString("latin1") === "\xef\xbb\xbf" ? 3 : 0;
    if (body.includes(0)) return undefined;
    const found = [...records(body.subarray(bytes))].filter(({ text }) => !/^[ \t]*$/.test(text));
    const isStop = ({ text }: StrictRecord) => /^\s*"?\s*export stopped/i.test(text);
    const at = found.findIndex((record) => !isStop(record));
    const header = found[at];
    if (header === undefined || /^[^,]*[;\t|<]/.test(header.text)) return undefined;
    const rows = found.filter((_, index) => index > at);
    const whole = rows.filter(({ fields }) => fields.length === header.fields.length);
    const short = rows.filter(({ fields }) => fields.length !== header.fields.length);
    const mustHaveNone = header.fields.length === 1 ? rows : [...rows.filter(isStop), ...short];
    if ([...found.slice(0, at + 1), ...mustHaveNone].some((record) => record.hasReturn)) {
      return undefined;
    }
    if (!short.every(isStop) || rows.some(({ text }) => text === "\\.")) return undefined;
    return {
      header: header.fields.map((name) => Buffer.from(name, "latin1").toString().trim()),
      records: Buffer.from(
        whole.map(({ text, line }) => `${line},${withReturnsQuoted(text)}\n`).join(""),
        "latin1",
      ).toString(),
      rows: whole.length,
      droppedLines: short.length + at,
    };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function withReturnsQuoted(text: string): string {
  return text.replace(/"(?:[^"]|"")*"|[^",]+/g, (field) =>
    /^[^"].*\r|^\r/s.test(field) ? `"${field}"` : field,
  );
}

function raise(error: Error): never {
  throw error;
}

test("garbage of a large file is collected while it goes by, not when there is much of it", async () => {
  let forced = 0;
  const observer = new PerformanceObserver((list) => {
    const collections = list.getEntries() as unknown as { detail: { flags: number } }[];
    for (const { detail } of collections) {
      if ((detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0) forced++;
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const chunk = Buffer.from(`T1,${"a".repeat(1020)}\n`.repeat(1024));
  function* chunks() {
    yield Buffer.from("ticket_id,owner\n");
    for (let n = 0; n < 600; n++) yield chunk;
  }
  const { records } = await openGate(Readable.from(chunks(), { objectMode: true }));
  for await (const record of records) assert.ok(record.length > 0);
  // Node tells of them some moments later.
  const deadline = Date.now() + 10_000;
  while (forced < 2 && Date.now() < deadline) await sleep(10);
  observer.disconnect();
  assert.equal(forced, 2);
});
