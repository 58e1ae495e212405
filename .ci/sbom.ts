// Writes the bill of materials of the program, what `npm ci --omit=dev` installs, as CycloneDX:
//
//   node .ci/sbom.ts <file>
//
// In a checkout, `npm sbom --omit=dev` leaves out each package that development tools use, too, such
// as the AWS SDK. So npm reads a lock file here in which there are no tools.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Package {
  version: string;
  dev?: boolean;
  devDependencies?: Record<string, string>;
}

interface Sbom {
  bomFormat: string;
  components: { name: string; version: string }[];
}

const ROOT = join(import.meta.dirname, "..");

const [target] = process.argv.slice(2);
if (target === undefined) throw new Error("usage: node .ci/sbom.ts <file>");

const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  packages: Record<string, Package>;
};
const [self, ...installed] = Object.entries(lock.packages).filter(([, { dev }]) => dev !== true);
if (self === undefined) throw new Error("package-lock.json is empty");
delete self[1].devDependencies;

const text = npmSbom({ ...lock, packages: Object.fromEntries([self, ...installed]) }, self[1]);
const sbom = JSON.parse(text) as Sbom;
const listed = new Set(sbom.components.map(({ name, version }) => `${name}@${version}`));
const missing = installed
  .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, "")}@${version}`)
  .filter((name) => !listed.has(name));
if (sbom.bomFormat !== "CycloneDX" || missing.length > 0) {
  throw new Error(`npm's bill of materials lacks ${missing.join(", ")}`);
}
writeFileSync(target, text);

function npmSbom(lockFile: object, manifest: object): string {
  const parent = mkdtempSync(join(tmpdir(), "fleettickets-sbom-"));
  // npm names the program after its folder.
  const folder = join(parent, "fleettickets");
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    writeFileSync(join(folder, "package-lock.json"), JSON.stringify(lockFile));
    const options = ["--omit=dev", "--package-lock-only", "--sbom-format=cyclonedx"];
    return execFileSync("npm", ["sbom", ...options], {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    });
  } finally {
    rmSync(parent, { recursive: true });
  }
}
