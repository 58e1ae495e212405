import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Scope } from "./scope.ts";

/** A certificate and its key, as files and as text, both in PEM format. */
export interface Certificate {
  certFile: string;
  keyFile: string;
  cert: string;
  key: string;
}

export interface Authority extends Certificate {
  /**
   * Signs a certificate.
   *
   * @param names what it is for, as openssl writes it: `IP:127.0.0.1`, `DNS:db.example`
   */
  sign(subject: string, names?: string): Certificate;
}

/** An authority of its own, made with openssl, whose files go at the end of `scope`. */
export function createAuthority(scope: Scope): Authority {
  const folder = mkdtempSync(join(tmpdir(), "fleettickets-certificates-"));
  scope.after(() => rm(folder, { recursive: true }));
  let made = 0;

  function openssl(...args: string[]): void {
    execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  }

  function make(subject: string, ...more: string[]): Certificate {
    made += 1;
    const [certFile, keyFile] = [join(folder, `${made}.crt`), join(folder, `${made}.key`)];
    openssl(
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-subj", `/CN=${subject}`, "-keyout", keyFile, "-out", certFile],
      ...more,
    );
    const [cert, key] = [readFileSync(certFile, "utf8"), readFileSync(keyFile, "utf8")];
    return { certFile, keyFile, cert, key };
  }

  const root = make("Authority of a test", "-addext", "keyUsage=critical,keyCertSign");
  return {
    ...root,
    sign(subject, names = "DNS:nobody.example") {
      const { certFile, keyFile, key } = make(subject);
      const [request, extensions] = [join(folder, "request"), join(folder, "extensions")];
      writeFileSync(extensions, `subjectAltName=${names}\nbasicConstraints=CA:FALSE\n`);
      openssl("x509", "-x509toreq", "-in", certFile, "-signkey", keyFile, "-out", request);
      openssl(
        ...["x509", "-req", "-in", request, "-days", "2", "-extfile", extensions],
        ...["-CA", root.certFile, "-CAkey", root.keyFile, "-CAcreateserial", "-out", certFile],
      );
      return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key };
    },
  };
}
