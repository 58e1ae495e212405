import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, test } from "node:test";
import { generatedPages } from "../docs/generate.ts";

const ROOT = join(import.meta.dirname, "..");
const PROMISES = "docs/explanation/promises.md";
const pages = globSync(["*.md", "docs/**/*.md", "migrations/*.md"], { cwd: ROOT }).sort();

test("each generated page is what its source makes: npm run docs writes them anew", async () => {
  for (const [path, content] of await generatedPages()) {
    assert.equal(read(path), content, path);
  }
});

describe("relative links lead somewhere", () => {
  for (const page of pages) {
    test(page, () => {
      const broken = linksOf(page).filter((link) => !leadsSomewhere(page, link));
      assert.deepEqual(broken, []);
    });
  }
});

test("each test that promises.md cites is there", () => {
  const missing = citedTests().filter(({ file, name }) => {
    return !existsSync(join(ROOT, file)) || !name.split(" › ").every((part) => names(file, part));
  });
  assert.deepEqual(missing, []);
});

test("each promise and each input names a test, or says that none is there yet", () => {
  const items = read(PROMISES).split(/^### /m).slice(1);
  const bare = items.filter((item) => !/^- `test\//m.test(item) && !item.includes("No test yet"));
  assert.deepEqual(bare, []);
});

test("sql.md has every public function and view of the schema tickets", () => {
  const text = read("docs/reference/sql.md");
  const objects = globSync("fixtures/{functions,views}/tickets.[^_]*.sql", {
    cwd: join(ROOT, "migrations"),
  }).map((file) => /tickets\.\w+/.exec(file)?.[0] ?? file);
  const missing = objects.filter((name) => !new RegExp(`^### ${name}$`, "m").test(text));
  assert.ok(objects.length > 0);
  assert.deepEqual(missing, []);
});

test("reading.md or sql.md has every public function of the schema reporting", () => {
  const text = read("docs/reference/reading.md") + read("docs/reference/sql.md");
  const functions = globSync("fixtures/functions/reporting.[^_]*.sql", {
    cwd: join(ROOT, "migrations"),
  }).map((file) => /reporting\.\w+/.exec(file)?.[0] ?? file);
  const missing = functions.filter((name) => !new RegExp(`^### ${name}$`, "m").test(text));
  assert.ok(functions.length > 0);
  assert.deepEqual(missing, []);
});

test("configuration.md has every variable of .env.example", () => {
  const text = read("docs/reference/configuration.md");
  const variables = Array.from(read(".env.example").matchAll(/^#? ?([A-Z_]+)=/gm), ([, v]) => v);
  const missing = variables.filter((variable) => !text.includes(`\`${variable}\``));
  assert.ok(variables.length > 0);
  assert.deepEqual(missing, []);
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function linksOf(page: string): string[] {
  const text = read(page).replaceAll(/^```.*?^```$/gms, "");
  return Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, link = ""]) => link).filter(
    (link) => !/^[a-z]+:/.test(link),
  );
}

function leadsSomewhere(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : normalize(join(dirname(page), path));
  if (!existsSync(join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(target).includes(anchor);
}

/** What GitHub makes of a page's headings. */
function anchorsOf(page: string): string[] {
  return Array.from(read(page).matchAll(/^#+ (.*)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** What promises.md cites: a file, and indented below it the names of its tests. */
function citedTests(): { file: string; name: string }[] {
  // A line that goes on is indented deeper than the bullet that it belongs to.
  const lines = read(PROMISES)
    .replaceAll(/\n {4,}(?=\S)/g, " ")
    .split("\n");
  let file = "";
  return lines.flatMap((line) => {
    file = /^- `(test\/[^`]+)`$/.exec(line)?.[1] ?? file;
    const name = /^ {2}- (.*)$/.exec(line)?.[1];
    return name === undefined ? [] : [{ file, name }];
  });
}

/** Whether a test file has this text as a string, or as the key of a table of cases. */
function names(file: string, text: string): boolean {
  const source = read(file);
  const forms = [JSON.stringify(text), `'${text}'`, `\`${text}\``, `${text}:`];
  return forms.some((form) => source.includes(form));
}
