/** What the planner makes of the statements inside a function. */

import assert from "node:assert/strict";
import type { ClientBase } from "pg";

export interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  Plans?: PlanNode[];
  [property: string]: unknown;
}

/** Runs a statement, and returns the plans of all statements that the functions in it ran. */
export async function plansWithin(
  client: ClientBase,
  statement: string,
  values: unknown[] = [],
): Promise<PlanNode[]> {
  const plans: PlanNode[] = [];
  const listen = ({ message }: { message?: string | undefined }) => {
    const json = /^duration: .* plan:\n(\{.*\})$/s.exec(message ?? "")?.[1];
    if (json !== undefined) plans.push((JSON.parse(json) as { Plan: PlanNode }).Plan);
  };
  await client.query(`load 'auto_explain'`);
  for (const [name, value] of [
    ["auto_explain.log_min_duration", "0"],
    ["auto_explain.log_nested_statements", "on"],
    ["auto_explain.log_format", "json"],
    ["auto_explain.log_level", "notice"],
  ]) {
    await client.query("select set_config($1, $2, true)", [name, value]);
  }
  client.on("notice", listen);
  try {
    await client.query(statement, values);
  } finally {
    client.off("notice", listen);
    await client.query("set local auto_explain.log_min_duration = -1");
  }
  assert.notEqual(plans.length, 0);
  return plans;
}

/** The node and all below it. */
export function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}
