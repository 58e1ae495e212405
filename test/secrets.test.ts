import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { excerpt, keepSecret, withoutSecrets } from "../src/secrets.ts";

// Every sign of ASCII, and what UTF-8 has more than one byte for.
const secret = `pa '!()*~ss/+?&=#%;:@<w>"o\\r$d,é€😀x`;
keepSecret(secret);
const html: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const formEncoded = new URLSearchParams({ secret }).toString().slice("secret=".length);
const inHtml = secret.replace(/[&<>"']/g, (sign) => html[sign] ?? sign);

describe("a secret is struck out", () => {
  for (const [how, text] of Object.entries({
    "as it is": secret,
    "as encodeURIComponent writes it": encodeURIComponent(secret),
    "as URLSearchParams writes it": formEncoded,
    "as AWS writes it": formEncoded.replaceAll("+", "%20"),
    "with small letters in the escapes": formEncoded.replace(/%../g, (code) => code.toLowerCase()),
    "encoded for an address twice": encodeURIComponent(formEncoded),
    "as encodeURI writes it": encodeURI(secret),
    "as JSON": JSON.stringify(secret).slice(1, -1),
    "as JSON in JSON in JSON": JSON.stringify(JSON.stringify(JSON.stringify(secret))).slice(7, -7),
    "as JSON of ASCII alone": JSON.stringify(secret)
      .slice(1, -1)
      .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
    "as JSON with slashes escaped": JSON.stringify(secret).slice(1, -1).replaceAll("/", "\\/"),
    "as HTML": inHtml,
    "as HTML in HTML": inHtml.replaceAll("&", "&amp;"),
    "as XML of ASCII alone": secret.replace(
      /[^\w ]/gu,
      (sign) => `&#x${(sign.codePointAt(0) ?? 0).toString(16)};`,
    ),
    "in the quotes of SQL": secret.replaceAll("'", "''"),
    "in the quotes of CSV": secret.replaceAll('"', '""'),
    "in the quotes of a shell": secret.replaceAll("'", "'\\''"),
    "as UTF-8 read as Latin-1": Buffer.from(secret).toString("latin1"),
    "in hexadecimal digits": Buffer.from(secret).toString("hex"),
    "in capital hexadecimal digits": Buffer.from(secret).toString("hex").toUpperCase(),
  })) {
    test(how, () => {
      assert.equal(withoutSecrets(`<${text}>`), "<***>");
    });
  }

  for (const encoding of ["base64", "base64url"] as const) {
    test(`in ${encoding}, whatever stands before and behind it`, () => {
      for (const before of ["", "u", "us", "user:"]) {
        for (const behind of ["", "1", "12", "123"]) {
          const encoded = Buffer.from(before + secret + behind).toString(encoding);
          const rests = withoutSecrets(encoded).replace(/=+$/, "").split("***");
          assert.equal(rests.length, 2, encoded);
          // What is left belongs to the neighbours, a few bits aside.
          for (const [i, neighbour] of [before, behind].entries()) {
            const itsOwn = Math.ceil((neighbour.length * 8) / 6);
            assert.ok((rests[i] ?? "").length <= itsOwn, encoded);
          }
        }
      }
    });
  }

  test("as often as it is there, among others", () => {
    keepSecret("another secret");
    const text = `another+secret, ${encodeURIComponent(secret)}, ${secret}`;
    assert.equal(withoutSecrets(text), "***, ***, ***");
  });

  test("whole, where another secret is a part of it", () => {
    keepSecret("inner");
    keepSecret("an inner secret");
    assert.equal(withoutSecrets("an inner secret, inner"), "***, ***");
  });

  test("before the text is cut, so that no part of it is left", () => {
    for (let at = 0; at <= 40; at++) {
      const cut = excerpt("x".repeat(at) + secret, 40);
      assert.ok(!cut.includes("pa"), cut);
      assert.ok(cut.length <= 41, cut);
    }
    assert.equal(excerpt("short", 40), "short");
  });
});

test("what is no secret is left as it is", () => {
  for (const text of ["nothing to hide", "pa", "100 %", "a\\b", "&amp;", "cGE=", ""]) {
    assert.equal(withoutSecrets(text), text);
  }
});

test("a word is not taken for a secret because somebody's password is three letters long", () => {
  keepSecret("inc");
  assert.equal(withoutSecrets("inc: 3 files"), "inc: 3 files");
});

test("text that imitates a secret takes no long time to search", () => {
  keepSecret("%%%%\\\\\\\\&&&&''''");
  const imitations = ["%25", "%", "\\", "&amp;", "&", "'", "\\'", "%5c"];
  for (const imitation of imitations) {
    const text = imitation.repeat(5_000);
    const started = performance.now();
    withoutSecrets(text);
    // A search that grows with the square would take minutes.
    assert.ok(performance.now() - started < 10_000, imitation);
  }
});
