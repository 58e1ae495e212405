import { ownerCure, ownerFinding } from "../access.ts";
import { accessFacts, byHand, missingRoles } from "../api/diagnose.ts";
import { embeddedFolder, findDatabase, withDatabase } from "../database.ts";
import { exitCodes } from "../errors.ts";
import { migrate } from "../migrate.ts";
import { print, printJson } from "../output.ts";
import { type CommonFlags, runCommand } from "../session.ts";

/** `fleettickets migrate` */
export function migrateCommand(flags: CommonFlags): Promise<void> {
  return runCommand(flags, ["database"], async ({ config, log }) => {
    await migrate(await findDatabase(config.databaseUrl, config.limits), log);
    for (const role of await withDatabase(config, missingRoles)) {
      const hint = `Let an administrator say: ${byHand.createRole(role)}; then run this again`;
      log.warn({ role, hint }, "role left out: this user may not create roles");
    }
    // The embedded database has one user.
    if (embeddedFolder(config.databaseUrl) === undefined) {
      const { owner, owner_is_superuser } = await withDatabase(config, accessFacts);
      if (owner_is_superuser) log.warn({ owner, hint: ownerCure }, ownerFinding(owner));
    }
    if (flags.json === true) printJson({ migrated: true, exit_code: exitCodes.done });
    else print("The schema is up to date.");
    return exitCodes.done;
  });
}
