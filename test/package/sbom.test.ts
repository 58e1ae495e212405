import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "../..");

interface Manifest {
  name: string;
  version: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

interface Sbom {
  bomFormat: string;
  metadata: { component: { name: string; version: string } };
  components: { name: string; hashes: unknown[]; licenses: unknown[] }[];
}

test("the bill of materials has all that runs, with checksum and licence, and no tool", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-sbom-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "sbom.json");
  await promisify(execFile)(process.execPath, [join(ROOT, ".ci/sbom.ts"), file]);

  const sbom = JSON.parse(readFileSync(file, "utf8")) as Sbom;
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;
  const { name, version } = sbom.metadata.component;
  assert.deepEqual([sbom.bomFormat, name, version], ["CycloneDX", manifest.name, manifest.version]);
  const names = new Set(sbom.components.map((component) => component.name));
  assert.ok(names.size > 50);
  for (const dependency of Object.keys(manifest.dependencies)) {
    assert.ok(names.has(dependency), dependency);
  }
  // Types of Node and pg come with graphile-migrate, too.
  const tools = Object.keys(manifest.devDependencies).filter((tool) => !tool.startsWith("@types/"));
  for (const tool of tools) assert.ok(!names.has(tool), tool);
  for (const { name: component, hashes, licenses } of sbom.components) {
    assert.ok(hashes.length > 0 && licenses.length > 0, component);
  }
});
