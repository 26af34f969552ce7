/** The client against the real server, over every kind of connection. */

import { execFileSync } from "node:child_process";
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer as createHttp } from "node:http";
import { connect as connectTcp, createServer as createTcp, type AddressInfo, type Server as TcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AddressError,
  CloseCode,
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  MemberChange,
  MemberChanged,
  Noticed,
  NoticeReason,
  Reconnected,
  RequestFailed,
  Status,
  Verdict,
  connect,
  connectSync,
  type Client,
  type ConnectOptions,
  type Tls,
} from "@tagwire/client";
import { expect } from "chai";
import { ChatSchema, SCHEMA } from "../../gen/arena/index.js";
import { Schema } from "../../src/schema.js";
import { Arena, BestRequestSchema, SCHEMA as COINS, Scores, SteerSchema, WorldSchema } from "../gen/coins/index.js";
import { ROOT, Server } from "../support/server.js";
import { failure } from "../support/virtual.js";

const KINDS = ["tagwire", "ws", "tagwires", "wss"] as const;
type Kind = (typeof KINDS)[number];

const QUICK = { firstDelay: 20, maxDelay: 100 };
const open: { close(): Promise<void> }[] = [];
const servers: Server[] = [];

/** A server with a certificate of its own, whose fingerprint it prints. */
class Doors {
  private constructor(
    readonly server: Server,
    readonly pin: string,
  ) {}

  static async start(...args: string[]): Promise<Doors> {
    const server = await started("--tls", "self-signed", ...args);
    const pin = /sha256:[0-9a-f]{64}/.exec(server.log)?.[0];
    if (!pin) throw new Error(`no fingerprint is printed:\n${server.log}`);
    return new Doors(server, pin);
  }

  address(kind: Kind): string {
    return `${kind}://localhost:${this.server.port}`;
  }

  tls(kind: Kind): { tls?: Tls } {
    return kind === "tagwires" || kind === "wss" ? { tls: { pin: this.pin } } : {};
  }

  async connect(kind: Kind, name: string, options: Partial<ConnectOptions> = {}): Promise<Client> {
    const all = { username: name, password: "welcome", schema: SCHEMA, ...this.tls(kind), ...options };
    const client = await connect(this.address(kind), all);
    open.push(client);
    return client;
  }
}

async function started(...args: string[]): Promise<Server> {
  const server = await Server.start(args);
  servers.push(server);
  return server;
}

async function until(condition: () => boolean, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What a client hears of the chat. */
function heard(client: Client): string[] {
  const texts: string[] = [];
  client.on(ChatSchema, ({ text }) => texts.push(text));
  client.run().catch((error: unknown) => texts.push(String(error)));
  return texts;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()));
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

for (const kind of KINDS) {
  describe(`over ${kind}://`, () => {
    it("players meet in a room, and leave", async () => {
      const doors = await Doors.start();
      const one = await doors.connect(kind, "one");
      const two = await doors.connect("tagwire", "two");
      const texts = heard(two);
      const changes: string[] = [];
      two.on(MemberChanged, ({ member, change }) => changes.push(`${member.name} ${MemberChange[change]}`));
      expect(one.verdict).to.equal(Verdict.SAME);
      await one.send(ChatSchema, { text: "hello" });
      await until(() => texts.length === 1);
      expect(await one.join("hall")).to.equal("hall");
      await until(() => changes.includes("one LEFT"));
      await two.join("hall");
      await one.nextPing();
      await one.nextPing();
      expect(one.rtt).to.be.within(0, 1000);
      expect(Math.abs(one.serverTime() - Date.now())).to.be.below(1000);
      await one.close();
      await until(() => changes.filter((change) => change === "one LEFT").length === 2);
      expect(one.closed).to.include({ code: CloseCode.NORMAL, byPeer: false });
      expect(texts).to.deep.equal(["hello"]);
    });

    it("a session goes on after its socket was killed", async () => {
      const doors = await Doors.start();
      const anna = await doors.connect(kind, "anna", { reconnect: QUICK });
      const returns: boolean[] = [];
      anna.on(Reconnected, ({ resumed }) => returns.push(resumed));
      const texts = heard(anna);
      for (let number = 0; number < 3; number += 1) {
        await anna.send(ChatSchema, { text: String(number) });
        anna.wire.line.connection.lose("killed by the test");
        await until(() => returns.length === number + 1 && !anna.reconnecting);
        await until(() => texts.length === number + 1);
      }
      expect(texts).to.deep.equal(["0", "1", "2"]);
      expect(returns).to.deep.equal([true, true, true]);
    });

    it("close codes come from the server", async () => {
      const doors = await Doors.start();
      const anna = await doors.connect(kind, "anna", { reconnect: false });
      const again = await doors.connect("tagwire", "anna", { reconnect: false });
      await until(() => anna.closed !== undefined);
      expect(anna.closed).to.include({ code: CloseCode.REPLACED, byPeer: true });
      const error = await failure(anna.run());
      expect(error).to.be.instanceOf(ConnectionClosed);
      doors.server.terminate();
      await until(() => again.closed !== undefined);
      expect(again.closed).to.include({ code: CloseCode.SHUTDOWN, byPeer: true, retryAfter: 1000 });
      const refused = await failure(
        connect(doors.address(kind), { username: "x", schema: SCHEMA, ...doors.tls(kind) }),
      );
      expect(refused).to.be.instanceOf(ConnectError);
    });

    it("a refused login says which part it was", async () => {
      const doors = await Doors.start();
      const refused = await failure(doors.connect(kind, "anna", { password: "no" }));
      expect(refused).to.be.instanceOf(LoginRefused).with.property("part", "password");
    });

    it("the pump plays", async () => {
      const doors = await Doors.start();
      const login = { username: "loop", password: "welcome", schema: SCHEMA, ...doors.tls(kind) };
      const loop = await connectSync(doors.address(kind), login);
      open.push(loop);
      const texts: string[] = [];
      loop.on(ChatSchema, ({ text }) => texts.push(text));
      loop.send(ChatSchema, { text: "drawn" });
      await until(() => loop.sync() > 0 && texts.length > 0);
      await loop.close();
      expect([texts, loop.sync()]).to.deep.equal([["drawn"], 0]);
    });

    it("large messages arrive whole", async () => {
      const folder = await unlimited();
      try {
        const doors = await Doors.start("--schema", folder, "--set", "limits.max_frame_bytes=131072", ...OFF);
        const one = await doors.connect(kind, "one", { schema: boundless() });
        const texts = heard(one);
        const text = "x".repeat(100_000);
        await one.send(ChatSchema, { text });
        await until(() => texts.length === 1);
        expect(texts[0]).to.equal(text);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  });
}

const OFF = ["--set", "schema_policy=off"].concat(
  ["max_frames_per_second", "max_bytes_per_second", "max_joins_per_second"].flatMap((rate) => [
    "--set",
    `limits.${rate}=0`,
  ]),
);

/** The schema without the rates and sizes of its messages, in a folder of its own. */
async function unlimited(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tagwire-schema-"));
  await cp(join(ROOT, "proto/arena"), join(folder, "arena"), { recursive: true });
  const path = join(folder, "arena/v1/arena.proto");
  const text = await readFile(path, "utf8");
  const cut = text.replace(/,\s*max_(?:rate: "[^"]*"|bytes: \d+)/g, "");
  expect(cut).not.to.equal(text);
  await writeFile(path, cut);
  return folder;
}

/** The schema of a client whose server has no rates. */
function boundless(): Schema {
  return new Schema({
    name: "arena",
    fingerprint: "",
    descriptors: "",
    messages: [2, 4, 5, 6].flatMap((tag) => {
      const entry = SCHEMA.byTag(tag);
      if (!entry) return [];
      const { from, to = "HANDLER", delivery = "ORDERED" } = entry.rules;
      return [[entry.desc, { tag, from, to, delivery }] as const];
    }),
  });
}

/** Stands between clients and a server, and cuts each connection after some bytes. */
async function cutting(upstream: number, bytes: () => number): Promise<TcpServer> {
  const proxy = createTcp((near) => {
    const far = connectTcp(upstream, "127.0.0.1");
    let left = bytes();
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (data) => {
        to.write(data.subarray(0, left)); // what is cut off is lost, what came before it is not
        left -= data.length;
        if (left <= 0) to.end(end);
      });
      from.on("error", end).on("close", end);
    }
  });
  await new Promise<void>((resolve) => void proxy.listen(0, "127.0.0.1", resolve));
  return proxy;
}

describe("in a bad network", () => {
  for (const kind of ["tagwire", "wss"] as const) {
    it(`nothing is lost and nothing comes twice over ${kind}://`, async () => {
      const folder = await unlimited();
      const doors = await Doors.start("--schema", folder, ...OFF);
      let count = 0;
      const proxy = await cutting(doors.server.port, () => 6000 + (((count += 1) * 977) % 9000));
      try {
        const { port } = proxy.address() as AddressInfo;
        const options = { username: "anna", password: "welcome", schema: boundless(), ...doors.tls(kind) };
        const anna = await connect(`${kind}://127.0.0.1:${port}`, { ...options, reconnect: QUICK });
        open.push(anna);
        const ben = await doors.connect("tagwire", "ben", { schema: boundless() });
        const [toAnna, toBen] = [heard(anna), heard(ben)];
        const numbers = Array.from({ length: 400 }, (_, at) => String(at));
        const of = (texts: string[], who: string) =>
          texts.filter((text) => text.startsWith(who)).map((text) => text.slice(1).split(" ")[0]);
        const arrived = (count: number) => () =>
          [of(toAnna, "a"), of(toAnna, "b"), of(toBen, "a")].every((texts) => texts.length >= count);
        for (const [at, number] of numbers.entries()) {
          await anna.send(ChatSchema, { text: `a${number} ${"x".repeat(50)}` });
          await ben.send(ChatSchema, { text: `b${number}` });
          // What waits goes out as one message of WebSocket, which must be smaller than what passes before a cut.
          if (at % 20 === 19) await until(arrived(at + 1), 30_000);
        }
        expect(of(toBen, "a")).to.deep.equal(numbers);
        expect(of(toAnna, "b")).to.deep.equal(numbers);
        expect(of(toAnna, "a")).to.deep.equal(numbers);
        expect(count, "connections").to.be.above(5);
        await anna.close();
      } finally {
        proxy.close();
        await rm(folder, { recursive: true });
      }
    }).timeout(90_000);
  }
});

describe("the server's word", () => {
  it("tells what it dropped", async () => {
    const server = await started();
    const client = await connect(server.address, { username: "spam", password: "welcome", schema: SCHEMA });
    open.push(client);
    const told: Noticed[] = [];
    client.on(Noticed, (notice) => told.push(notice));
    void client.run();
    for (let number = 0; number < 50; number += 1) await client.send(ChatSchema, { text: "spam" });
    await until(() => told.length > 0);
    expect(told[0]).to.include({ name: "arena.v1.Chat", reason: NoticeReason.RATE_LIMITED });
  });

  it("is asked for the schema once, and then compares", async () => {
    const folder = await unlimited();
    const server = await started("--schema", folder);
    await rm(folder, { recursive: true });
    const client = await connect(server.address, { username: "a", password: "welcome", schema: SCHEMA });
    open.push(client);
    expect([client.verdict, client.wire.session.schemaWanted]).to.deep.equal([Verdict.COMPATIBLE, true]);
  });

  it("answers requests of services", async () => {
    const server = await Server.start([], "TAGWIRE_ARENA_EXAMPLE");
    servers.push(server);
    const client = await connect(server.address, { username: "zoe", password: "welcome", schema: COINS });
    open.push(client);
    expect(await new Scores(client).best({})).to.include({ coins: 0 });
    const still = await failure(new Arena(client).dash({}));
    expect(still).to.be.instanceOf(RequestFailed).with.property("status", Status.ILLEGAL);
    expect(await failure(client.send(BestRequestSchema, {}))).to.be.instanceOf(TypeError);
    const batch = client.batch();
    const best = new Scores(batch).best({});
    await batch.send();
    expect((await best).coins).to.equal(0);
    let ticks = 0n;
    client.on(WorldSchema, ({ tick }) => (ticks = tick));
    void client.run();
    await client.send(SteerSchema, { east: 1 });
    await until(() => ticks > 0n);
  });
});

describe("TLS", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "tagwire-tls-"));
    const run = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const subject = (name: string) => ["-subj", `/CN=${name}`];
    run("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", ...subject("authority"));
    for (const [name, host] of [
      ["good", "localhost"],
      ["other", "game.example"],
      ["player", "player"],
    ] as const) {
      await writeFile(join(folder, `${name}.ext`), `subjectAltName=DNS:${host}\n`);
      run("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, ...subject(host));
      const days = ["-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
      run("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...days, "-extfile", `${name}.ext`);
    }
    run(
      "req",
      "-x509",
      ...key,
      "-keyout",
      "stranger.key",
      "-out",
      "stranger.pem",
      "-days",
      "2",
      ...subject("stranger"),
    );
    expect(await readdir(folder)).to.include.members(["ca.pem", "good.pem", "other.pem"]);
  });

  after(() => rm(folder, { recursive: true }));

  const file = (name: string) => join(folder, name);

  async function serving(name: string): Promise<Server> {
    return started("--tls", file(`${name}.pem`), "--tls-key", file(`${name}.key`));
  }

  const login = { username: "anna", password: "welcome", schema: SCHEMA };

  it("trusts one's own authority, and no other", async () => {
    const server = await serving("good");
    for (const scheme of ["tagwires", "wss"]) {
      const address = `${scheme}://localhost:${server.port}`;
      const client = await connect(address, { ...login, tls: { ca: file("ca.pem") } });
      open.push(client);
      expect(client.name).to.equal("anna");
      expect((await failure(connect(address, login))).message).to.contain("nobody whom this client trusts has signed");
      const pin = `sha256:${"0".repeat(64)}`;
      expect((await failure(connect(address, { ...login, tls: { pin } }))).message).to.contain(`pinned is ${pin}`);
    }
  });

  it("wants the certificate to be for the host", async () => {
    const server = await serving("other");
    const address = `tagwires://localhost:${server.port}`;
    const error = await failure(connect(address, { ...login, tls: { ca: file("ca.pem") } }));
    expect(error.message).to.contain("the server's certificate is for another host");
  });

  it("shows its own certificate to a server that asks for one", async () => {
    const { createServer } = await import("node:tls");
    const [key, cert, ca] = await Promise.all(["good.key", "good.pem", "ca.pem"].map((name) => readFile(file(name))));
    const names: string[] = [];
    const server = createServer({ key, cert, ca, requestCert: true }, (socket) => {
      names.push(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const tls = { ca: file("ca.pem"), certificate: file("player.pem"), key: file("player.key") };
    await failure(connect(`tagwires://localhost:${port}`, { ...login, tls }));
    expect(names).to.deep.equal(["player"]);
    for (const scheme of ["tagwires", "wss"]) {
      const asked = "the server asks for a certificate of this client; give it with tls: { certificate: '...' }";
      const address = `${scheme}://localhost:${port}`;
      for (let round = 0; round < 5; round += 1) {
        const error = await failure(connect(address, { ...login, tls: { ca: file("ca.pem") } }));
        expect(error).to.be.instanceOf(ConnectError);
        expect(error.message)
          .to.contain(asked)
          .and.not.match(/SSL routines|openssl/i);
      }
    }
    expect(names).to.deep.equal(["player"]);
    server.close();
  });

  it("explains what cannot be used, and what goes wrong", async () => {
    const server = await started();
    for (const [address, tls, kind, text] of [
      ["tagwires", { ca: file("none.pem") }, ConnectError, "there is no such file"],
      ["tagwires", { ca: file("good.key") }, ConnectError, "there is no such thing in it, as PEM"],
      ["tagwires", { certificate: file("good.pem") }, ConnectError, "tls: certificate"],
      ["tagwires", { key: file("good.key") }, RangeError, "key without certificate"],
      ["tagwires", { pin: "sha256:12" }, RangeError, "64 hexadecimal digits"],
      ["tagwires", { pin: `sha256:${"0".repeat(64)}`, ca: file("ca.pem") }, RangeError, "ca or pin"],
      ["tagwire", { ca: file("ca.pem") }, AddressError, "use tagwire"],
      ["tagwires", { ca: file("ca.pem") }, ConnectError, "One without TLS has tagwire:// addresses"],
    ] as const) {
      const error = await failure(connect(`${address}://localhost:${server.port}`, { ...login, tls }));
      expect(error, text).to.be.instanceOf(kind);
      expect(error.message).to.contain(text);
    }
  });
});

describe("finding a server", () => {
  const login = { username: "anna", password: "welcome", schema: SCHEMA };

  it("tells every address that was tried", async () => {
    const error = await failure(connect("tagwire://localhost:9", login));
    expect(error).to.be.instanceOf(ConnectError).with.nested.property("attempts[0]");
    expect(error.message).to.match(/connection refused.*Is the server running\?$/);
    const unknown = await failure(connect("no-such-host.invalid", login));
    expect(unknown.message).to.contain("the host name was not found");
  });

  it("gives up in time on who says nothing", async () => {
    const silent = createTcp(() => undefined);
    await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    try {
      for (const [scheme, text] of [
        ["tagwire", "the login was not answered within 0.2 s"],
        ["tagwires", "no TLS handshake within 0.2 s"],
        ["ws", "no answer to the request for WebSocket within"],
      ] as const) {
        const error = await failure(connect(`${scheme}://127.0.0.1:${port}`, { ...login, timeout: 200 }));
        expect(error).to.be.instanceOf(ConnectError);
        expect(error.message).to.contain(text);
      }
    } finally {
      silent.close();
    }
  });

  it("explains an HTTP server that is none of ours", async () => {
    const http = createHttp((request, response) => {
      response.writeHead(request.url === "/moved" ? 302 : 404, { location: "/there" }).end("nothing here");
    });
    http.on("upgrade", (request, socket) => {
      if (request.url === "/moved") socket.end("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n");
      else socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nnothing here");
    });
    await new Promise<void>((resolve) => void http.listen(0, "127.0.0.1", resolve));
    const { port } = http.address() as AddressInfo;
    try {
      const missing = await failure(connect(`ws://127.0.0.1:${port}/x`, login));
      expect(missing.message).to.contain("with 404 Not Found: nothing here; is the path right");
      const moved = await failure(connect(`ws://127.0.0.1:${port}/moved`, login));
      expect(moved.message).to.contain("it says to go to /there");
    } finally {
      http.close();
    }
  });

  it("refuses options that make no sense", async () => {
    for (const [options, kind] of [
      [{ schema: {} as never }, TypeError],
      [{ schema: SCHEMA, password: "a", token: "b" }, TypeError],
      [{ schema: SCHEMA, token: 5 as unknown as string }, TypeError],
      [{ schema: SCHEMA, reconnect: { factor: 0 } }, RangeError],
      [{ schema: SCHEMA, password: "x".repeat(9000) }, RangeError],
    ] as const) {
      expect(await failure(connect("localhost", options))).to.be.instanceOf(kind);
    }
    expect(await failure(connect("http://x", login))).to.be.instanceOf(AddressError);
  });
});
