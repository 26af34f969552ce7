/** How a client comes back by itself, in memory and on a virtual clock. */

import { expect } from "chai";
import { ChatSchema, MouseEventSchema, PickColourSchema, ScoreSchema } from "../../gen/arena/index.js";
import { INBOX_MESSAGES } from "../../src/client.js";
import { CloseCode } from "../../src/close.js";
import { BufferFull, ConnectionClosed, RequestTimeout } from "../../src/errors.js";
import { MemberChanged } from "../../src/events.js";
import {
  DisconnectSchema,
  PlayerLoginSchema,
  RequestSchema,
  ResponseSchema,
} from "../../src/gen/tagwire/v1/session_pb.js";
import { Reconnected, Reconnecting } from "../../src/reconnect.js";
import { ASKING, AWAY, BACK, JOINED, body, frame, member, read, resumable } from "../support/messages.js";
import { Peer, QUICK, failure, recordConsole } from "../support/virtual.js";

describe("in memory", () => {
  let peer: Peer;
  let log: ReturnType<typeof recordConsole>;

  beforeEach(() => {
    peer = new Peer();
    log = recordConsole();
  });

  afterEach(() => log.restore());

  function score(points: number): Uint8Array {
    return frame(ScoreSchema, { points });
  }

  describe("reconnecting", () => {
    it("goes on with the session, and gives nothing twice", async () => {
      const client = await peer.client({ reconnect: QUICK }, member(2, JOINED, "two"), score(1));
      const found: number[] = [];
      const told: unknown[] = [];
      client.on(Reconnecting, ({ attempt, delay }) => told.push([attempt, delay]));
      client.on(Reconnected, ({ resumed, attempts, lost }) => told.push([resumed, attempts, lost]));
      client.on(ScoreSchema, ({ points }) => found.push(points));
      client.on(MemberChanged, ({ change }) => told.push(change));
      void client.run();
      await client.send(ChatSchema, { text: "a" });
      await peer.loop.settle();
      await peer.link.cut();
      expect([client.reconnecting?.attempt, client.closed]).to.deep.equal([1, undefined]);
      await client.send(ChatSchema, { text: "b" });
      await peer.loop.advance(10);
      await peer.back(0, score(2), member(2, AWAY), member(2, BACK));
      expect(peer.link.take().map((one) => read(ChatSchema, one).text)).to.deep.equal(["a", "b"]);
      expect(found).to.deep.equal([1, 2]);
      expect(told).to.deep.equal([JOINED, [1, 10], [true, 1, 0], AWAY, BACK]);
      expect([client.reconnecting, client.room, client.members.size]).to.deep.equal([undefined, "main", 1]);
    });

    it("closes the old socket before there is a new one", async () => {
      await peer.client({ reconnect: QUICK });
      peer.link.lingers = true;
      await peer.loop.advance(10_000); // silence
      expect(peer.link.closed).to.equal("abort");
      await peer.loop.advance(1000);
      expect(peer.links.length).to.equal(1);
      await peer.link.cut();
      expect(peer.links.length).to.equal(2);
    });

    it("lets what is sent wait in order, the latest replace, and what is unreliable go", async () => {
      const client = await peer.client({ reconnect: QUICK });
      peer.refuses = "no network";
      await peer.link.cut();
      for (let x = 0; x < 3; x += 1) await client.send(MouseEventSchema, { x });
      await client.send(ChatSchema, { text: "a" });
      client.sendSoon(PickColourSchema, { colour: 1 });
      await client.send(MouseEventSchema, { x: 7 });
      peer.refuses = "";
      await peer.loop.advance(1000);
      await peer.back(0);
      const frames = peer.link.take();
      expect(frames.map(({ tag }) => tag)).to.deep.equal([4, 5, 2]);
      expect(read(MouseEventSchema, frames[2]).x).to.equal(7);
    });

    it("waits to send when the buffer is full, and throws where that may not be", async () => {
      const client = await peer.client({ reconnect: QUICK });
      peer.refuses = "no network";
      await peer.link.cut();
      for (let number = 0; number < 1024; number += 1) await client.send(ChatSchema, { text: String(number) });
      let sent = false;
      const waiting = client.send(ChatSchema, { text: "1024" }).then(() => (sent = true));
      expect(() => client.sendSoon(ChatSchema, { text: "x" })).to.throw(BufferFull, "there is no connection");
      await peer.loop.advance(50);
      expect(sent).to.equal(false);
      peer.refuses = "";
      await peer.loop.advance(100);
      await peer.back(0);
      await waiting;
      await peer.loop.settle();
      const texts = peer.link.take().map((one) => read(ChatSchema, one).text);
      expect(texts).to.deep.equal(Array.from({ length: 1025 }, (_, at) => String(at)));
    });

    it("answers requests once, on whatever connection, and lets those wait that come meanwhile", async () => {
      const client = await peer.client({ schema: ASKING, reconnect: QUICK });
      const before = client.request(ChatSchema, ScoreSchema, { text: "before" });
      await peer.loop.settle();
      await peer.link.cut();
      const meanwhile = client.request(ChatSchema, ScoreSchema, { text: "meanwhile" });
      await peer.loop.advance(10);
      await peer.back(1, frame(ResponseSchema, { key: 1n, tag: 4, body: body(ScoreSchema, { points: 1 }) }));
      expect((await before).points).to.equal(1);
      expect(peer.link.one(RequestSchema).key).to.equal(2n);
      await peer.link.send(frame(ResponseSchema, { key: 2n, tag: 4, body: body(ScoreSchema, { points: 2 }) }));
      expect((await meanwhile).points).to.equal(2);
    });

    it("does not send a request whose time is over", async () => {
      const client = await peer.client({ schema: ASKING, reconnect: QUICK });
      peer.refuses = "no network";
      await peer.link.cut();
      const asked = failure(client.request(ChatSchema, ScoreSchema, {}, { timeout: 500 }));
      const batch = client.batch();
      const short = failure(batch.request(ChatSchema, ScoreSchema, {}, { timeout: 500 }));
      const long = failure(batch.request(ChatSchema, ScoreSchema, {}, { timeout: 5000 }));
      await batch.send();
      await peer.loop.advance(500);
      const error = await asked;
      expect(error).to.be.instanceOf(RequestTimeout).with.property("mayHaveRun", false);
      expect(error.message).to.contain("the connection is lost");
      expect(await short).to.include({ mayHaveRun: true }); // it goes out with the other one
      peer.refuses = "";
      await peer.loop.advance(100);
      await peer.back(0);
      expect(peer.link.take().map(({ tag }) => tag)).to.deep.equal([244]);
      void client.close();
      expect(await long).to.be.instanceOf(ConnectionClosed);
    });

    it("begins a new session where the old one is gone: what waited is lost, and told", async () => {
      const client = await peer.client({ schema: ASKING, reconnect: QUICK });
      const asked = failure(client.request(ChatSchema, ScoreSchema, {}));
      await client.send(MouseEventSchema, { x: 1 });
      await peer.loop.settle();
      await peer.link.cut();
      await client.send(PickColourSchema, {});
      const waiting = failure(client.request(ChatSchema, ScoreSchema, {}));
      await peer.loop.advance(10);
      peer.link.one(PlayerLoginSchema);
      const told: Reconnected[] = [];
      client.on(Reconnected, (event) => told.push(event));
      void client.run();
      await peer.link.send(resumable({ room: "hall", playerId: 50 }));
      expect(told).to.deep.equal([new Reconnected(false, 1, 4)]);
      expect(await asked).to.include({ mayHaveRun: true });
      expect(await waiting).to.include({ mayHaveRun: false });
      expect([client.room, client.playerId, client.closed]).to.deep.equal(["hall", 50, undefined]);
      expect(peer.link.take()).to.deep.equal([]);
    });

    it("lets a request wait that was not sent, until another session has begun", async () => {
      const client = await peer.client({ schema: ASKING, reconnect: QUICK });
      await peer.link.cut();
      let failed = false;
      const asked = failure(client.request(ChatSchema, ScoreSchema, {})).finally(() => (failed = true));
      await peer.loop.advance(10);
      await peer.link.send(frame(DisconnectSchema, { code: CloseCode.RESUME_REFUSED }));
      expect(failed).to.equal(false);
      await peer.loop.advance(20);
      await peer.link.send(resumable());
      expect(await asked).to.include({ mayHaveRun: false });
    });

    it("tries with growing delays, and gives up after a while", async () => {
      const client = await peer.client({ reconnect: { jitter: 0, giveUpAfter: 10_000 } });
      peer.refuses = "no network";
      const delays: number[] = [];
      client.on(Reconnecting, ({ delay }) => delays.push(delay));
      const running = failure(client.run());
      await peer.loop.advance(6000); // a connection that stood
      await peer.link.send(score(1));
      await peer.link.cut();
      await peer.loop.advance(9999);
      expect([delays, client.closed]).to.deep.equal([[200, 500, 1000, 2000, 4000, 2300], undefined]);
      await peer.loop.advance(1);
      const error = await running;
      expect(error).to.include({ code: CloseCode.TIMEOUT, byPeer: true });
      expect(error.message).to.match(/no connection came back in 6 attempts and 10 s: no network/);
      expect(peer.attempts).to.equal(7);
      expect(await failure(client.send(ChatSchema, {}))).to.be.instanceOf(ConnectionClosed);
    });

    it("adds the time that the server asks for, and gives up at once where that is too long", async () => {
      const client = await peer.client({ reconnect: { jitter: 0 } });
      await peer.link.send(frame(DisconnectSchema, { code: 3000, reason: "stops", retryAfterMs: 3000 }));
      expect(client.reconnecting).to.include({ delay: 3500, reason: "stops" });
      await client.close();
      const other = await new Peer().client({ reconnect: { giveUpAfter: 1000 } });
      const peerOf = other.wire.loop as unknown as Peer["loop"];
      other.wire.line.connection.handleData(frame(DisconnectSchema, { code: 3003, retryAfterMs: 1001 }));
      await peerOf.settle();
      expect(other.closed?.reason).to.contain("the server asks to wait 1.001 s");
    });

    it("tries a login again that is not answered, and a connection that broke at once later", async () => {
      const client = await peer.client({ reconnect: { jitter: 0 } });
      await peer.link.cut(); // at once, so it counts as one that failed
      expect(client.reconnecting?.delay).to.equal(200);
      await peer.loop.advance(200);
      await peer.loop.advance(5000);
      expect(client.reconnecting).to.include({ attempt: 2, delay: 500 });
      expect(client.reconnecting?.reason).to.equal("the login was not answered within 5 s");
      await peer.loop.advance(500);
      await peer.back(0);
      await peer.link.cut();
      expect(client.reconnecting).to.include({ attempt: 1, delay: 1000 });
      await peer.loop.advance(1000);
      await peer.back(0);
      await peer.loop.advance(5000);
      await peer.link.cut(); // one that stood
      expect(client.reconnecting).to.include({ attempt: 1, delay: 200 });
    });

    it("does not follow an end that advises against it, nor a login that is refused", async () => {
      const client = await peer.client({ reconnect: QUICK });
      await peer.link.send(frame(DisconnectSchema, { code: 3500 }));
      expect([client.closed?.code, client.reconnecting]).to.deep.equal([3500, undefined]);
      await peer.loop.advance(60_000);
      expect(peer.attempts).to.equal(1);
      const other = new Peer();
      const away = await other.client({ reconnect: QUICK });
      await other.link.cut();
      await other.loop.advance(10);
      await other.link.send(frame(DisconnectSchema, { code: 3501 }));
      expect(away.closed?.code).to.equal(3501);
    });

    it("can be turned off", async () => {
      const client = await peer.client({ reconnect: false });
      await peer.link.cut();
      expect(client.closed).to.include({ code: CloseCode.TIMEOUT, reason: "the connection broke: the cable is out" });
      await peer.loop.advance(60_000);
      expect(peer.attempts).to.equal(1);
    });

    it("ends with close, also while away and during an attempt", async () => {
      const client = await peer.client({ reconnect: QUICK });
      await peer.link.cut();
      await client.close();
      await peer.loop.advance(60_000);
      expect([client.closed?.code, peer.attempts]).to.deep.equal([CloseCode.NORMAL, 1]);
      const other = new Peer();
      const logging = await other.client({ reconnect: QUICK });
      await other.link.cut();
      await other.loop.advance(10);
      await logging.close();
      expect(other.link.closed).to.equal("abort");
    });

    it("ends with close at once, also while the function for the token takes its time", async () => {
      let asked = 0;
      const token = () => ((asked += 1) === 1 ? "one" : new Promise<string>(() => undefined));
      const client = await peer.client({ token, reconnect: QUICK });
      await peer.link.cut();
      await peer.loop.advance(10);
      expect(asked).to.equal(2);
      let closed = false;
      void client.close().then(() => (closed = true));
      await peer.loop.advance(0);
      expect(closed).to.equal(true);
      await peer.loop.advance(60_000);
      expect([peer.attempts, log.lines.filter((line) => line.startsWith("error"))]).to.deep.equal([1, []]);
    });

    it("does not count the time in which the page was frozen", async () => {
      const client = await peer.client({ reconnect: { jitter: 0, giveUpAfter: 10_000 } });
      peer.refuses = "no network";
      await peer.link.cut();
      await peer.loop.advance(200);
      peer.loop.clock.advance(3_600_000); // nothing runs, as in a page that sleeps
      await peer.loop.settle();
      expect([client.closed, client.reconnecting?.attempt]).to.deep.equal([undefined, 3]);
      peer.refuses = "";
      await peer.loop.advance(1000);
      await peer.back(0);
      expect(client.reconnecting).to.equal(undefined);
      peer.refuses = "no network";
      await peer.link.cut();
      await peer.loop.advance(10_000);
      expect(client.closed?.reason).to.contain("10 s");
    });

    it("tries again where the function for the token fails on the way", async () => {
      const tokens = ["one", undefined, "three"];
      const token = () => {
        const next = tokens.shift();
        if (next === undefined) throw new Error("no token now");
        return next;
      };
      const client = await peer.client({ token, reconnect: QUICK });
      await peer.link.cut();
      await peer.loop.advance(10);
      expect(client.reconnecting).to.include({ attempt: 2, reason: "the function for the token failed with Error" });
      expect(log.lines.join()).to.contain("the function for the token failed Error: no token now");
      await peer.loop.advance(20);
      expect(peer.link.one(PlayerLoginSchema).token).to.equal("three");
    });

    it("is told on the console without handlers", async () => {
      const client = await peer.client({ reconnect: QUICK });
      await peer.link.cut();
      await peer.loop.advance(10);
      await peer.link.send(resumable());
      expect(log.lines).to.deep.equal([
        "info: tagwire: the connection is lost: the connection broke: the cable is out; attempt 1 to reconnect comes in 0.01 s",
        "warn: tagwire: reconnected, attempt 1, but to a new session; messages that may be lost: 0",
      ]);
      void client.close();
    });
  });

  describe("the pump", () => {
    it("changes nothing but in sync, and everything in order", async () => {
      const client = await peer.syncClient({}, member(2, JOINED, "two"));
      const calls: unknown[] = [];
      client.on(ScoreSchema, ({ points }) => calls.push(points));
      client.on(MemberChanged, ({ member: { name } }) => calls.push([name, client.members.size]));
      await peer.link.send(score(1), score(2));
      expect([calls, client.members.size, client.room]).to.deep.equal([[], 0, "main"]);
      expect(client.sync(1000)).to.equal(3);
      expect([calls, client.members.size]).to.deep.equal([[["two", 1], 1, 2], 1]);
      expect(client.sync()).to.equal(0);
    });

    it("settles requests in sync, in their place", async () => {
      const client = await peer.syncClient({ schema: ASKING });
      const calls: unknown[] = [];
      client.on(ScoreSchema, ({ points }) => calls.push(points));
      void client.request(ChatSchema, ScoreSchema, {}).then((reply) => calls.push(["reply", reply.points]));
      const batch = client.batch();
      const refused = failure(batch.request(ChatSchema, ScoreSchema, {}));
      await batch.send();
      await peer.loop.settle();
      await peer.link.send(
        score(1),
        frame(ResponseSchema, { key: 1n, tag: 4, body: body(ScoreSchema, { points: 9 }) }),
        frame(ResponseSchema, { key: 2n, tag: 4, status: 2, code: 5 }),
        score(2),
      );
      await peer.loop.advance(5000);
      expect(calls).to.deep.equal([]);
      expect(client.sync(1000)).to.equal(4);
      expect(calls).to.deep.equal([1, 2]);
      await peer.loop.settle();
      expect(calls).to.deep.equal([1, 2, ["reply", 9]]);
      expect(await refused).to.include({ code: 5 });
    });

    it("closes with SLOW where nobody calls sync, and says that hidden pages have no frames", async () => {
      const client = await peer.syncClient();
      for (let round = 0; round < 17; round += 1) {
        await peer.link.send(...Array.from({ length: 1000 }, (_, at) => score(at)));
      }
      await peer.loop.settle();
      client.on(ScoreSchema, () => undefined);
      expect(client.sync(1000)).to.equal(INBOX_MESSAGES);
      expect(() => client.sync()).to.throw(ConnectionClosed, "and from a timer while the page is hidden");
      expect(client.closed?.code).to.equal(CloseCode.SLOW);
    });

    it("keeps to its budget, and runs one thing all the same", async () => {
      const client = await peer.syncClient();
      const calls: number[] = [];
      client.on(ScoreSchema, ({ points }) => {
        calls.push(points);
        peer.loop.clock.advance(3);
      });
      await peer.link.send(...[1, 2, 3, 4, 5].map(score));
      expect([client.sync(5), client.sync(0), client.sync(100)]).to.deep.equal([2, 1, 2]);
      expect(calls).to.deep.equal([1, 2, 3, 4, 5]);
    });

    it("refuses async handlers, and logs what a promise of one fails with", async () => {
      const client = await peer.syncClient({}, score(1));
      expect(() => client.on(ScoreSchema, async () => Promise.resolve())).to.throw(TypeError, "async");
      client.on(ScoreSchema, () => Promise.reject(new Error("a fault of the game")));
      expect(client.sync()).to.equal(1);
      await peer.loop.settle();
      expect(log.lines.join()).to.contain("error: tagwire: a handler failed Error: a fault of the game");
    });

    it("removes a handler once", async () => {
      const client = await peer.syncClient({}, score(1));
      const calls: number[] = [];
      const handler = ({ points }: { points: number }) => calls.push(points);
      const off = client.on(ScoreSchema, handler);
      client.on(ScoreSchema, handler);
      off();
      off();
      client.sync();
      expect(calls).to.deep.equal([1]);
    });

    it("throws what a handler throws, and counts what has none", async () => {
      const client = await peer.syncClient({}, score(1), score(2));
      expect([client.sync(1000), client.dropped.unhandled]).to.deep.equal([0, 2]);
      client.on(ScoreSchema, () => {
        throw new Error("first");
      });
      client.on(ScoreSchema, () => {
        throw new Error("second");
      });
      await peer.link.send(score(3));
      expect(() => client.sync()).to.throw("first");
      expect(log.lines.join()).to.contain("second");
      client.off(ScoreSchema);
      client.on(ScoreSchema, () => client.sync());
      await peer.link.send(score(4));
      expect(() => client.sync()).to.throw("called by a handler");
    });

    it("tells of the end after all that came before it, and settles what waits", async () => {
      const client = await peer.syncClient({ schema: ASKING });
      client.on(ScoreSchema, () => undefined);
      const asked = failure(client.request(ChatSchema, ScoreSchema, {}));
      await peer.loop.settle();
      await peer.link.send(score(1), frame(DisconnectSchema, { code: 3508, reason: "out" }));
      expect(client.closed).to.equal(undefined);
      client.send(MouseEventSchema, {}); // lost in silence until sync has told
      expect(client.sync(1000)).to.equal(2);
      expect(await asked).to.include({ code: 3508, mayHaveRun: true });
      expect(() => client.sync()).to.throw(ConnectionClosed, "out");
      expect(client.closed?.code).to.equal(3508);
      expect(() => client.send(MouseEventSchema, {})).to.throw(ConnectionClosed);
    });

    it("runs nothing after close", async () => {
      const client = await peer.syncClient({ schema: ASKING }, score(1));
      client.on(ScoreSchema, () => {
        throw new Error("it ran");
      });
      const asked = failure(client.request(ChatSchema, ScoreSchema, {}));
      const closing = client.close();
      await peer.loop.advance(1000);
      await closing;
      expect([client.sync(), client.closed?.code]).to.deep.equal([0, CloseCode.NORMAL]);
      expect(await asked).to.be.instanceOf(ConnectionClosed);
    });

    it("shows a lost connection and the next at their turn", async () => {
      const client = await peer.syncClient({ reconnect: QUICK }, member(2, JOINED, "two"));
      const told: unknown[] = [];
      client.on(Reconnecting, ({ attempt }) => told.push(attempt));
      client.on(Reconnected, ({ resumed }) => told.push(resumed));
      client.sync();
      await peer.link.cut();
      expect(client.reconnecting).to.equal(undefined);
      client.sync();
      expect(client.reconnecting?.attempt).to.equal(1);
      await peer.loop.advance(10);
      peer.link.one(PlayerLoginSchema);
      await peer.link.send(resumable({ room: "hall", playerId: 9, name: "new" }));
      expect([client.room, client.playerId, client.members.size]).to.deep.equal(["main", 41, 1]);
      client.sync();
      expect([client.room, client.playerId, client.members.size, client.name]).to.deep.equal(["hall", 9, 0, "new"]);
      expect(told).to.deep.equal([1, false]);
    });
  });
});
