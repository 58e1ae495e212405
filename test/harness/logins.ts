import { randomBytes } from "node:crypto";
import { Client, escapeLiteral } from "pg";
import type { Scope } from "./scope.ts";

/**
 * A user of the test server, gone at the end of `scope`.
 *
 * @param url of a database on the server, by way of a user who may create roles
 * @param attributes what stands behind CREATE ROLE … LOGIN, for example `in role reader`
 * @returns the address of the database for the new user
 */
export async function createLogin(
  scope: Scope,
  url: string,
  { attributes = "", password = randomBytes(12).toString("hex") } = {},
): Promise<string> {
  const name = `fleettickets_test_${randomBytes(6).toString("hex")}`;
  await onServer(
    url,
    `create role ${name} login password ${escapeLiteral(password)} ${attributes}`,
  );
  // By then, the database of the test is gone.
  const serverUrl = process.env["TEST_SERVER_URL"] ?? url;
  scope.after(() => onServer(serverUrl, `drop role ${name}`));
  const address = new URL(url);
  address.username = name;
  address.password = encodeURIComponent(password);
  return address.href;
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}
