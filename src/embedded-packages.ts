import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "./errors.ts";

// Optional peers in package.json, which npm installs in a checkout only: with them, an installation
// of the loader weighs three times as much.
const packages = {
  database: ["@electric-sql/pglite", "@electric-sql/pglite-postgis", "@electric-sql/pglite-socket"],
  "object store": ["fauxqs"],
} as const;

/** What runs inside this process when it is asked for. */
export type EmbeddedServer = keyof typeof packages;

// The folder of package.json: above src in a checkout and above dist in the package.
const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/**
 * Stops a command that needs an embedded server whose packages are not installed.
 *
 * @throws UsageError with the command that installs them
 */
export function requireEmbedded(...servers: readonly EmbeddedServer[]): void {
  const command = installCommand(servers);
  if (command === undefined) return;
  throw new UsageError(`the embedded ${servers.join(" and ")} is not installed: run ${command}`);
}

/** The npm command that installs what the servers lack; undefined when they lack nothing. */
export function installCommand(servers: readonly EmbeddedServer[]): string | undefined {
  const missing = servers
    .flatMap((server) => packages[server])
    .filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  const { peerDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    peerDependencies: Record<string, string>;
  };
  const wanted = missing.map((name) => `${name}@${peerDependencies[name]}`);
  return ["npm", "install", ...placeOf(ROOT), ...wanted].map(quoted).join(" ");
}

/** The options with which npm installs where a program in the folder `root` finds it. */
export function placeOf(root: string): string[] {
  const modules = dirname(root);
  const home = dirname(modules);
  if (basename(modules) !== "node_modules") {
    // A checkout or the image. Development tools stay out, and package.json stays as it is.
    return ["--no-save", "--save-prod", "--omit=dev", "--prefix", root];
  }
  const isGlobal = basename(home) === "lib" && !existsSync(join(home, "package.json"));
  return isGlobal ? ["--global", "--prefix", dirname(home)] : ["--prefix", home];
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") {
      return false;
    }
    throw error;
  }
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
