/** Each program in the README runs, against the real server, and prints what it says. */

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "chai";
import { transform } from "esbuild";
import { Server } from "../support/server.js";

const DIST = fileURLToPath(new URL("../../", import.meta.url));
const EXPECTED = [
  /^player1: hello\n$/,
  /^player9: hello\n$/,
  /^lobby 0\nround trip [\d.]+ ms, the server's clock says 20\d\d-.*Z\nclosed by this client: NORMAL \(0\)\n$/,
  /^dropped: arena\.v1\.Chat RATE_LIMITED\n$/,
  /^0\nILLEGAL you stand still\n$/,
  /^0\ncoins\.v1\.DashRequest was answered with ILLEGAL: you stand still\n$/,
  /^player14\n$/,
  /^login refused: .* the dev password is 'welcome' .*\nLOGIN_REFUSED password false\n$/,
  /^attempt 1: .*\nthe session goes on\nhello\n$/,
  /^player5: hello, lobby\n$/,
];

const readme = await readFile(fileURLToPath(new URL("../../../README.md", import.meta.url)), "utf8");
const programs = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, program]) => program ?? "");

describe("the README", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(DIST, "readme-"));
  });

  after(() => rm(folder, { recursive: true }));

  it("has as many programs as are run here", () => {
    expect(programs.length).to.equal(EXPECTED.length);
  });

  for (const [number, expected] of EXPECTED.entries()) {
    it(`has a program that prints ${String(expected)}`, async () => {
      const text = programs[number] ?? "";
      const secure = text.includes("s://");
      const program = text.includes("gen/coins") ? "TAGWIRE_ARENA_EXAMPLE" : "TAGWIRE_SERVER";
      const server = await Server.start(secure ? ["--tls", "self-signed"] : [], program);
      try {
        const { code } = await transform(
          text
            .replace("localhost:7777", `localhost:${server.port}`)
            .replace(/sha256:[0-9a-f]{64}/, /sha256:[0-9a-f]{64}/.exec(server.log)?.[0] ?? "")
            .replace("./gen/arena", "../gen/arena")
            .replace("./gen/coins", "../test/gen/coins")
            // Where the text has it, the network does fail.
            .replace("// here the network fails", 'client.wire.line.connection.lose("the cable is out");'),
          { loader: "ts", format: "esm" },
        );
        const path = join(folder, `${number}.mjs`);
        await writeFile(path, code);
        const run = await promisify(execFile)(process.execPath, ["--unhandled-rejections=strict", path], {
          timeout: 15_000,
        });
        expect(run.stdout).to.match(expected);
        expect(run.stderr).to.equal("");
      } finally {
        await server.stop();
      }
    });
  }
});
