// What holds for every object of the schema, so that a new one is not forgotten.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ownErrors } from "../../src/errors.ts";
import { createDatabase } from "../harness/postgres.ts";

const database = await createDatabase({ after });

const migrations = fileURLToPath(new URL("../../migrations", import.meta.url));

interface SqlFile {
  name: string;
  text: string;
}

function sqlFiles(pattern: string): SqlFile[] {
  const names = globSync(pattern, { cwd: migrations }).sort();
  return names.map((name) => ({ name, text: readFileSync(join(migrations, name), "utf8") }));
}

const fixtures = sqlFiles("fixtures/**/*.sql");
const functionFixtures = sqlFiles("fixtures/functions/*.sql");
const allSql = [...fixtures, ...sqlFiles("committed/*.sql"), ...sqlFiles("current.sql")];

/** The one column of a query whose rows should not be there. */
async function offenders(query: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ offender: string }>(query);
  return rows.map(({ offender }) => offender);
}

/** The functions of ours, with what the catalogue says of them. */
async function ourFunctions() {
  const { rows } = await database.pool.query<{
    name: string;
    signature: string;
    volatility: string;
    is_definer: boolean;
    is_trigger: boolean;
    language: string;
    settings: string[];
    readers: string[];
  }>(
    `select n.nspname || '.' || p.proname as name,
       p.oid::regprocedure::text as signature,
       case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end
         as volatility,
       p.prosecdef as is_definer,
       p.prorettype = 'trigger'::regtype as is_trigger,
       (select l.lanname::text from pg_language as l where l.oid = p.prolang) as language,
       coalesce(p.proconfig, '{}') as settings,
       array(
         select coalesce(r.rolname, 'public')::text
         from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
         left join pg_roles as r on r.oid = a.grantee
         where a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner
         order by 1
       ) as readers
     from pg_proc as p
     join pg_namespace as n on n.oid = p.pronamespace
     where n.nspname in ('tickets', 'reporting')
     order by 1, 2`,
  );
  assert.notEqual(rows.length, 0);
  return rows;
}

test("every schema, table, view, sequence, column, function and type has a comment", async () => {
  const missing = await offenders(
    `with ours as (
       select n.oid, n.nspname from pg_namespace as n where n.nspname in ('tickets', 'reporting')
     )
     select format('schema %I', o.nspname) as offender
     from ours as o
     where obj_description(o.oid, 'pg_namespace') is null
     union all
     select format('relation %s', c.oid::regclass)
     from pg_class as c
     join ours as o on o.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
       and obj_description(c.oid, 'pg_class') is null
       -- The sequence of an identity column belongs to its column.
       and not exists (
         select from pg_depend as d
         where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i'
           and c.relkind = 'S'
       )
     union all
     -- A partition has its parent's columns, and a type says itself what its attributes are.
     select format('column %s.%I', c.oid::regclass, a.attname)
     from pg_class as c
     join ours as o on o.oid = c.relnamespace
     join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
       and col_description(c.oid, a.attnum) is null
     union all
     select format('function %s', p.oid::regprocedure)
     from pg_proc as p
     join ours as o on o.oid = p.pronamespace
     where obj_description(p.oid, 'pg_proc') is null
     union all
     select format('type %s', t.oid::regtype)
     from pg_type as t
     join ours as o on o.oid = t.typnamespace
     left join pg_class as c on c.oid = t.typrelid
     where t.typelem = 0 and (t.typtype <> 'c' or c.relkind = 'c')
       and obj_description(t.oid, 'pg_type') is null
     order by 1`,
  );
  assert.deepEqual(missing, []);
});

test("a comment is a sentence: it ends with a full stop", async () => {
  const broken = await offenders(
    `select d.description as offender
     from pg_description as d
     where (
         d.classoid = 'pg_class'::regclass
         and d.objoid in (
           select c.oid from pg_class as c
           where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
         )
         or d.classoid = 'pg_proc'::regclass
         and d.objoid in (
           select p.oid from pg_proc as p
           where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
         )
       )
       -- Martin reads JSON out of the comment of a tile function.
       and d.description !~ '(\\.|\\})$'
     order by 1`,
  );
  assert.deepEqual(broken, []);
});

test("each function has a file of its name, which says its volatility", async () => {
  const expected = (await ourFunctions()).map(({ name, volatility }) => ({ name, volatility }));
  const found = functionFixtures.map(({ name, text }) => ({
    name: basename(name, ".sql"),
    volatility: /\b(?:immutable|stable|volatile)\b/.exec(headOf(text))?.[0],
  }));
  const byName = (one: { name: string }, other: { name: string }) =>
    one.name < other.name ? -1 : 1;
  assert.deepEqual(found.sort(byName), expected.sort(byName));
});

/** What stands before a function's body. */
function headOf(text: string): string {
  return text.slice(0, text.indexOf("as $$"));
}

function bodyOf(text: string): string {
  const body = text.slice(text.indexOf("as $$"), text.lastIndexOf("$$;"));
  return body.replace(/\/\*.*?\*\/|--[^\n]*/gs, "").replace(/'(?:[^']|'')*'/g, "''");
}

test("what reads a table or the clock is not immutable, what writes or locks is volatile", () => {
  const reads = /\bfrom (?:tickets|reporting)\.\w+(?! ?\()|current_setting|\bnow\(\)|_now\(\)/;
  const writes =
    /\b(?:insert into|update tickets|delete from|truncate|set_config|nextval|lock table|pg_(?:try_)?advisory\w*)\b/;
  const wrong = functionFixtures.filter(({ text }) => {
    const volatility = /\b(?:immutable|stable|volatile)\b/.exec(headOf(text))?.[0];
    if (writes.test(bodyOf(text))) return volatility !== "volatile";
    return reads.test(bodyOf(text)) && volatility === "immutable";
  });
  assert.deepEqual(
    wrong.map(({ name }) => name),
    [],
  );
});

test("what generated columns are derived with is immutable", async () => {
  const wrong = await offenders(
    `select distinct p.oid::regprocedure::text as offender
     from pg_attrdef as a
     join pg_attribute as c on c.attrelid = a.adrelid and c.attnum = a.adnum
     join pg_depend as d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
       and d.refclassid = 'pg_proc'::regclass
     join pg_proc as p on p.oid = d.refobjid
     where c.attgenerated <> '' and p.provolatile <> 'i'`,
  );
  assert.deepEqual(wrong, []);
});

test("nobody but the owner may call a private function, nor the public any", async () => {
  const wrong = (await ourFunctions()).filter(
    ({ name, readers }) =>
      readers.includes("public") || (name.includes("._") && readers.length > 0),
  );
  assert.deepEqual(
    wrong.map(({ signature, readers }) => `${signature}: ${readers.join(", ")}`),
    [],
  );
});

test("who calls a public function of tickets is the loader, and never the reader", async () => {
  const functions = (await ourFunctions()).filter(({ name }) => /^tickets\.[^_]/.test(name));
  assert.deepEqual(
    functions.filter(({ readers }) => readers.includes("fleettickets_reader")),
    [],
  );
});

// An empty path, too, looks into pg_temp first for types and tables: it must be named, and last.
const SEARCH_PATH = "search_path=pg_catalog, pg_temp";

test("the search_path of a function ends with pg_temp; only what is inlined has none", async () => {
  const wrong = (await ourFunctions()).filter(
    ({ settings, language, is_definer, is_trigger }) =>
      !settings.includes(SEARCH_PATH) &&
      (language !== "sql" || is_definer || is_trigger || settings.length > 0),
  );
  assert.deepEqual(
    wrong.map(({ signature }) => signature),
    [],
  );
});

test("what has no search_path of its own cannot be reached with one of the caller's", async () => {
  const inlined = (await ourFunctions()).filter(({ settings }) => !settings.includes(SEARCH_PATH));
  assert.ok(inlined.length > 10);
  // Called by functions that have a path, and by the owner: nobody else may call them,
  assert.deepEqual(
    inlined.filter(({ readers }) => readers.length > 0),
    [],
  );
  // and no view, index, constraint or policy does so for others, nor a default that others use.
  const reached = await offenders(
    `select format('%s of %s', p.oid::regprocedure, pg_describe_object(d.classid, d.objid, 0))
       as offender
     from pg_proc as p
     join pg_depend as d on d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid
     where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and p.proconfig is null
       and not (
         d.classid = 'pg_attrdef'::regclass
         and exists (
           select from pg_attrdef as a
           join pg_class as c on c.oid = a.adrelid
           where a.oid = d.objid and not exists (
             select from aclexplode(c.relacl) as x
             where x.grantee <> c.relowner and x.privilege_type in ('INSERT', 'UPDATE')
           )
         )
       )
     order by 1`,
  );
  assert.deepEqual(reached, []);
});

test("the settings that a body reads are known, and none changes what its caller may do", async () => {
  const { rows } = await database.pool.query<{ setting: string }>(
    `with texts as (
       select p.prosrc as text from pg_proc as p
       where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       union all
       select pg_get_viewdef(c.oid) from pg_class as c
       where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
         and c.relkind = 'v'
       union all
       select pg_get_expr(a.adbin, a.adrelid) from pg_attrdef as a
       join pg_class as c on c.oid = a.adrelid
       where c.relnamespace = 'tickets'::regnamespace
       union all
       select pg_get_constraintdef(c.oid) from pg_constraint as c
       where c.connamespace = 'tickets'::regnamespace
       union all
       select pg_get_triggerdef(g.oid) from pg_trigger as g
       join pg_class as c on c.oid = g.tgrelid
       where c.relnamespace = 'tickets'::regnamespace
     )
     select distinct m[1] as setting
     from texts as t
     cross join regexp_matches(t.text, '(?:current_setting|set_config)\\(\\s*''([a-z_.]+)''', 'g') as m
     order by 1`,
  );
  // Each has a test in test/attack.test.ts, but for that which the server has.
  assert.deepEqual(
    rows.map(({ setting }) => setting),
    [
      "tickets.now",
      "tickets.object_key",
      "tickets.source_key",
      "tickets.triggers_are_spared_in",
      "transaction_isolation",
    ],
  );
});

test("after the migrations alone, without the grants, nobody may call a function", () => {
  // New functions are everybody's until somebody says otherwise.
  const last = sqlFiles("committed/*.sql").at(-1);
  assert.match(
    last?.text ?? "",
    /revoke all on all functions in schema tickets, reporting from public;\s*$/,
  );
});

test("the roles of ours own nothing, and the objects of ours have one owner", async () => {
  const { rows } = await database.pool.query(
    `select array_agg(distinct o.owner::regrole::text) = array[current_user::text] as is_one
     from (
       select n.nspowner as owner from pg_namespace as n where n.nspname in ('tickets', 'reporting')
       union all
       select c.relowner from pg_class as c
       where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       union all
       select p.proowner from pg_proc as p
       where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       union all
       select t.typowner from pg_type as t
       where t.typnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
     ) as o`,
  );
  assert.deepEqual(rows, [{ is_one: true }]);
});

test("a private function does not run as its owner by itself, triggers excepted", async () => {
  const wrong = (await ourFunctions()).filter(
    ({ name, is_definer, is_trigger }) => name.includes("._") && is_definer && !is_trigger,
  );
  assert.deepEqual(
    wrong.map(({ signature }) => signature),
    [],
  );
});

test("the public has no right on anything of ours", async () => {
  const granted = await offenders(
    `select format('%s %s on %s', a.kind, a.privilege_type, a.name) as offender
     from (
       select 'schema' as kind, n.nspname::text as name, x.grantee, x.privilege_type
       from pg_namespace as n
       cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as x
       where n.nspname in ('tickets', 'reporting')
       union all
       select 'relation', c.oid::regclass::text, x.grantee, x.privilege_type
       from pg_class as c
       cross join aclexplode(
         coalesce(
           c.relacl,
           acldefault((case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner)
         )
       ) as x
       where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
         and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
     ) as a
     where a.grantee = 0
     order by 1`,
  );
  assert.deepEqual(granted, []);
});

test("staging tables are unlogged, and nothing else is", async () => {
  const { rows } = await database.pool.query(
    `select c.oid::regclass::text as name
     from pg_class as c
     where c.relnamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
       and c.relkind in ('r', 'S') and c.relpersistence = 'u'
     order by 1`,
  );
  assert.deepEqual(rows, [{ name: "tickets.crq_staging" }, { name: "tickets.inc_staging" }]);
});

test("keys and ticket numbers compare by their bytes, whatever the database's locale", async () => {
  const wrong = await offenders(
    `select format('%s.%I', c.oid::regclass, a.attname) as offender
     from pg_class as c
     join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = 'tickets'::regnamespace
       and (c.relkind in ('r', 'p') or c.oid = 'tickets.file_version'::regclass)
       and a.attname in ('source_key', 'previous_source_key', 'ticket_id', 'etag')
       and a.attcollation <> 'pg_catalog."C"'::regcollation
       -- In staging it is a text like the others.
       and not (c.relname like '%staging' and a.attname = 'ticket_id')
     order by 1`,
  );
  assert.deepEqual(wrong, []);
});

test("every dataset has its partition of tickets, staging and snapshot", async () => {
  const { rows: datasets } = await database.pool.query<{ dataset: string }>(
    "select d.dataset from tickets.datasets as d",
  );
  const { rows } = await database.pool.query<{ name: string }>(
    `select i.inhrelid::regclass::text as name
     from pg_inherits as i
     join pg_class as c on c.oid = i.inhparent and c.relkind = 'p'
     where c.relnamespace = 'tickets'::regnamespace
     order by 1`,
  );
  assert.deepEqual(
    rows.map(({ name }) => name),
    datasets
      .flatMap(({ dataset }) => [dataset, `${dataset}_staging`, `${dataset}_daily_snapshot`])
      .map((name) => `tickets.${name}`)
      .sort(),
  );
});

test("constraints have names of their own", async () => {
  const unnamed = await offenders(
    `select format('%s: %s', c.conrelid::regclass, c.conname) as offender
     from pg_constraint as c
     where c.connamespace = 'tickets'::regnamespace and c.contype = 'c'
       and c.conname ~ '_check[0-9]*$'`,
  );
  assert.deepEqual(unnamed, []);
});

test("lines of fixtures have at most 100 columns", () => {
  const long = fixtures.flatMap(({ name, text }) =>
    text.split("\n").flatMap((line, index) => (line.length > 100 ? [`${name}:${index + 1}`] : [])),
  );
  assert.deepEqual(long, []);
});

test("fixtures end with one line feed and hold no tab, no carriage return, no blank at an end", () => {
  const wrong = fixtures.filter(
    ({ text }) => /[\t\r]| \n|\n\n$/.test(text) || !text.endsWith("\n"),
  );
  assert.deepEqual(
    wrong.map(({ name }) => name),
    [],
  );
});

test("every SQLSTATE of our own that SQL raises is documented, and the other way round", () => {
  const raised = allSql.flatMap(({ text }) =>
    [...text.matchAll(/errcode = '(TK\d+)'/g)].map(([, code]) => code ?? ""),
  );
  // Those from TK100 on are raised before the database sees a file.
  const documented = Object.keys(ownErrors).filter((code) => code < "TK100");
  assert.deepEqual([...new Set(raised)].sort(), documented.sort());
});

test("each error of our own has a message, the facts and the next step", () => {
  const incomplete = allSql.flatMap(({ name, text }) =>
    [...text.matchAll(/raise exception using\s+(.*?);\n/gs)]
      .map(([, options = ""]) => options)
      .filter((options) => !/errcode = .*message = .*detail = .*hint = /s.test(options))
      .map((options) => `${name}: ${options}`),
  );
  assert.deepEqual(incomplete, []);
});

test("no function hides what went wrong: none catches others", () => {
  const wrong = fixtures.filter(({ text }) => /when others\b/i.test(text));
  assert.deepEqual(
    wrong.map(({ name }) => name),
    [],
  );
});
