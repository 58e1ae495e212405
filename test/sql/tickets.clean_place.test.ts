import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";

const database = await createDatabase({ after });

/** Locations as the source writes them, and the place that each names. */
const places: Readonly<Record<string, string | null>> = {
  "NW_KILIMANI_FDT12 Argwings Kodhek Rd": "KILIMANI Argwings Kodhek Rd",
  "ADR_MNT_Rongai SDUS": "Rongai",
  "_FDT274 Argwings Kodhek Rd": "Argwings Kodhek Rd",
  "_FDT40 SDUS Limuru Rd": "Limuru Rd",
  "NW_EMBAKASI_FDT45 Garden Estate": "EMBAKASI Garden Estate",
  'ADR_MNT_WESTLANDS Plot 12 "The Palms"': 'WESTLANDS Plot 12 "The Palms"',
  "NW_LANGATA Café Deli, Ngong Rd": "LANGATA Café Deli, Ngong Rd",
  "Utawala – Benedicta": "Utawala – Benedicta",
  "Yaya Centre": "Yaya Centre",
  // Codes one after the other, in any case, with any separator.
  NW_ADR_MNT_FDT1_SDUS_Ruaka: "Ruaka",
  "nw_adr_mnt_ruaka fdt7 sdus": "ruaka",
  "Ruaka-SDUS": "Ruaka-",
  "Ruaka/FDT12/FDT13": "Ruaka/ /",
  "  many \t blanks__and _ underscores\r\n": "many blanks and underscores",
  // What only looks like a code.
  "NW Avenue": "NW Avenue",
  KNW_PARK: "KNW PARK",
  "FDT Plaza": "FDT Plaza",
  FDT12B: "FDT12B",
  XFDT12: "XFDT12",
  SDUSA: "SDUSA",
  "Exit 9": "Exit 9",
  // Nothing left.
  "": null,
  " _ ": null,
  NW_: null,
  "NW_FDT12 SDUS": null,
};

test("a place is a location without network codes, joined by single blanks", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await cleaned(client, Object.keys(places)), places);
  }));

test("a location that is not there names no place", () =>
  database.rolledBack(async (client) => {
    const { rows } = await client.query("select tickets.clean_place(null) as place");
    assert.deepEqual(rows, [{ place: null }]);
  }));

test("the codes are data", () =>
  database.rolledBack(async (client) => {
    const location = "NW_Ruaka ODF-7";
    await client.query(
      "insert into tickets.place_codes (code, pattern) values ('ODF-<n>', 'ODF-[0-9]+')",
    );
    assert.deepEqual(await cleaned(client, [location]), { [location]: "Ruaka" });
    await client.query("delete from tickets.place_codes");
    assert.deepEqual(await cleaned(client, [location]), { [location]: "NW Ruaka ODF-7" });
  }));

test("a code that is no regular expression is refused at once", () =>
  database.rolledBack(async (client) => {
    await assert.rejects(
      client.query("insert into tickets.place_codes (code, pattern) values ('(', '(')"),
      { code: "2201B" },
    );
  }));

async function cleaned(client: ClientBase, locations: readonly string[]) {
  const { rows } = await client.query<{ location: string; place: string | null }>(
    "select l as location, tickets.clean_place(l) as place from unnest($1::text[]) as l",
    [locations],
  );
  return Object.fromEntries(rows.map(({ location, place }) => [location, place]));
}
