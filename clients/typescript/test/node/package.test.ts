/** What is shipped: how large it is in a page, what is in it, what it exports. */

import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as tagwire from "@tagwire/client";
import { expect } from "chai";
import { build } from "esbuild";
import * as tags from "../../src/tags.js";
import { ROOT } from "../support/server.js";

const HERE = fileURLToPath(new URL("../../../", import.meta.url));
const KIB = 1024;

/** A program as a page gets it. */
async function page(contents: string): Promise<{ text: string; min: number; gzip: number }> {
  const result = await build({
    stdin: { contents, resolveDir: `${HERE}dist` },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  const text = result.outputFiles[0]?.text ?? "";
  return { text, min: Buffer.byteLength(text), gzip: gzipSync(text).length };
}

const CLIENT = `
  import { connect } from "@tagwire/client";
  import { ChatSchema, SCHEMA } from "./gen/arena/index.js";
  const client = await connect(location.host, { username: "p1", password: "welcome", schema: SCHEMA });
  await client.send(ChatSchema, { text: "hello" });
  for await (const message of client) console.log(message);
`;

describe("the package", () => {
  it("is no larger in a page than it says", async () => {
    const { min, gzip } = await page(CLIENT);
    const sizes = `${(min / KIB).toFixed(1)} KiB minified, ${(gzip / KIB).toFixed(1)} KiB gzipped`;
    console.log(`    a page that connects, sends and receives: ${sizes}`);
    // With protobuf-es, which is more than half of it.
    expect(min, sizes).to.be.below(140 * KIB);
    expect(gzip, sizes).to.be.below(44 * KIB);
  });

  it("has nothing of Node in a page", async () => {
    const { text } = await page(CLIENT);
    expect(text).not.to.match(/node:|require\(|createSecureContext/);
  });

  it("leaves out what a program does not use", async () => {
    const { text, min } = await page(`
      import { encode } from "@tagwire/client/frame";
      console.log(encode(2, new Uint8Array()));
    `);
    expect(min, text).to.be.below(KIB);
    const unused = await page('import { connect, Schema } from "@tagwire/client"; import "./gen/arena/index.js";');
    expect(unused.min).to.be.below(100);
  });

  it("exports what it says, and no more", () => {
    expect(Object.keys(tagwire).sort()).to.deep.equal(
      [
        ..."AddressError Batch BufferFull Client CloseCode ConnectError ConnectionClosed LoginRefused".split(" "),
        ..."MemberChange MemberChanged NoticeReason Noticed Pinged Reconnected Reconnecting".split(" "),
        ..."RequestFailed RequestTimeout RoomEnded Schema SchemaMismatch Service Status SyncClient".split(" "),
        ..."TagwireError VERSION Verdict closeCodeName connect connectSync describeClosed".split(" "),
        ..."describeNotice isRetryable".split(" "),
      ].sort(),
    );
  });

  it("has one version, one dependency, and a lock that names no registry", async () => {
    const own = JSON.parse(await readFile(`${HERE}package.json`, "utf8")) as Record<string, unknown>;
    expect(own["version"]).to.equal(tagwire.VERSION);
    expect(own["dependencies"]).to.deep.equal({ "@bufbuild/protobuf": "2.17.0" });
    for (const version of Object.values(own["devDependencies"] as object)) expect(version).to.match(/^\d+\.\d+\.\d+$/);
    expect(await readFile(`${HERE}package-lock.json`, "utf8")).not.to.match(/"resolved"/);
  });

  it("imports Node in the files for Node alone", async () => {
    for (const name of await readdir(`${HERE}src`)) {
      if (!name.endsWith(".ts")) continue;
      const text = await readFile(`${HERE}src/${name}`, "utf8");
      const forNode = ["platform_node.ts", "sockets.ts", "tcp.ts", "tls.ts"].includes(name);
      expect(/from "(node:|ws")/.test(text), name).to.equal(forNode);
    }
  });
});

describe("tags", () => {
  it("are those of the .proto files", async () => {
    const found = new Map<string, number>();
    const sizes = new Map<string, number>();
    for (const name of ["session", "room"]) {
      const text = await readFile(`${ROOT}proto/tagwire/v1/${name}.proto`, "utf8");
      for (const [, message, tag, rest] of text.matchAll(
        /message (\w+) \{\s+option \(tagwire\.v1\.rules\) = \{ tag: (\d+)(.*)\}/g,
      )) {
        const constant = (message ?? "").replace(/(?!^)[A-Z]/g, "_$&").toUpperCase();
        found.set(constant, Number(tag));
        const size = /max_bytes: (\d+)/.exec(rest ?? "")?.[1];
        if (size) sizes.set(constant, Number(size));
      }
    }
    const numbers = Object.entries(tags).filter(
      ([name, value]) => typeof value === "number" && !name.startsWith("MAX"),
    );
    expect(new Map(numbers)).to.deep.equal(found);
    expect(sizes.get("PLAYER_LOGIN")).to.equal(tags.MAX_LOGIN_BYTES);
    expect(sizes.get("SCHEMA_OFFER")).to.equal(tags.MAX_OFFER_BYTES);
  });
});
