import { type AccessFacts, byHand } from "./api/diagnose.ts";
import { type Check, failed, ok, warning } from "./check.ts";
import { exitCodes } from "./errors.ts";

const DEPLOY = "see docs/how-to/deploy.md, Who may do what";

/** Looks at who has more rights than the program needs: the schema's owner, and everybody. */
export function examineAccess(facts: AccessFacts): Check[] {
  return [examineOwner(facts), examinePublic(facts), examineSettings(facts)];
}

function examineOwner({ owner, owner_is_superuser }: AccessFacts): Check {
  if (!owner_is_superuser) return ok("owner", `the schema belongs to ${owner}`);
  return warning("owner", ownerFinding(owner), ownerCure);
}

/** What `migrate` and `doctor` say of an owner who may do everything on the server. */
export function ownerFinding(owner: string): string {
  return `the schema belongs to ${owner}, a superuser, as whom its functions run`;
}

export const ownerCure = `Give it an owner of its own: ${DEPLOY}`;

function examinePublic({ public_rights }: AccessFacts): Check {
  if (public_rights.length === 0) return ok("rights of all", "none in this database");
  return warning(
    "rights of all",
    `every role of the server has ${public_rights.map(({ right, target }) => `${right} on ${target}`).join(", ")}`,
    `As the owner: ${public_rights.map(({ right, target }) => byHand.revoke(right, target)).join("; ")}`,
  );
}

function examineSettings({ clock, database }: AccessFacts): Check {
  if (clock === null) return ok("test clock", "not set");
  return failed(
    "test clock",
    exitCodes.database,
    `tickets.now is set to ${clock}: it stops the clock of the owner's sessions`,
    `As the owner: ${byHand.resetClock(database)}; or unset it for the role, or in PGOPTIONS`,
  );
}
