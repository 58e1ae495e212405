import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createDatabase } from "../harness/postgres.ts";

const database = await createDatabase({ after });

test("plpgsql_check finds no fault in any function", async (t) => {
  const { rowCount: isAvailable } = await database.pool.query(
    "select from pg_available_extensions where name = 'plpgsql_check'",
  );
  if (!isAvailable) {
    t.skip("this server does not have the extension plpgsql_check");
    return;
  }
  await database.pool.query("create extension plpgsql_check schema public");
  const { rows: checked } = await database.pool.query(
    `select p.oid::regprocedure::text as signature, coalesce(g.tgrelid, 0) as relation
     from pg_proc as p
     join pg_language as l on l.oid = p.prolang and l.lanname = 'plpgsql'
     left join pg_trigger as g on g.tgfoid = p.oid
     where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
     order by 1, 2`,
  );
  assert.notEqual(checked.length, 0);
  const faults: unknown[] = [];
  for (const { signature, relation } of checked) {
    const { rows } = await database.pool.query(
      `select $1::text as signature, c.lineno, c.level, c.message, c.detail
       from public.plpgsql_check_function_tb($1::regprocedure, $2::oid) as c
       where c.level in ('error', 'warning')`,
      [signature, relation],
    );
    faults.push(...rows);
  }
  assert.deepEqual(faults, []);
});
