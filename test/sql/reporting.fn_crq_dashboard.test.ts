import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createDatabase } from "../harness/postgres.ts";
import { dashboard, ids, insertTicket } from "./reading.ts";
import { freezeTime, ownError } from "./staging.ts";

const database = await createDatabase({ after });

test("it is the dashboard of CRQ, held to the target of CRQ", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    const here = { latitude: "-1.292066", longitude: "36.821945" };
    const opened = { created_at_service: "2026-06-12 09:00:00" };
    await insertTicket(client, "INC1", { ...here, ...opened });
    await insertTicket(client, "CRQ1", { ...here, ...opened }, "crq");
    const { metrics, open, filters } = await dashboard(client, {}, "crq");
    assert.equal(filters["dataset"], "crq");
    assert.deepEqual(ids(open), ["CRQ1"]);
    assert.deepEqual([metrics["open_within"], metrics["open_breached"]], [1, 0]);
    const inc = await dashboard(client);
    assert.deepEqual([inc.metrics["open_within"], inc.metrics["open_breached"]], [0, 1]);
  }));

test("it takes the arguments that the one of INC takes, and refuses the same", () =>
  database.rolledBack(async (client) => {
    const args = {
      p_cluster: "Karen",
      p_status: "Assigned",
      p_window: "24h",
      p_from: "2026-06-01 00:00+03",
      p_to: "2026-06-02 00:00+03",
    };
    const [crq, inc] = [await dashboard(client, args, "crq"), await dashboard(client, args)];
    assert.deepEqual({ ...crq.filters, dataset: "inc" }, inc.filters);
    await assert.rejects(dashboard(client, { p_window: "7" }, "crq"), ownError("TK031"));
  }));
