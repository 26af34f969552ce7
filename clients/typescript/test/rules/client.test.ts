/** What a client does with what it sends and receives, in memory and on a virtual clock. */

import { create, fromBinary, type Message } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  ChatSchema,
  Colour,
  MouseEventSchema,
  PickColourSchema,
  ScoreSchema,
  type Chat,
  type Score,
} from "../../gen/arena/index.js";
import { INBOX_MESSAGES, type Client } from "../../src/client.js";
import { CloseCode } from "../../src/close.js";
import {
  BufferFull,
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  RequestFailed,
  RequestTimeout,
  SchemaMismatch,
  Status,
} from "../../src/errors.js";
import { MemberChanged, Noticed, Pinged, RoomEnded } from "../../src/events.js";
import { encode } from "../../src/frame.js";
import { JoinRoomReplySchema, RoomEndedSchema } from "../../src/gen/tagwire/v1/room_pb.js";
import {
  BatchSchema,
  DisconnectSchema,
  NoticeSchema,
  PingSchema,
  RequestSchema,
  ResponseSchema,
} from "../../src/gen/tagwire/v1/session_pb.js";
import { Service } from "../../src/service.js";
import type { MessageInit } from "../../src/schema.js";
import type { RequestOptions } from "../../src/wire.js";
import { ASKING, JOINED, body, bytes, frame, member, read, relayed, resumable, welcome } from "../support/messages.js";
import { Peer, failure, recordConsole } from "../support/virtual.js";

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

  async function taken(client: Client, count: number): Promise<Message[]> {
    const found: Message[] = [];
    for await (const message of client) {
      found.push(message);
      if (found.length === count) break;
    }
    return found;
  }

  /** A service as it is printed. */
  class Words extends Service {
    say(request: MessageInit<typeof ChatSchema>, options?: RequestOptions): Promise<Score> {
      return this.request(ChatSchema, ScoreSchema, request, options);
    }
  }

  describe("client: logging in", () => {
    it("gives who and where", async () => {
      const client = await peer.client({}, member(2, JOINED, "two"));
      expect([client.name, client.playerId, client.sessionId, client.room]).to.deep.equal(["player1", 41, 7n, "main"]);
      expect([...client.members.values()]).to.deep.equal([{ id: 2, name: "two", away: false }]);
      expect([client.closed, client.reconnecting, client.rtt]).to.deep.equal([undefined, undefined, undefined]);
      expect(client.serverTime()).to.be.within(1_700_000_000_000, 1_700_000_000_100);
    });

    for (const [told, kind, part] of [
      [{ code: 3501, refused: 2 }, LoginRefused, "password"],
      [{ code: 3510 }, LoginRefused, "version"],
      [{ code: 3502, findings: ["a"] }, SchemaMismatch, "schema"],
      [{ code: 3003, retryAfterMs: 100 }, LoginRefused, undefined],
    ] as const) {
      it(`fails with ${told.code}: ${part ?? "no part"}`, async () => {
        const options = peer.options({});
        const { Client } = await import("../../src/client.js");
        const client = new Client(options);
        const opening = failure(client.wire.open(peer.target, 5000));
        await peer.loop.settle();
        await peer.link.send(frame(DisconnectSchema, told as object));
        const error = await opening;
        expect(error).to.be.instanceOf(kind);
        expect(error).to.include({ code: told.code, part });
        expect(peer.link.closed).to.equal("abort");
      });
    }

    it("fails when nobody answers, and leaves nothing open", async () => {
      const { Client } = await import("../../src/client.js");
      const client = new Client(peer.options({ reconnect: true }));
      const opening = failure(client.wire.open(peer.target, 5000));
      await peer.loop.advance(4999);
      expect(peer.link.closed).to.equal(undefined);
      await peer.loop.advance(1);
      const error = await opening;
      expect(error).to.be.instanceOf(ConnectError);
      expect(error.message).to.contain("the login was not answered within 5 s. Is it a tagwire server?");
      expect([peer.link.closed, peer.attempts]).to.deep.equal(["abort", 1]);
    });

    it("asks a function for the token", async () => {
      const tokens = ["one", "two"];
      const client = await peer.client({ token: () => Promise.resolve(tokens.shift() ?? ""), reconnect: true });
      await peer.link.cut();
      await peer.loop.advance(1000);
      expect([peer.attempts, tokens]).to.deep.equal([2, []]);
      await client.close();
      const { Client } = await import("../../src/client.js");
      const throwing = () => {
        throw new Error("no token today");
      };
      const none = new Client(peer.options({ token: throwing }));
      expect((await failure(none.wire.open(peer.target, 5000))).message).to.equal("no token today");
      const late = new Client(peer.options({ token: () => new Promise<string>(() => undefined) }));
      const opening = failure(late.wire.open(peer.target, 5000));
      await peer.loop.advance(5000);
      expect((await opening).message).to.contain("took longer than 5 s");
    });
  });

  describe("client: sending", () => {
    it("takes a message, or a schema and its fields", async () => {
      const client = await peer.client();
      await client.send(ChatSchema, { text: "a" });
      await client.send(create(ChatSchema, { text: "b" }));
      client.sendSoon(PickColourSchema, { colour: Colour.RED });
      await peer.loop.settle();
      const frames = peer.link.take();
      expect(frames.map(({ tag }) => tag)).to.deep.equal([4, 4, 5]);
      expect([read(ChatSchema, frames[0]).text, read(ChatSchema, frames[1]).text]).to.deep.equal(["a", "b"]);
    });

    it("makes one write of what is sent in one turn", async () => {
      const client = await peer.client();
      const before = peer.link.writes;
      await Promise.all(Array.from({ length: 100 }, (_, x) => client.send(MouseEventSchema, { x })));
      await peer.loop.settle();
      expect([peer.link.take().length, peer.link.writes - before]).to.deep.equal([100, 1]);
    });

    it("refuses what may not be sent", async () => {
      const client = await peer.client({ schema: ASKING, answer: welcome({ limits: { maxFrameBytes: 2000 } }) });
      for (const [call, kind, text] of [
        [client.send(ScoreSchema, {}), TypeError, "sent by the server only"],
        [client.send(ChatSchema, {}), TypeError, "is a request of a service"],
        [client.request(MouseEventSchema, ScoreSchema, {}), TypeError, "is not a request"],
        [client.send(RequestSchema, {}), TypeError, 'not in the schema "arena"'],
        [client.send({ x: 1 } as unknown as Message), TypeError, "is not a message"],
        [client.request(ChatSchema, ScoreSchema, { text: "x".repeat(1025) }), RangeError, "of 1028 bytes, limit 1024"],
        [client.send(MouseEventSchema, { x: 1.5 }), RangeError, "arena.v1.MouseEvent cannot be encoded: "],
        [client.send(MouseEventSchema, { x: 2 ** 40 }), RangeError, "arena.v1.MouseEvent cannot be encoded: "],
        [client.send(PickColourSchema, { colour: "RED" as never }), RangeError, "cannot be encoded: "],
      ] as const) {
        const error = await failure(call);
        expect(error).to.be.instanceOf(kind);
        expect(error.message).to.contain(text);
      }
      expect(peer.link.take()).to.deep.equal([]);
    });

    it("waits while the socket takes no more, and keeps the order", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      const done: number[] = [];
      const sends = [1, 2, 3].map((points) =>
        client.send(ChatSchema, { text: String(points) }).then(() => void done.push(points)),
      );
      await peer.loop.settle();
      expect([done, peer.link.take().length]).to.deep.equal([[], 0]);
      await peer.link.block(false);
      await Promise.all(sends);
      await peer.loop.settle();
      expect(peer.link.take().map((one) => read(ChatSchema, one).text)).to.deep.equal(["1", "2", "3"]);
      expect(done).to.deep.equal([1, 2, 3]);
    });

    it("gives way to pings after 256 frames", async () => {
      const client = await peer.client();
      const sends = Promise.all(Array.from({ length: 1000 }, (_, x) => client.send(MouseEventSchema, { x })));
      await peer.loop.settle();
      await sends;
      expect(peer.link.writes).to.be.at.least(1 + 4); // and the login
      expect(peer.link.take().length).to.equal(1000);
    });

    it("does not overtake what waits", async () => {
      const client = await peer.client();
      client.sendSoon(ChatSchema, { text: "0" });
      // Between the flush, which the first has planned, and the turn of those that had no place before it.
      peer.loop.soon(() => client.sendSoon(ChatSchema, { text: "300" }));
      for (let number = 1; number < 300; number += 1) client.sendSoon(ChatSchema, { text: String(number) });
      await peer.loop.settle();
      const texts = peer.link.take().map((one) => read(ChatSchema, one).text);
      expect(texts).to.deep.equal(Array.from({ length: 301 }, (_, at) => String(at)));
    });

    it("soon keeps the newest of what is latest while behind, and throws when there is no room", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      for (let x = 0; x < 5; x += 1) client.sendSoon(MouseEventSchema, { x });
      for (let number = 0; number < 1023; number += 1) client.sendSoon(ChatSchema, { text: String(number) });
      expect(() => client.sendSoon(ChatSchema, { text: "more" })).to.throw(BufferFull, "1024 messages");
      client.sendSoon(MouseEventSchema, { x: 9 }); // in the place of the one before
      await peer.link.block(false);
      const frames = peer.link.take();
      expect(frames.length).to.equal(1024);
      expect(frames.filter(({ tag }) => tag === 2).map((one) => read(MouseEventSchema, one).x)).to.deep.equal([9]);
      expect(read(ChatSchema, frames[0]).text).to.equal("0");
    });

    it("lets only the newest of what is latest wait where nobody awaits send, and bounds the rest", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      const moves = Array.from({ length: 5000 }, (_, x) => client.send(MouseEventSchema, { x }));
      const texts = Array.from({ length: 1023 }, (_, at) => client.send(ChatSchema, { text: String(at) }));
      const error = await failure(client.send(ChatSchema, { text: "more" }));
      expect(error).to.be.instanceOf(BufferFull);
      expect(error.message).to.contain("1024 messages").and.contain("the server takes them slower");
      moves.push(client.send(MouseEventSchema, { x: 9999 })); // in the place of the one before
      await peer.link.block(false);
      await Promise.all([...moves, ...texts]); // who was replaced is done, too
      await peer.loop.settle();
      const frames = peer.link.take();
      expect(frames.length).to.equal(1024);
      expect(frames.filter(({ tag }) => tag === 2).map((one) => read(MouseEventSchema, one).x)).to.deep.equal([9999]);
    });

    it("bounds the bytes of what waits, and the requests", async () => {
      const client = await peer.client({ schema: ASKING });
      await peer.link.block(true);
      const asked: Promise<Error>[] = [];
      for (let number = 0; number < 1025; number += 1) {
        asked.push(failure(client.request(ChatSchema, ScoreSchema, { text: "x".repeat(1021) })));
      }
      await peer.loop.settle();
      expect(await asked[1024]).to.be.instanceOf(BufferFull);
      expect((await asked[1024])?.message).to.contain("1048576 bytes");
      void client.close();
      expect(await asked[0]).to.be.instanceOf(ConnectionClosed);
    });

    it("keeps the order of the calls, of whatever kind", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      const calls = [client.send(ChatSchema, { text: "1" }), client.join("lobby")];
      client.sendSoon(ChatSchema, { text: "2" });
      calls.push(client.send(ChatSchema, { text: "3" }));
      client.sendSoon(ChatSchema, { text: "4" });
      await peer.loop.settle();
      await peer.link.block(false);
      await peer.loop.settle();
      const frames = peer.link.take();
      const told = frames.map((one) => (one.tag === 4 ? read(ChatSchema, one).text : read(RequestSchema, one).tag));
      expect(told).to.deep.equal(["1", 248, "2", "3", "4"]);
      for (const call of calls) call.catch(() => undefined);
    });

    /** The numbers in what was sent: of a MouseEvent its place, of a request its text. */
    function numbers(): number[] {
      return peer.link
        .take()
        .map((one) =>
          one.tag === 242
            ? Number(fromBinary(ChatSchema, read(RequestSchema, one).body).text)
            : read(MouseEventSchema, one).x,
        );
    }

    it("sends 256 in a turn, and lets nobody overtake those who wait for the next", async () => {
      const client = await peer.client({ schema: ASKING });
      const calls: Promise<unknown>[] = [client.send(MouseEventSchema, { x: 0 })];
      // Behind the write that makes room, and before those have their turn who wait for it.
      peer.loop.soon(() => {
        expect(numbers().length).to.equal(256);
        calls.push(client.send(MouseEventSchema, { x: 300 }));
        calls.push(new Words(client).say({ text: "301" }));
        client.sendSoon(MouseEventSchema, { x: 302 });
        expect(client.wire.sender.sendNow(2, new Uint8Array(0))).to.equal(false);
      });
      for (let x = 1; x < 300; x += 1) calls.push(client.send(MouseEventSchema, { x }));
      await peer.loop.settle();
      expect(numbers()).to.deep.equal(Array.from({ length: 47 }, (_, at) => 256 + at));
      for (const call of calls) call.catch(() => undefined);
    });

    it("lets nobody overtake what sendSoon was given", async () => {
      const client = await peer.client({ schema: ASKING });
      const calls: Promise<unknown>[] = [client.send(MouseEventSchema, { x: 0 })];
      peer.loop.soon(() => {
        calls.push(new Words(client).say({ text: "258" }));
        calls.push(client.send(MouseEventSchema, { x: 259 }));
      });
      for (let x = 1; x < 256; x += 1) calls.push(client.send(MouseEventSchema, { x }));
      client.sendSoon(MouseEventSchema, { x: 256 });
      client.sendSoon(MouseEventSchema, { x: 257 });
      await peer.loop.settle();
      expect(numbers()).to.deep.equal(Array.from({ length: 260 }, (_, at) => at));
      for (const call of calls) call.catch(() => undefined);
    });

    it("sends with close what waits in its turn", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      const sending = client.send(ChatSchema, { text: "1" });
      client.sendSoon(ChatSchema, { text: "2" });
      void client.close();
      await sending;
      const frames = peer.link.take();
      expect(frames.map(({ tag }) => tag)).to.deep.equal([4, 4, 241]);
      expect(frames.slice(0, 2).map((one) => read(ChatSchema, one).text)).to.deep.equal(["1", "2"]);
    });

    it("closes with SLOW when nothing is taken but answers to pings are asked for", async () => {
      const client = await peer.client();
      await peer.link.block(true);
      const ping = frame(PingSchema, { sentEpoch: 1n });
      for (let round = 0; round < 200 && !client.closed; round += 1) {
        await peer.link.send(...Array.from({ length: 1000 }, () => ping));
      }
      expect(client.closed).to.include({ code: CloseCode.SLOW, byPeer: false });
    });
  });

  describe("client: requests", () => {
    it("are answered by their keys, whatever the order", async () => {
      const client = await peer.client({ schema: ASKING });
      const words = new Words(client);
      const first = words.say({ text: "a" });
      const second = client.request(create(ChatSchema, { text: "b" }), ScoreSchema);
      await peer.loop.settle();
      const frames = peer.link.take().map((one) => read(RequestSchema, one));
      expect(frames.map(({ key, tag }) => [key, tag])).to.deep.equal([
        [1n, 4],
        [2n, 4],
      ]);
      await peer.link.send(
        frame(ResponseSchema, { key: 2n, tag: 4, body: body(ScoreSchema, { points: 2 }) }),
        frame(ResponseSchema, { key: 1n, tag: 4, body: body(ScoreSchema, { points: 1 }) }),
        frame(ResponseSchema, { key: 1n, tag: 4 }),
      );
      expect([(await first).points, (await second).points]).to.deep.equal([1, 2]);
      expect(client.dropped.misplaced).to.equal(1);
    });

    it("fail with what the server says", async () => {
      const client = await peer.client({ schema: ASKING });
      const asked = [failure(new Words(client).say({})), failure(new Words(client).say({}))];
      const unreadable = failure(new Words(client).say({}));
      await peer.loop.settle();
      await peer.link.send(
        frame(ResponseSchema, { key: 1n, tag: 4, status: Status.ILLEGAL, code: 17, message: "no" }),
        frame(ResponseSchema, { key: 2n, tag: 4, status: Status.TIMEOUT }),
        frame(ResponseSchema, { key: 3n, tag: 4, body: bytes("x") }),
      );
      const [illegal, late] = await Promise.all(asked);
      expect(illegal).to.be.instanceOf(RequestFailed);
      expect(illegal).to.include({ status: Status.ILLEGAL, code: 17, reason: "no", mayHaveRun: false });
      expect(late).to.be.instanceOf(RequestTimeout);
      expect(late).to.include({ byPeer: true, mayHaveRun: true });
      expect((await unreadable).message).to.contain("cannot be read as arena.v1.Score");
    });

    it("time out here, and may have run", async () => {
      const client = await peer.client({ schema: ASKING });
      const asked = failure(new Words(client).say({}));
      const quick = failure(new Words(client).say({}, { timeout: 100 }));
      await peer.loop.advance(100);
      expect((await quick).message).to.contain("was not answered within 0.1 s");
      await peer.loop.advance(1899);
      const early = await Promise.race([asked, Promise.resolve("waits")]);
      expect(early).to.equal("waits");
      await peer.loop.advance(1);
      expect(await asked).to.include({ status: Status.TIMEOUT, mayHaveRun: true, byPeer: false });
    });

    it("that find no room have not run", async () => {
      const client = await peer.client({ schema: ASKING });
      await peer.link.block(true);
      const asked = failure(new Words(client).say({}));
      await peer.loop.advance(2000);
      const error = await asked;
      expect(error).to.include({ mayHaveRun: false });
      expect(error.message).to.contain("could not be sent within 2 s, so it has not run");
      await peer.link.block(false);
      expect(peer.link.take()).to.deep.equal([]);
    });

    it("fail with the end of the session", async () => {
      const client = await peer.client({ schema: ASKING });
      const asked = failure(new Words(client).say({}));
      await peer.loop.settle();
      await peer.link.send(frame(DisconnectSchema, { code: 3508, reason: "out" }));
      const error = await asked;
      expect(error).to.be.instanceOf(ConnectionClosed);
      expect(error).to.include({ code: 3508, mayHaveRun: true, byPeer: true });
    });

    it("of a batch go out in one frame, and each is answered for itself", async () => {
      const client = await peer.client({ schema: ASKING });
      const batch = client.batch({ stopOnError: true });
      const first = new Words(batch).say({ text: "a" });
      const second = failure(batch.request(ChatSchema, ScoreSchema, { text: "b" }));
      await peer.loop.settle();
      expect(peer.link.take()).to.deep.equal([]);
      await batch.send();
      await peer.loop.settle();
      const told = peer.link.one(BatchSchema);
      expect([told.requests.map(({ key }) => key), told.stopOnError]).to.deep.equal([[1n, 2n], true]);
      await peer.link.send(
        frame(ResponseSchema, { key: 1n, tag: 4, body: body(ScoreSchema, { points: 5 }) }),
        frame(ResponseSchema, { key: 2n, tag: 4, status: Status.UNAVAILABLE }),
      );
      expect((await first).points).to.equal(5);
      expect(await second).to.include({ status: Status.UNAVAILABLE });
      expect((await failure(batch.send())).message).to.contain("sent already");
      expect(() => batch.request(ChatSchema, ScoreSchema, {})).to.throw(TypeError, "sent already");
    });

    it("of a batch have limits", async () => {
      const client = await peer.client({ schema: ASKING, answer: welcome({ limits: { maxFrameBytes: 2000 } }) });
      const many = client.batch();
      for (let number = 0; number < 64; number += 1) void many.request(ChatSchema, ScoreSchema, {});
      expect(() => many.request(ChatSchema, ScoreSchema, {})).to.throw(RangeError, "at most 64");
      const large = client.batch();
      void large.request(ChatSchema, ScoreSchema, { text: "x".repeat(1000) });
      expect(() => large.request(ChatSchema, ScoreSchema, { text: "x".repeat(1000) })).to.throw(
        RangeError,
        "limit 2000",
      );
    });

    it("to join move the player", async () => {
      const client = await peer.client({}, member(2, JOINED, "two"));
      const joining = client.join("lobby");
      await peer.loop.settle();
      expect(peer.link.one(RequestSchema)).to.include({ tag: 248 });
      await peer.link.send(
        frame(ResponseSchema, { key: 1n, tag: 248, body: body(JoinRoomReplySchema, { room: "lobby" }) }),
      );
      expect([await joining, client.room, client.members.size]).to.deep.equal(["lobby", "lobby", 0]);
    });
  });

  describe("client: receiving", () => {
    it("gives what has no handler, with its sender, and loses nothing between loops", async () => {
      const client = await peer.client(
        {},
        member(3, JOINED, "three"),
        relayed(3, ChatSchema, { text: "hi" }),
        score(1),
      );
      for await (const [message, sender] of client.withSenders()) {
        expect([(message as Chat).text, sender?.name]).to.deep.equal(["hi", "three"]);
        break;
      }
      expect(((await taken(client, 1))[0] as Score).points).to.equal(1);
    });

    it("waits for what comes, and ends with the session", async () => {
      const client = await peer.client();
      const found: number[] = [];
      const loop = failure(
        (async () => {
          for await (const message of client) found.push((message as Score).points);
        })(),
      );
      await peer.link.send(score(1), score(2));
      await peer.link.send(score(3), frame(DisconnectSchema, { code: 3508, reason: "out" }));
      const error = await loop;
      expect(error).to.be.instanceOf(ConnectionClosed);
      expect([found, error]).to.deep.include.members([[1, 2, 3]]);
      const other = await new Peer().client();
      const ended = taken(other, 1);
      void other.close();
      expect(await ended).to.deep.equal([]);
    });

    it("calls handlers in order, with what they are set for, and only while it is run", async () => {
      const calls: unknown[] = [];
      const client = await peer.client({}, member(3, JOINED, "three"));
      const off = client.on(ScoreSchema, (message, sender) => calls.push(["first", message.points, sender]));
      client.on(ScoreSchema, ({ points }) => calls.push(["second", points]));
      client.on(MemberChanged, ({ member: { name }, change }) => calls.push([name, change]));
      client.on(RoomEnded, ({ reason }) => calls.push(reason));
      client.on(Pinged, () => calls.push("ping"));
      await peer.link.send(score(1), frame(PingSchema, { sentEpoch: 1n }));
      expect(calls).to.deep.equal([]);
      void client.run();
      await peer.loop.settle();
      expect(calls).to.deep.equal([["three", JOINED], ["first", 1, undefined], ["second", 1], "ping"]);
      off();
      calls.length = 0;
      await peer.link.send(score(2), frame(RoomEndedSchema, { room: "main", reason: "over" }));
      expect(calls).to.deep.equal([["second", 2], "over"]);
      client.off(ScoreSchema);
      await peer.link.send(score(3));
      expect(client.dropped.unhandled).to.equal(1);
      expect(() => client.off(ScoreSchema, off)).to.throw(TypeError, "no handler");
    });

    it("logs what a handler throws, lets one finish before the next, and goes on", async () => {
      const client = await peer.client();
      const calls: string[] = [];
      let release = () => undefined as unknown;
      client.on(ScoreSchema, async ({ points }) => {
        calls.push(`begin ${points}`);
        if (points === 1) await new Promise((resolve) => (release = () => resolve(undefined)));
        calls.push(`end ${points}`);
        if (points === 1) throw new Error("a fault of the game");
      });
      const running = client.run();
      await peer.link.send(score(1), score(2), frame(PingSchema, { sentEpoch: 1n }));
      expect(calls).to.deep.equal(["begin 1"]);
      expect(read(PingSchema, peer.link.take()[0]).framesReceived).to.equal(2n); // which waits for no handler
      release();
      await peer.loop.settle();
      expect(calls).to.deep.equal(["begin 1", "end 1", "begin 2", "end 2"]);
      expect(log.lines.join()).to.contain("a handler failed Error: a fault of the game");
      void client.close();
      await running;
    });

    for (const kind of ["plain", "async"]) {
      it(`gives way to others after 5 ms of ${kind} handlers`, async () => {
        const client = await peer.client();
        const calls: unknown[] = [];
        const handle = (points: number) => {
          calls.push(points);
          peer.loop.clock.advance(3);
          if (points % 2 === 1) peer.loop.soon(() => calls.push("others"));
        };
        client.on(ScoreSchema, ({ points }) => {
          if (kind === "plain") return handle(points);
          return Promise.resolve().then(() => handle(points));
        });
        void client.run();
        await peer.loop.settle();
        await peer.link.send(score(1), score(2), score(3), score(4), score(5));
        expect(calls).to.deep.equal([1, 2, "others", 3, 4, "others", 5, "others"]);
      });
    }

    it("calls the handlers behind one that is waited for when it has ended, each in its turn", async () => {
      const client = await peer.client({}, score(1), score(2));
      const calls: string[] = [];
      client.on(ScoreSchema, ({ points }) => calls.push(`first ${points}`));
      for (const name of ["second", "third"]) {
        client.on(ScoreSchema, async ({ points }) => {
          calls.push(`${name} ${points}`);
          await Promise.resolve();
          calls.push(`end of ${name} ${points}`);
          throw new Error(`a fault of ${name}`);
        });
      }
      client.on(ScoreSchema, ({ points }) => calls.push(`last ${points}`));
      void client.run();
      await peer.loop.settle();
      const each = (points: number) =>
        ["first", "second", "end of second", "third", "end of third", "last"].map((name) => `${name} ${points}`);
      expect(calls).to.deep.equal([...each(1), ...each(2)]);
      expect(log.lines.filter((line) => line.includes("a fault of")).length).to.equal(4);
    });

    it("waits for whatever has a then, and logs where that cannot be asked for", async () => {
      const client = await peer.client({}, score(1), score(2), score(3), score(4));
      const calls: number[] = [];
      let release: () => void = () => undefined;
      client.on(ScoreSchema, ({ points }): unknown => {
        calls.push(points);
        if (points === 1) {
          return Object.defineProperty({}, "then", {
            get() {
              throw new Error("no such thing");
            },
          });
        }
        if (points === 2) return Object.assign(() => undefined, { then: (done: () => void) => (release = done) });
        return points === 3 ? () => undefined : null;
      });
      void client.run();
      await peer.loop.settle();
      expect(calls).to.deep.equal([1, 2]);
      expect(log.lines.join()).to.contain("a handler failed Error: no such thing");
      release();
      await peer.loop.settle();
      expect(calls).to.deep.equal([1, 2, 3, 4]);
    });

    it("is not iterated nor run by its handlers", async () => {
      const client = await peer.client({}, score(1), score(2));
      const calls: unknown[] = [];
      client.on(ScoreSchema, ({ points }) => {
        calls.push(points);
        void client.run().catch((error: unknown) => calls.push(error));
        void client[Symbol.asyncIterator]()
          .next()
          .catch((error: unknown) => calls.push(error));
      });
      void client.run();
      await peer.loop.settle();
      expect(calls.filter((call) => typeof call === "number")).to.deep.equal([1, 2]);
      const errors = calls.filter((call) => typeof call !== "number");
      expect(errors.length).to.equal(4);
      for (const error of errors) {
        expect(error).to.be.instanceOf(TypeError).with.property("message").that.contains("called by a handler");
      }
    });

    it("calls one handler at a time, whoever runs it beside", async () => {
      const client = await peer.client({}, score(1), score(2));
      const calls: string[] = [];
      client.on(ScoreSchema, async ({ points }) => {
        calls.push(`begin ${points}`);
        await Promise.resolve();
        void client.run(); // behind the first await it waits like any other
        await Promise.resolve();
        calls.push(`end ${points}`);
      });
      void client.run();
      await peer.loop.settle();
      expect(calls).to.deep.equal(["begin 1", "end 1", "begin 2", "end 2"]);
    });

    it("removes a handler once, whatever is called twice", async () => {
      const client = await peer.client({}, score(1));
      const calls: number[] = [];
      const handler = ({ points }: { points: number }) => calls.push(points);
      const off = client.on(ScoreSchema, handler);
      client.on(ScoreSchema, handler);
      off();
      off(); // does not take the other one
      void client.run();
      await peer.loop.settle();
      expect(calls).to.deep.equal([1]);
      client.off(ScoreSchema);
      off();
    });

    it("refuses handlers that would never be called", async () => {
      const client = await peer.client({ receive: false });
      expect(() => client.on(ScoreSchema, () => 1)).to.throw(TypeError, "receive: false");
      client.on(MemberChanged, () => 1);
      const other = await new Peer().client();
      expect(() => other.on(RequestSchema, () => 1)).to.throw(TypeError, "not in the schema");
      expect(() => other.on(Map as never, () => 1)).to.throw(TypeError, "class of an event");
      expect(() => other.on(ScoreSchema, 5 as never)).to.throw(TypeError, "must be a function");
    });

    it("replaces what is latest from 1024 waiting on, and closes with SLOW at 16384", async () => {
      const client = await peer.client({}, ...Array.from({ length: 1024 }, (_, at) => score(at)));
      await peer.link.send(relayed(3, MouseEventSchema, { x: 1 }), relayed(3, MouseEventSchema, { x: 2 }));
      await peer.link.send(relayed(4, MouseEventSchema, { x: 3 }));
      expect([client.dropped.behind, client.closed]).to.deep.equal([1, undefined]);
      const rest = INBOX_MESSAGES - 1026;
      await peer.link.send(...Array.from({ length: rest }, () => score(0)));
      expect(client.closed).to.equal(undefined);
      await peer.link.send(score(0), score(0));
      expect(client.closed).to.include({ code: CloseCode.SLOW, byPeer: false });
      expect(client.closed?.reason).to.contain("16384 messages wait; iterate or run the client");
      const found = await failure(
        (async () => {
          for await (const message of client) expect(message.$typeName).to.match(/^arena/);
        })(),
      );
      expect(found).to.be.instanceOf(ConnectionClosed);
    }).timeout(60_000);

    it("keeps nothing of the game where it only sends", async () => {
      const client = await peer.client({ receive: false }, score(1), encode(999, bytes("")));
      expect([client.dropped.behind, client.dropped.unknown]).to.deep.equal([1, 1]);
    });

    it("warns of a notice without a handler, ten at once, one a second", async () => {
      const client = await peer.client();
      const notice = frame(NoticeSchema, { reason: 4, tag: 4, text: "max_rate is 5/s" });
      await peer.link.send(...Array.from({ length: 50 }, () => notice));
      expect(log.lines.length).to.equal(10);
      expect(log.lines[0]).to.contain("warn: tagwire: the server dropped arena.v1.Chat: RATE_LIMITED, max_rate is 5/s");
      await peer.loop.advance(1000);
      await peer.link.send(notice, notice);
      expect(log.lines.length).to.equal(11);
      const told: Noticed[] = [];
      client.on(Noticed, (event) => told.push(event));
      void client.run();
      await peer.link.send(notice);
      expect([log.lines.length, told.length]).to.deep.equal([11, 1]);
    });
  });

  describe("client: the end", () => {
    it("by close tells the server, and is no error", async () => {
      const client = await peer.client();
      const sending = client.send(ChatSchema, { text: "last" });
      const closing = client.close(4001, "bye");
      await sending;
      await peer.loop.advance(999);
      const frames = peer.link.take();
      expect(frames.map(({ tag }) => tag)).to.deep.equal([4, 241]);
      expect([peer.link.closed, client.closed?.code]).to.deep.equal([4001, 4001]);
      await peer.loop.advance(1);
      await closing;
      await client.run();
      expect(await failure(client.send(ChatSchema, {}))).to.be.instanceOf(ConnectionClosed);
      expect(() => client.sendSoon(ChatSchema, {})).to.throw(ConnectionClosed);
      await client.close();
    });

    it("takes only codes that an application may use", async () => {
      const client = await peer.client();
      for (const code of [3000, 3999, 5000, 1]) expect(await failure(client.close(code))).to.be.instanceOf(RangeError);
      expect(client.closed).to.equal(undefined);
    });

    it("comes with a fault of our own, and is told", async () => {
      const client = await peer.client();
      client.wire.session.members.set = () => {
        throw new Error("a fault of this library");
      };
      await peer.link.send(member(2, JOINED, "two"));
      expect(client.closed).to.include({ code: CloseCode.MALFORMED, byPeer: false });
      const error = await failure(client.run());
      expect((error.cause as Error).message).to.equal("a fault of this library");
      expect(log.lines.join()).to.contain("tagwire failed and closes the connection");
    });

    it("wakes who waits for a ping", async () => {
      const client = await peer.client({ answer: resumable() });
      const waiting = client.nextPing();
      await peer.link.send(frame(PingSchema, { sentEpoch: 5000n, rttUs: 3000 }));
      expect((await waiting).rtt).to.equal(3);
      const ended = failure(client.nextPing());
      await peer.link.cut();
      expect(await ended).to.be.instanceOf(ConnectionClosed);
    });
  });
});
