// An S3 server in a process of its own: what is measured of the loader holds nothing of it. Prints
// its address, and ends with its input.

import { buildApp } from "fauxqs";

const app = buildApp({ logger: false });
const address = await app.listen({ host: "127.0.0.1", port: 0 });
process.stdout.write(`${address}\n`);
process.stdin.resume().once("end", () => process.exit(0));
