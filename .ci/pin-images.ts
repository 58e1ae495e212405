// Pins the images of the Dockerfile and of compose.yaml to the digests that their tags have now:
//
//   node .ci/pin-images.ts
//
// Needs docker with buildx, and the registry. Run it before a release and commit what it writes.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const IMAGE = /(?<=^FROM |^ +image: )([\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]+)?/gm;

for (const file of ["Dockerfile", "compose.yaml"]) {
  const text = readFileSync(file, "utf8");
  writeFileSync(
    file,
    text.replaceAll(IMAGE, (_, tag: string) => `${tag}@${digestOf(tag)}`),
  );
}

function digestOf(tag: string): string {
  const inspect = ["buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", tag];
  const manifest = execFileSync("docker", inspect, { encoding: "utf8" });
  const { digest } = JSON.parse(manifest) as { digest?: string };
  if (digest === undefined || !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    throw new Error(`docker tells no digest of ${tag}: ${manifest}`);
  }
  return digest;
}
