/** The client in a page, against the real server. */

import type { Message } from "@bufbuild/protobuf";
import {
  AddressError,
  CloseCode,
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  MemberChange,
  MemberChanged,
  Reconnected,
  connect,
  connectSync,
  type Client,
} from "@tagwire/client";
import { expect } from "chai";
import { ChatSchema, MouseEventSchema, SCHEMA, type Chat, type MouseEvent } from "../../gen/arena/index.js";
import { placeOfPage } from "../support/place.js";

const open: { close(): Promise<void> }[] = [];
let names = 0;

async function player(address = placeOfPage().address): Promise<Client> {
  const client = await connect(address, { username: `page${(names += 1)}`, password: "welcome", schema: SCHEMA });
  open.push(client);
  return client;
}

async function rejected(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

describe("a page", () => {
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.close()));
  });

  it("connects, sends and receives", async () => {
    const [one, two] = [await player(), await player()];
    expect(one.room).to.equal("main");
    await one.send(ChatSchema, { text: "hello" });
    await one.send(MouseEventSchema, { x: 3, y: -4, leftClick: true });
    const found: [Message, string | undefined][] = [];
    for await (const [message, sender] of two.withSenders()) {
      found.push([message, sender?.name]);
      if (found.length === 2) break;
    }
    const chat = found.find(([message]) => message.$typeName === "arena.v1.Chat");
    const mouse = found.find(([message]) => message.$typeName === "arena.v1.MouseEvent");
    expect([(chat?.[0] as Chat).text, chat?.[1]]).to.deep.equal(["hello", one.name]);
    expect([(mouse?.[0] as MouseEvent).y, mouse?.[1]]).to.deep.equal([-4, one.name]);
  });

  it("sees members, joins rooms, and is pinged", async () => {
    const one = await player();
    const changes: string[] = [];
    one.on(MemberChanged, ({ member, change }) => changes.push(`${member.name} ${MemberChange[change]}`));
    const running = one.run();
    expect(await one.join("page")).to.equal("page");
    const two = await player();
    await two.join("page");
    await two.close();
    await one.nextPing();
    await one.nextPing();
    expect(one.rtt).to.be.within(0, 1000);
    expect(Math.abs(one.serverTime() - Date.now())).to.be.below(1000);
    await one.close();
    await running;
    expect(changes.slice(-2)).to.deep.equal([`${two.name} JOINED`, `${two.name} LEFT`]);
  });

  it("is told why a login is refused, and that there is no TCP here", async () => {
    const { address } = placeOfPage();
    const refused = await rejected(connect(address, { username: "x", password: "no", schema: SCHEMA }));
    expect(refused).to.be.instanceOf(LoginRefused).with.property("part", "password");
    const tcp = await rejected(connect(`tagwire://${address}`, { username: "x", schema: SCHEMA }));
    expect(tcp).to.be.instanceOf(AddressError);
    expect(tcp.message).to.contain(`use ws://${address}`);
    const trusting = connect(`wss://${address}`, { username: "x", schema: SCHEMA, tls: { ca: "ca.pem" } });
    expect((await rejected(trusting)).message).to.contain("a browser decides itself");
    const nobody = await rejected(connect("127.0.0.1:9", { username: "x", schema: SCHEMA, timeout: 2000 }));
    expect(nobody).to.be.instanceOf(ConnectError);
  });

  it("goes on with its session after its connection was cut", async () => {
    const [one, cut] = [await player(), await player(placeOfPage().lossy)];
    await cut.join("cut");
    await one.join("cut");
    const texts: string[] = [];
    cut.on(ChatSchema, ({ text }) => texts.push(text));
    const heard = new Promise<void>((resolve) => void cut.on(ChatSchema, () => resolve()));
    const back = new Promise<Reconnected>((resolve) => void cut.on(Reconnected, resolve));
    void cut.run().catch(() => undefined);
    await cutConnections();
    await one.send(ChatSchema, { text: "while away" });
    expect(await back).to.include({ resumed: true, lost: 0 });
    await heard;
    expect([cut.room, texts]).to.deep.equal(["cut", ["while away"]]);
  });

  it("is told why the server ended its session", async () => {
    const { mortal: address } = placeOfPage();
    const login = { username: "page", password: "welcome", schema: SCHEMA, reconnect: false };
    const client = await connect(address, login);
    open.push(client);
    const ended = rejected(client.run());
    await stopServer();
    expect(await ended)
      .to.be.instanceOf(ConnectionClosed)
      .with.property("code", CloseCode.SHUTDOWN);
  });

  it("runs what has arrived in sync, and nothing outside of it", async () => {
    const { address } = placeOfPage();
    const loop = await connectSync(address, { username: `page${(names += 1)}`, password: "welcome", schema: SCHEMA });
    open.push(loop);
    const texts: string[] = [];
    loop.on(ChatSchema, ({ text }) => texts.push(text));
    let joined = "";
    void loop.join("pump").then((room) => {
      joined = room;
      loop.send(ChatSchema, { text: "drawn" });
    });
    // The answer is there, and nobody has seen it.
    while (loop.wire.session.room !== "pump") await new Promise((resolve) => setTimeout(resolve, 2));
    expect([loop.room, joined]).to.deep.equal(["main", ""]);
    await new Promise<void>((resolve) => {
      const draw = () => {
        loop.sync(5);
        if (texts.length === 0) return;
        clearInterval(hidden);
        resolve();
      };
      requestAnimationFrame(function frame() {
        draw();
        if (texts.length === 0) requestAnimationFrame(frame);
      });
      // A page in the background gets no frames, and what arrives must be taken all the same.
      const hidden = setInterval(() => {
        if (document.hidden) draw();
      }, 50);
    });
    expect([loop.room, joined, texts]).to.deep.equal(["pump", "pump", ["drawn"]]);
  });
});
