/** The client's side of the conversation, rule by rule, on a virtual clock. */

import { create, toBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  ChatSchema,
  MouseEventSchema,
  PickColourSchema,
  SCHEMA,
  ScoreSchema,
  type Chat,
  type Score,
} from "../../gen/arena/index.js";
import { CloseCode } from "../../src/close.js";
import {
  Ended,
  MemberChanged,
  Noticed,
  Opened,
  Pinged,
  Received,
  Responded,
  RoomEnded,
  type Event,
} from "../../src/events.js";
import { encode } from "../../src/frame.js";
import { JoinRoomReplySchema, RelayedSchema, RoomEndedSchema } from "../../src/gen/tagwire/v1/room_pb.js";
import {
  BatchSchema,
  DisconnectSchema,
  NoticeSchema,
  PingSchema,
  PlayerLoginSchema,
  RequestSchema,
  ResponseSchema,
  SchemaOfferSchema,
  SchemaWantedSchema,
  Verdict_Value,
} from "../../src/gen/tagwire/v1/session_pb.js";
import { Schema } from "../../src/schema.js";
import { BATCH_BYTES, BATCH_ENTRY_BYTES, Session } from "../../src/session.js";
import { VERSION } from "../../src/version.js";
import { SCHEMA as CONFORMANCE, ScalarsSchema, type Nest, type Scalars } from "../gen/conformance/index.js";
import {
  AWAY,
  BACK,
  Clock,
  JOINED,
  LEFT,
  PRESENT,
  body,
  bytes,
  concat,
  frame,
  hex,
  member,
  only,
  read,
  relayed,
  seeded,
  sent,
  unhex,
  welcome,
} from "../support/messages.js";

const CREDENTIALS = { username: "player1", password: "welcome" };

let clock: Clock;

beforeEach(() => {
  clock = new Clock();
});

function started(schema = SCHEMA): Session {
  const session = new Session(schema, CREDENTIALS);
  session.start(clock.now());
  session.dataToSend();
  return session;
}

function opened(answer = welcome()): Session {
  const session = started();
  session.receiveData(answer, clock.now());
  session.events();
  return session;
}

function schemaOf(descriptors: Uint8Array): Schema {
  let text = "";
  for (const one of descriptors) text += String.fromCharCode(one);
  return new Schema({ name: "arena", fingerprint: "", descriptors: btoa(text), messages: [] });
}

function take(session: Session, ...data: Uint8Array[]): Event[] {
  session.receiveData(concat(...data), clock.now());
  return session.events();
}

describe("session: login", () => {
  it("begins with who and what the client is", () => {
    const session = new Session(SCHEMA, { ...CREDENTIALS, token: "t" });
    expect(session.dataToSend()).to.deep.equal([]);
    session.start(clock.now());
    const [first, more] = sent(session);
    expect(more).to.equal(undefined);
    expect(read(PlayerLoginSchema, first)).to.deep.equal(
      create(PlayerLoginSchema, {
        ...CREDENTIALS,
        token: "t",
        client: {
          protocol: 1,
          fingerprint: unhex(SCHEMA.fingerprint),
          sdk: "tagwire-typescript",
          version: VERSION,
        },
      }),
    );
    expect(hex(first?.payload ?? bytes(""))).to.match(/^0a07706c6179657231120777656c636f6d65/);
    expect(session.state).to.equal("login");
  });

  it("of over 8 KiB is refused here, without its secret", () => {
    expect(() => new Session(SCHEMA, { username: "p", token: "x".repeat(9000) })).to.throw(RangeError, /limit 8192$/);
  });

  it("is all that is sent before Welcome", () => {
    const session = started();
    expect(() => session.send(2, bytes(""))).to.throw("login");
    take(session, frame(PingSchema, { sentEpoch: 1n }), ...Array.from({ length: 300 }, () => member(1, JOINED)));
    session.close(0, "changed my mind", clock.now());
    expect(session.dataToSend()).to.deep.equal([]);
    expect([session.state, session.dropped.misplaced]).to.deep.equal(["closed", 301]);
  });

  it("opens with Welcome", () => {
    const session = started();
    const event = only(take(session, welcome({ name: "Player1", room: "lobby" })), Opened);
    expect(event.welcome).to.equal(session.welcome);
    expect([session.sessionId, session.playerId, session.name, session.room]).to.deep.equal([
      7n,
      41,
      "Player1",
      "lobby",
    ]);
    expect(session.dataToSend()).to.deep.equal([]);
  });

  it("takes one Welcome", () => {
    const session = opened();
    expect(take(session, welcome({ playerId: 99 }))).to.deep.equal([]);
    expect([session.playerId, session.dropped.misplaced]).to.deep.equal([41, 1]);
  });

  for (const [what, answer, code] of [
    ["in another version", welcome({ protocol: 2 }), CloseCode.VERSION],
    ["that cannot be read", encode(240, unhex("0a")), CloseCode.MALFORMED],
  ] as const) {
    it(`ends with a Welcome ${what}`, () => {
      const session = started();
      take(session, answer);
      expect([session.state, session.closed?.code]).to.deep.equal(["closed", code]);
      expect(session.dataToSend()).to.deep.equal([]);
    });
  }

  it("that is refused tells code, reason, findings, delay and part", () => {
    const session = started();
    const told = { code: 3502, reason: "no", retryAfterMs: 1500, findings: ["a", "b"] };
    const { closed } = only(take(session, frame(DisconnectSchema, told)), Ended);
    expect(closed).to.deep.equal({
      code: 3502,
      reason: "no",
      byPeer: true,
      retryAfter: 1500,
      findings: ["a", "b"],
      part: "schema",
    });
    for (const [refused, part] of [
      [1, "name"],
      [2, "password"],
      [3, "token"],
      [0, undefined],
      [9 as number, undefined],
    ] as const) {
      const other = started();
      expect(only(take(other, frame(DisconnectSchema, { code: 3501, refused })), Ended).closed.part).to.equal(part);
    }
  });
});

describe("session: the schema exchange", () => {
  it("offers the descriptors when wanted, once", () => {
    const session = started();
    take(session, unhex("00fd"));
    const [offer] = sent(session);
    expect(read(SchemaOfferSchema, offer).descriptors).to.deep.equal(SCHEMA.descriptors);
    expect([session.state, session.schemaWanted]).to.deep.equal(["login", true]);
    take(session, unhex("00fd"));
    expect(session.dataToSend()).to.deep.equal([]);
    expect(session.dropped.misplaced).to.equal(1);
    take(session, welcome({ verdict: Verdict_Value.COMPATIBLE }));
    expect([session.state, session.welcome?.verdict]).to.deep.equal(["open", Verdict_Value.COMPATIBLE]);
    expect([session.framesReceived, session.outbox.committed]).to.deep.equal([0, 0]);
  });

  it("uses the short form for few", () => {
    const session = started(schemaOf(unhex("0a00")));
    take(session, unhex("00fd"));
    expect(session.dataToSend().map(hex)).to.deep.equal(["04fe0a020a00"]);
  });

  it("offers nothing after Welcome", () => {
    const session = opened();
    take(session, frame(SchemaWantedSchema, {}));
    expect(session.dataToSend()).to.deep.equal([]);
    expect([session.state, session.dropped.misplaced, session.schemaWanted]).to.deep.equal(["open", 1, false]);
  });

  it("offers 256 KiB at most", () => {
    const fits = started(schemaOf(new Uint8Array(262_144 - 4))); // 4: key and length of the field
    take(fits, unhex("00fd"));
    expect(sent(fits).map(({ tag, payload }) => [tag, payload.length])).to.deep.equal([[254, 262_144]]);
    const large = started(schemaOf(new Uint8Array(262_145 - 4)));
    const { closed } = only(take(large, unhex("00fd")), Ended);
    expect([closed.code, closed.byPeer, large.state]).to.deep.equal([CloseCode.TOO_LARGE, false, "closed"]);
    expect(closed.reason).to.contain("offering it takes 262145 bytes, limit 262144");
    expect(large.dataToSend()).to.deep.equal([]);
  });

  it("waits while the server compares, for ten seconds", () => {
    const session = started();
    clock.advance(1000);
    take(session, unhex("00fd"));
    session.handleTimer(clock.advance(9999));
    expect(session.state).to.equal("login");
    session.handleTimer(clock.advance(1));
    expect(only(session.events(), Ended).closed).to.include({ code: CloseCode.TIMEOUT, byPeer: true });
  });
});

describe("session: pings and clock", () => {
  it("answers a ping with its time, ours and the count", () => {
    const session = opened();
    take(session, member(2, JOINED, "b"), member(2, LEFT), member(2, JOINED, "b"));
    const now = clock.advance(500);
    take(session, frame(PingSchema, { sentEpoch: 123456n }));
    const [answer] = sent(session);
    expect(read(PingSchema, answer)).to.deep.equal(
      create(PingSchema, { sentEpoch: 123456n, bounceEpoch: BigInt(now.unix * 1000), framesReceived: 3n }),
    );
  });

  it("does not answer one that asks nothing", () => {
    const session = opened();
    expect(take(session, frame(PingSchema, {}), frame(PingSchema, { sentEpoch: 5n, bounceEpoch: 6n }))).to.deep.equal(
      [],
    );
    expect(session.dataToSend()).to.deep.equal([]);
  });

  it("has the server's round trip and jitter, in milliseconds", () => {
    const session = opened();
    expect([session.rtt, session.jitter]).to.deep.equal([undefined, undefined]);
    expect(take(session, frame(PingSchema, { sentEpoch: 1_000_000n }))).to.deep.equal([
      new Pinged(undefined, undefined, 1000),
    ]);
    const ping = { sentEpoch: 2_000_000n, rttUs: 2500, jitterUs: 300 };
    expect(take(session, frame(PingSchema, ping))).to.deep.equal([new Pinged(2.5, 0.3, 2000)]);
    expect([session.rtt, session.jitter]).to.deep.equal([2.5, 0.3]);
  });

  it("knows the server's clock from Welcome on, and of the least delayed ping", () => {
    const session = opened();
    expect(session.serverTime(clock.now())).to.equal(1_700_000_000_000);
    expect(session.serverTime(clock.advance(10))).to.equal(1_700_000_000_010);
    take(session, frame(PingSchema, { sentEpoch: 1_700_000_000_030_000n, rttUs: 4000 }));
    expect(session.serverTime(clock.now())).to.equal(1_700_000_000_032);
  });

  it("finds the server gone after 10 seconds without a byte", () => {
    const session = opened();
    expect(session.nextDeadline()).to.equal(clock.monotonic + 10_000);
    session.handleTimer(clock.advance(9999));
    session.receiveData(unhex("05"), clock.now()); // any byte is a sign of life
    session.handleTimer(clock.advance(9999));
    session.hear(clock.now());
    session.handleTimer(clock.advance(9999));
    expect(session.state).to.equal("open");
    session.handleTimer(clock.advance(1));
    const { closed } = only(session.events(), Ended);
    expect([closed.code, closed.byPeer]).to.deep.equal([CloseCode.TIMEOUT, true]);
    expect(session.dataToSend()).to.deep.equal([]);
  });
});

describe("session: counting", () => {
  it("counts all frames but those of the conversation itself", () => {
    const session = opened();
    take(
      session,
      frame(PingSchema, {}),
      frame(SchemaWantedSchema, {}),
      encode(1, bytes("")),
      encode(254, bytes("")),
      welcome(),
    );
    expect(session.framesReceived).to.equal(0);
    take(session, encode(6, bytes("")), member(1, JOINED), encode(999, bytes("?")), frame(ResponseSchema, {}));
    expect(session.framesReceived).to.equal(4);
  });

  it("drops what it does not know or cannot read, and goes on", () => {
    const session = opened();
    const events = take(
      session,
      encode(999, bytes("?")),
      encode(6, unhex("08")),
      encode(4, unhex("0a01ff")),
      encode(247, unhex("0a")),
      encode(3, unhex("0801")),
      encode(3, unhex("08")),
      relayed(3, ChatSchema, { text: "x" }).fill(0xff, -1),
      encode(246, unhex("080310041a05")),
      frame(ScoreSchema, { points: 1 }),
    );
    expect(session.dropped).to.include({ unknown: 1, undecodable: 5, misplaced: 1 });
    expect([session.state, session.framesReceived]).to.deep.equal(["open", 7]);
    expect(events.map((event) => event.constructor)).to.deep.equal([Pinged, Received]);
  });

  it("acknowledges after 256 frames, or 64 KiB, and with each answer to a ping", () => {
    const session = opened();
    const score = frame(ScoreSchema, { points: 1 });
    take(session, ...Array.from({ length: 255 }, () => score));
    expect(session.dataToSend()).to.deep.equal([]);
    take(session, score);
    expect(session.dataToSend().map(hex)).to.deep.equal(["040390018002"]);
    const large = encode(999, new Uint8Array(32 * 1024 - 8));
    take(session, large);
    expect(session.dataToSend()).to.deep.equal([]);
    take(session, large);
    expect(sent(session).map((one) => read(PingSchema, one).framesReceived)).to.deep.equal([258n]);
    take(session, ...Array.from({ length: 200 }, () => score), frame(PingSchema, { sentEpoch: 1n }));
    expect(sent(session).map((one) => read(PingSchema, one).framesReceived)).to.deep.equal([458n]);
    take(session, ...Array.from({ length: 255 }, () => score));
    expect(session.dataToSend()).to.deep.equal([]);
  });

  it("counts messages and requests, and not pings, which go first", () => {
    const session = opened();
    session.send(4, bytes("a"));
    session.send(4, bytes("b"));
    take(session, frame(PingSchema, { sentEpoch: 1n }));
    expect(sent(session).map(({ tag }) => tag)).to.deep.equal([3, 4, 4]);
    expect(session.outbox.written).to.equal(2);
  });

  it("does not believe an acknowledgement of what was never sent", () => {
    const session = opened();
    session.send(4, bytes("a"));
    session.dataToSend();
    take(session, frame(PingSchema, { framesReceived: 1n }));
    expect(session.outbox.acknowledged).to.equal(1);
    take(session, frame(PingSchema, { framesReceived: 2n }));
    expect([session.state, session.closed?.code]).to.deep.equal(["closing", CloseCode.VIOLATION]);
  });
});

describe("session: messages and rooms", () => {
  it("takes a bare message for the server's", () => {
    const received = only(take(opened(), frame(ScoreSchema, { player: 1, points: -250 })), Received);
    expect([(received.message as Score).points, received.sender, received.tag, received.delivery]).to.deep.equal([
      -250,
      undefined,
      6,
      "ORDERED",
    ]);
  });

  it("gives a relayed message with its sender", () => {
    const session = opened();
    take(session, member(3, PRESENT, "three"));
    const three = only(take(session, relayed(3, MouseEventSchema, { x: 1 })), Received);
    expect([three.sender, three.delivery]).to.deep.equal([{ id: 3, name: "three", away: false }, "LATEST"]);
    const mine = only(take(session, relayed(41, ChatSchema, { text: "me" })), Received);
    expect([mine.sender, (mine.message as Chat).text]).to.deep.equal([{ id: 41, name: "player1", away: false }, "me"]);
    const unknown = only(take(session, relayed(9, ChatSchema, {})), Received);
    expect(unknown.sender).to.deep.equal({ id: 9, name: "", away: false });
  });

  it("takes from each side only what it may send", () => {
    const session = opened();
    expect(take(session, frame(ChatSchema, {}), relayed(3, ScoreSchema, {}))).to.deep.equal([]);
    expect(session.dropped.misplaced).to.equal(2);
  });

  it("keeps the fields of a newer schema", () => {
    const payload = unhex("0801f80701");
    const received = only(take(opened(), encode(6, payload)), Received);
    expect(hex(toBinary(ScoreSchema, received.message as Score))).to.equal("0801f80701");
  });

  it("keeps nothing of a read but what is of the message", () => {
    // A field of bytes, an unknown one, and one in a message within.
    const messages = [
      [10, body(ScalarsSchema, { bytes: unhex("aabbcc"), string: "x".repeat(100) })],
      [15, unhex("1a02ddee")],
      [15, unhex("0a041a02ffff")],
    ] as const;
    for (const frames of [
      messages.map(([tag, payload]) => encode(tag, payload)),
      messages.map(([tag, payload]) => frame(RelayedSchema, { player: 3, tag, body: payload })),
    ]) {
      const session = started(CONFORMANCE);
      const data = concat(welcome(), ...frames);
      session.receiveData(data, clock.now());
      const [scalars, nest, outer] = session.events().flatMap((one) => (one instanceof Received ? [one.message] : []));
      data.fill(0);
      const kept = [
        (scalars as Scalars).bytes,
        nest?.$unknown?.[0]?.data,
        (outer as Nest | undefined)?.child?.$unknown?.[0]?.data,
      ];
      expect(kept.map((one) => hex(one ?? bytes("")))).to.deep.equal(["aabbcc", "02ddee", "02ffff"]);
      expect(kept.map((one) => one?.buffer.byteLength)).to.deep.equal([3, 3, 3]);
      expect((scalars as Scalars).string).to.equal("x".repeat(100));
    }
  });

  it("knows who comes, goes, is away and back", () => {
    const session = opened();
    const events = take(
      session,
      member(2, PRESENT, "two"),
      member(3, JOINED, "three"),
      member(2, AWAY),
      member(3, LEFT),
      member(2, BACK),
      member(2, 9),
    );
    const told = events.map((event) => (event instanceof MemberChanged ? [event.member, event.change] : event));
    const two = { id: 2, name: "two", away: false };
    const three = { id: 3, name: "three", away: false };
    expect(told).to.deep.equal([
      [two, PRESENT],
      [three, JOINED],
      [{ ...two, away: true }, AWAY],
      [three, LEFT],
      [two, BACK],
    ]);
    expect([...session.members.values()]).to.deep.equal([two]);
    expect(session.dropped.unknown).to.equal(1);
  });

  it("takes the response of a join for the boundary of two rooms", () => {
    const session = opened();
    take(session, member(2, PRESENT, "two"));
    const reply = (room: string) =>
      frame(ResponseSchema, { key: 1n, tag: 248, body: body(JoinRoomReplySchema, { room }) });
    only(take(session, reply("main")), Responded);
    expect([session.room, session.members.size]).to.deep.equal(["main", 1]); // nobody is told again
    take(session, frame(ResponseSchema, { key: 2n, tag: 248, status: 3 }));
    expect([session.room, session.members.size]).to.deep.equal(["main", 1]);
    take(session, reply("lobby"), member(3, PRESENT, "three"));
    expect([session.room, [...session.members.keys()]]).to.deep.equal(["lobby", [3]]);
  });

  it("leaves the player in no room when that ends", () => {
    const session = opened();
    take(session, member(2, PRESENT, "two"));
    expect(take(session, frame(RoomEndedSchema, { room: "main", reason: "over" }))).to.deep.equal([
      new RoomEnded("main", "over"),
    ]);
    expect([session.room, session.members.size]).to.deep.equal(["", 0]);
  });

  it("names the message of a notice", () => {
    const told = take(
      opened(),
      frame(NoticeSchema, { reason: 4, tag: 4, text: "slow" }),
      frame(NoticeSchema, { reason: 1, tag: 999 }),
    );
    expect(told).to.deep.equal([new Noticed(4, 4, "arena.v1.Chat", "slow"), new Noticed(1, 999, "", "")]);
  });
});

describe("session: requests", () => {
  it("raises keys strictly from 1, over batches too", () => {
    const session = opened();
    const one = { tag: 301, body: unhex("0a00") };
    const first = session.draft([one]);
    const batch = session.draft([one, one], true);
    const last = session.draft([one]);
    expect([first.keys, batch.keys, last.keys]).to.deep.equal([[1], [2, 3], [4]]);
    for (const { tag, payload } of [first, batch, last]) session.send(tag, payload);
    const frames = sent(session);
    expect(hex(session.dataToSend()[0] ?? bytes(""))).to.equal("");
    expect(read(RequestSchema, frames[0])).to.include({ key: 1n, tag: 301 });
    const read2 = read(BatchSchema, frames[1]);
    expect([read2.requests.map(({ key }) => key), read2.stopOnError]).to.deep.equal([[2n, 3n], true]);
    expect(hex(encode(first.tag, first.payload))).to.equal("09f2080110ad021a020a00");
  });

  it("counts for a batch at least what it takes", () => {
    const random = seeded(3);
    const session = opened();
    for (let round = 0; round < 50; round += 1) {
      const requests = Array.from({ length: 1 + Math.floor(random() * 64) }, () => ({
        tag: 1 + Math.floor(random() * 65535),
        body: new Uint8Array(Math.floor(random() * 1000)),
      }));
      const counted = requests.reduce((sum, one) => sum + BATCH_ENTRY_BYTES + one.body.length, BATCH_BYTES);
      expect(session.draft(requests, true).payload.length).to.be.at.most(counted);
    }
  });
});

describe("session: the end", () => {
  it("by this side sends a Disconnect and waits a second for the end", () => {
    const session = opened();
    session.send(4, bytes("last"));
    session.close(4001, "bye", clock.now());
    session.close(0, "again", clock.now());
    const frames = sent(session);
    expect(frames.map(({ tag }) => tag)).to.deep.equal([4, 241]);
    expect(read(DisconnectSchema, frames[1])).to.include({ code: 4001, reason: "bye" });
    expect(only(session.events(), Ended).closed).to.include({ code: 4001, reason: "bye", byPeer: false });
    expect([session.state, session.nextDeadline(), session.farewellCode]).to.deep.equal([
      "closing",
      clock.monotonic + 1000,
      4001,
    ]);
    expect(take(session, frame(ScoreSchema, {}))).to.deep.equal([]);
    session.handleTimer(clock.advance(1000));
    expect([session.state, session.nextDeadline()]).to.deep.equal(["closed", undefined]);
    expect(() => session.send(4, bytes(""))).to.throw("closed");
  });

  it("comes with the peer's when closing", () => {
    const session = opened();
    session.close(0, "", clock.now());
    session.receiveEof();
    expect(session.state).to.equal("closed");
    expect(session.events().length).to.equal(1);
  });

  it("by a Disconnect comes after everything before it", () => {
    const events = take(opened(), frame(ScoreSchema, {}), frame(DisconnectSchema, { code: 4600, reason: "x" }));
    expect(events.map((event) => event.constructor)).to.deep.equal([Received, Ended]);
    expect(events[1]).to.have.property("closed").that.includes({ code: 4600, reason: "x", byPeer: true });
  });

  it("without a Disconnect is a lost connection", () => {
    const session = opened();
    session.receiveData(unhex("0506080"), clock.now());
    session.receiveEof();
    const { closed } = only(session.events(), Ended);
    expect([closed.code, closed.reason]).to.deep.equal([
      CloseCode.TIMEOUT,
      "the connection ended without a Disconnect, 3 bytes into a frame",
    ]);
  });

  it("is told to a server that sends what is no frame, or too large a one", () => {
    for (const [data, code] of [
      ["0300", CloseCode.MALFORMED],
      ["ff000002000100" + "41", CloseCode.TOO_LARGE],
    ] as const) {
      const session = opened();
      session.receiveData(unhex(data), clock.now());
      expect([session.state, session.closed?.code, session.closed?.byPeer]).to.deep.equal(["closing", code, false]);
      expect(read(DisconnectSchema, sent(session)[0]).code).to.equal(code);
    }
  });

  it("does not come for a message of the largest size in its wrapper", () => {
    const session = opened();
    const large = frame(ResponseSchema, { key: 1n << 63n, tag: 65535, body: new Uint8Array(65536) });
    expect(take(session, large).length).to.equal(1);
    expect(opened(welcome({ limits: { maxFrameBytes: 1 << 30 } })).maxReceiveBytes).to.equal(16 * 1024 * 1024);
  });

  it("comes with a message that ends within a frame, where there are messages", () => {
    const session = opened();
    session.receiveMessage(frame(ScoreSchema, { points: 1 }), clock.now());
    expect(session.state).to.equal("open");
    session.receiveMessage(unhex("050608"), clock.now());
    expect(session.closed).to.include({ code: CloseCode.MALFORMED });
  });

  it("comes with a close code of ours, and not with one of WebSocket alone", () => {
    const ours = opened();
    ours.receiveClose(3508, "kicked");
    expect(ours.closed).to.include({ code: 3508, reason: "kicked", byPeer: true });
    const theirs = opened();
    theirs.receiveClose(1001, "going away");
    expect(theirs.closed).to.include({ code: CloseCode.TIMEOUT });
    expect(theirs.closed?.reason).to.contain("closed with code 1001 of WebSocket, going away");
  });
});

describe("session: any input", () => {
  it("throws nothing, and gives the same events for any cutting", () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = seeded(seed);
      const parts = Array.from({ length: 20 }, () => {
        const choice = random();
        if (choice < 0.3) return member(Math.floor(random() * 4), Math.floor(random() * 7), "x");
        if (choice < 0.5) return relayed(Math.floor(random() * 4), PickColourSchema, { colour: 1 });
        const tag = [3, 4, 6, 240, 241, 243, 245, 246, 247, 249, 253, 999][Math.floor(random() * 12)] ?? 1;
        return encode(
          tag === 241 && random() < 0.8 ? 6 : tag,
          Uint8Array.from({ length: random() * 20 }, () => random() * 256),
        );
      });
      const data = concat(...parts, ...(random() < 0.3 ? [unhex("0300")] : []));
      const whole = opened();
      const events = take(whole, data);
      const pieces = opened();
      const found: Event[] = [];
      for (let at = 0; at < data.length;) {
        const end = at + 1 + Math.floor(random() * 9);
        pieces.receiveData(data.slice(at, end), clock.now());
        found.push(...pieces.events());
        at = end;
      }
      expect(found, `seed ${seed}`).to.deep.equal(events);
      expect(pieces.dropped).to.deep.equal(whole.dropped);
      expect(pieces.framesReceived).to.equal(whole.framesReceived);
    }
  });
});
