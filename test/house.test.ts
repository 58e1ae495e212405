import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import ts from "typescript";
import { exitCodes, ownErrors } from "../src/errors.ts";

const ROOT = join(import.meta.dirname, "..");
const sources = globSync("src/**/*.ts", { cwd: ROOT });
const PERMISSIVE = new Set(["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"]);
const statements = globSync("migrations/{committed/*,fixtures/**/*}.sql", { cwd: ROOT });

test("SQL stands in src/api alone, COPY and the ends of transactions aside", () => {
  const found = sources
    .filter((path) => !path.startsWith("src/api/"))
    .flatMap((path) => stringsOf(path).map((text) => [path, text] as const))
    .filter(([, text]) => isSql(text));
  assert.deepEqual(found, []);
});

test("the search for SQL finds what is there, in every module of src/api", () => {
  const modules = sources.filter((path) => path.startsWith("src/api/"));
  assert.ok(modules.length > 1);
  for (const path of modules) assert.ok(stringsOf(path).some(isSql), path);
});

test("nothing but output.ts and the launcher writes to stdout, and nothing uses console", () => {
  const found = sources.filter((path) => /\bconsole\s*\./.test(read(path)));
  assert.deepEqual(found, []);
  assert.deepEqual(
    sources.filter((path) => /process\.stdout\.write/.test(read(path))),
    ["src/output.ts"],
  );
});

test("what is written to a stream has been made printable, without secrets", () => {
  const writers = sources.filter((path) => /process\.std(out|err)\b.*\bwrite/.test(read(path)));
  assert.deepEqual(writers.sort(), ["src/log.ts", "src/output.ts", "src/progress.ts"]);
  for (const path of writers) assert.match(read(path), /from "\.\/printable\.ts"/, path);
});

test("the program reads its environment in one place", () => {
  const found = sources.filter((path) => /process\.env\b/.test(read(path)));
  assert.deepEqual(found, ["src/session.ts"]);
});

test("what a module exports, another one uses", () => {
  const files = ["src", "test", "docs", "migrations"].flatMap((folder) =>
    globSync(`${folder}/**/*.ts`, { cwd: ROOT }),
  );
  // Imported by an address that is made when it is needed.
  const called = ["src/cli.ts main", "src/preview-build.ts bundle"];
  const used = new Set([...files.flatMap(importsOf), ...called]);
  const dead = files
    .flatMap((path) => exportsOf(path).map((name) => `${path} ${name}`))
    .filter((name) => !used.has(name));
  assert.ok(used.size > 100, `${used.size} names are imported`);
  assert.deepEqual(dead, []);
});

describe("our own errors", () => {
  const codes = [...sources.filter((path) => path !== "src/errors.ts"), ...statements].flatMap(
    (path) => read(path).match(/(?<=["'])TK\d{3}(?=["'])/g) ?? [],
  );

  test("are registered, each one that is raised, and raised, each one that is registered", () => {
    assert.deepEqual([...new Set(codes)].sort(), Object.keys(ownErrors).sort());
  });

  test("have a meaning, and an exit code that the command line promises", () => {
    const promised: number[] = Object.values(exitCodes);
    for (const [code, { exit, means }] of Object.entries(ownErrors)) {
      assert.match(means, /^[A-Z].*\.$/, code);
      assert.ok(exit > 0 && promised.includes(exit), code);
    }
  });
});

describe("package-lock.json", () => {
  interface Locked {
    version?: string;
    dev?: boolean;
    optional?: boolean;
    resolved?: string;
    integrity?: string;
    dependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
    peerDependencies?: Record<string, string>;
    peerDependenciesMeta?: Record<string, { optional?: boolean }>;
  }
  const { packages } = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, Locked>;
  };
  const manifest = JSON.parse(read("package.json")) as Locked;

  test("has no holes: whatever a package asks for is there", () => {
    const holes = Object.entries(packages).flatMap(([path, locked]) =>
      wantedBy(locked)
        .filter((name) => !isFound(path, name))
        .map((name) => `${path} asks for ${name}`),
    );
    assert.deepEqual(holes, []);
  });

  test("names no registry, and the checksum of every package", () => {
    const installed = Object.entries(packages).filter(([path]) => path !== "");
    assert.ok(installed.length > 50);
    assert.deepEqual(
      installed.filter(([, { version, integrity }]) => !version || !integrity),
      [],
    );
    assert.deepEqual(
      installed.filter(([, { resolved }]) => resolved !== undefined),
      [],
    );
  });

  test("is that of package.json", () => {
    const wanted = ({ dependencies, devDependencies, peerDependencies, version }: Locked) => ({
      dependencies,
      devDependencies,
      peerDependencies,
      version,
    });
    assert.deepEqual(wanted(packages[""] ?? {}), wanted(manifest));
  });

  test("has the optional peers as development tools, in the version that users are told", () => {
    const { devDependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = manifest;
    const names = Object.keys(peerDependencies);
    assert.ok(names.length > 0);
    for (const name of names) {
      assert.equal(devDependencies[name], peerDependencies[name], name);
      assert.equal(peerDependenciesMeta[name]?.optional, true, name);
    }
  });

  test("brings permissive licences alone to run-time", () => {
    const runTime = Object.entries(packages).filter(([path, { dev }]) => path !== "" && !dev);
    const licences = runTime.flatMap(([path, { optional }]) => {
      const file = join(path, "package.json");
      // Of another operating system.
      if (optional && !existsSync(join(ROOT, file))) return [];
      const { license } = JSON.parse(read(file)) as { license?: unknown };
      return [[path, license] as const];
    });
    assert.ok(licences.length > 50);
    assert.deepEqual(
      licences.filter(([, license]) => !isPermissive(license)),
      [],
    );
  });

  test("would not take a licence that asks for more than a notice", () => {
    for (const license of ["MIT", "(MIT OR GPL-2.0)", "Apache-2.0 AND ISC"]) {
      assert.ok(isPermissive(license), license);
    }
    const others = [
      "GPL-2.0-only",
      "MIT AND LGPL-3.0",
      "UNLICENSED",
      "SEE LICENSE IN x",
      undefined,
    ];
    for (const license of others) assert.ok(!isPermissive(license), license);
  });

  /** Whether an SPDX expression lets us choose permissive licences alone. */
  function isPermissive(expression: unknown): boolean {
    if (typeof expression !== "string") return false;
    // An inner parenthesis stays, and is part of no permissive name.
    const choices = expression.replace(/^\(([^()]*)\)$/, "$1").split(" OR ");
    return choices.some((choice) => choice.split(" AND ").every((id) => PERMISSIVE.has(id)));
  }

  function wantedBy(locked: Locked): string[] {
    const isOptionalPeer = (name: string) => locked.peerDependenciesMeta?.[name]?.optional === true;
    return [
      ...Object.keys(locked.dependencies ?? {}),
      ...Object.keys(locked.devDependencies ?? {}),
      ...Object.keys(locked.optionalDependencies ?? {}),
      ...Object.keys(locked.peerDependencies ?? {}).filter((name) => !isOptionalPeer(name)),
    ];
  }

  /** Looks where Node would: beside the package's own, then a folder up, and so on. */
  function isFound(path: string, name: string): boolean {
    if (packages[join(path, "node_modules", name)]) return true;
    return (
      path !== "" && isFound(path.slice(0, Math.max(0, path.lastIndexOf("/node_modules/"))), name)
    );
  }
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The texts of string and template literals, with … where a template has a gap. */
function stringsOf(path: string): string[] {
  const found: string[] = [];
  function visit(node: ts.Node): void {
    if (ts.isStringLiteralLike(node)) found.push(node.text);
    else if (ts.isTemplateExpression(node)) {
      const parts = [node.head, ...node.templateSpans.map(({ literal }) => literal)];
      found.push(parts.map(({ text }) => text).join("…"));
    }
    ts.forEachChild(node, visit);
  }
  visit(parsed(path));
  return found.map((text) => text.trim()).filter((text) => text !== "");
}

function isSql(text: string): boolean {
  return [
    /\bselect\b[^]*\bfrom\s+[\w$…]+\s*\./i,
    /^select\b[^.]*\(/i,
    /\b(tickets|reporting)\.\w+\s*\(/,
    /\binsert\s+into\b|\bdelete\s+from\s+\w+\.|\bupdate\s+\w+\.\w+\s+(as\s+\w+\s+)?set\b/i,
    /^(create|alter|drop|truncate|grant|revoke|analyze|vacuum|lock|do|call|set|listen|notify)\s+(table|schema|role|function|view|index|table|on|local|session|\$)/i,
  ].some((pattern) => pattern.test(text));
}

/** The values that a module exports. A type may be there for those who name a function's result. */
function exportsOf(path: string): string[] {
  return parsed(path).statements.flatMap((statement) => {
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    if (ts.isVariableStatement(statement)) {
      return statement.declarationList.declarations.map(({ name }) => name.getText());
    }
    const isValue = ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement);
    return isValue && statement.name ? [statement.name.text] : [];
  });
}

/** What a module takes from others, as `path name`. */
function importsOf(path: string): string[] {
  const file = parsed(path);
  const found: string[] = [];
  const spaces = new Map<string, string>();
  const pathOf = (specifier: ts.Expression) =>
    ts.isStringLiteral(specifier) && specifier.text.startsWith(".")
      ? join(dirname(path), specifier.text)
      : undefined;
  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const from = node.moduleSpecifier && pathOf(node.moduleSpecifier);
      const names = ts.isImportDeclaration(node)
        ? node.importClause?.namedBindings
        : node.exportClause;
      if (from !== undefined && names) {
        if (ts.isNamespaceImport(names)) spaces.set(names.name.text, from);
        else if (ts.isNamedImports(names) || ts.isNamedExports(names)) {
          for (const { propertyName, name } of names.elements) {
            found.push(`${from} ${(propertyName ?? name).text}`);
          }
        }
      }
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      // `const { name } = await import("…")`, `(await import("…")).name`
      const [specifier] = node.arguments;
      const from = specifier && pathOf(specifier);
      const user = node.parent.parent;
      if (from !== undefined && ts.isParenthesizedExpression(user)) {
        if (ts.isPropertyAccessExpression(user.parent)) {
          found.push(`${from} ${user.parent.name.text}`);
        }
      }
      if (from !== undefined && ts.isVariableDeclaration(user)) {
        const { name } = user;
        if (ts.isObjectBindingPattern(name)) {
          found.push(
            ...name.elements.map((e) => `${from} ${(e.propertyName ?? e.name).getText()}`),
          );
        }
      }
    } else if (ts.isPropertyAccessExpression(node)) {
      const from = spaces.get(node.expression.getText());
      if (from !== undefined) found.push(`${from} ${node.name.text}`);
    }
    ts.forEachChild(node, visit);
  }
  visit(file);
  return found;
}

function parsed(path: string): ts.SourceFile {
  return ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true);
}
