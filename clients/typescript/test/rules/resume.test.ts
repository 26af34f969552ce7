/** How a session goes on after a lost connection, rule by rule, on a virtual clock. */

import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { MouseEventSchema, SCHEMA, ScoreSchema } from "../../gen/arena/index.js";
import { CloseCode } from "../../src/close.js";
import { Ended, Lost, Opened, Received, Responded, type Event } from "../../src/events.js";
import { encode } from "../../src/frame.js";
import {
  DisconnectSchema,
  PingSchema,
  PlayerLoginSchema,
  ResponseSchema,
  ResumeSchema,
  SchemaWantedSchema,
  type PlayerLogin,
} from "../../src/gen/tagwire/v1/session_pb.js";
import { MAX_KEPT_BYTES } from "../../src/outbox.js";
import { Session, type Credentials } from "../../src/session.js";
import {
  Clock,
  JOINED,
  TOKEN,
  bytes,
  concat,
  frame,
  member,
  only,
  read,
  relayed,
  resumable,
  seeded,
  sent,
} from "../support/messages.js";

let clock: Clock;

beforeEach(() => {
  clock = new Clock();
});

function opened(answer = resumable(), credentials: Credentials = {}, reconnect = true): Session {
  const session = new Session(SCHEMA, { username: "player1", password: "welcome", ...credentials }, reconnect);
  session.start(clock.now());
  take(session, answer);
  session.dataToSend();
  return session;
}

function take(session: Session, ...data: Uint8Array[]): Event[] {
  session.receiveData(concat(...data), clock.now());
  return session.events();
}

/** Loses the connection. */
function cut(session: Session): Lost {
  session.receiveEof("the cable is out");
  const lost = session.events().at(-1);
  expect(lost).to.be.instanceOf(Lost);
  return lost as Lost;
}

/** The login on the next connection. */
function asked(session: Session): PlayerLogin {
  session.start(clock.now());
  const frames = sent(session);
  expect(frames.length).to.equal(1);
  return read(PlayerLoginSchema, frames[0]);
}

/** The next connection, on which the server goes on; gives the events. */
function back(session: Session, handled: number, ...data: Uint8Array[]): Event[] {
  asked(session);
  return take(session, resumable({ resumed: true, framesReceived: BigInt(handled) }), ...data);
}

describe("resume: being away", () => {
  it("is no end, and says that the session may go on", () => {
    const session = opened();
    const lost = cut(session);
    expect([lost.closed.code, lost.closed.reason, lost.resumable]).to.deep.equal([
      CloseCode.TIMEOUT,
      "the cable is out",
      true,
    ]);
    expect([session.state, session.closed, session.nextDeadline()]).to.deep.equal(["away", undefined, undefined]);
    expect(() => session.send(4, bytes(""))).to.throw("away");
    expect([take(session, encode(6, bytes(""))), session.framesReceived, session.dataToSend()]).to.deep.equal([
      [],
      0,
      [],
    ]);
  });

  it("is the end without reconnecting, and before the first Welcome", () => {
    const session = opened(resumable(), {}, false);
    session.send(4, bytes("a"));
    session.dataToSend();
    expect(session.outbox.keptBytes).to.equal(0); // for nobody would ask for it
    session.receiveEof();
    only(session.events(), Ended);
    const first = new Session(SCHEMA, { username: "p" }, true);
    first.start(clock.now());
    first.receiveEof();
    only(first.events(), Ended);
  });

  it("comes with ten seconds of silence, without a Disconnect", () => {
    const session = opened();
    session.handleTimer(clock.advance(10_000));
    const lost = only(session.events(), Lost);
    expect([lost.closed.code, lost.resumable, session.dataToSend()]).to.deep.equal([CloseCode.TIMEOUT, true, []]);
  });

  it("comes with a Disconnect TIMEOUT, of the connection alone", () => {
    const session = opened();
    expect(only(take(session, frame(DisconnectSchema, { code: 3002 })), Lost).resumable).to.equal(true);
    expect(asked(session).resume?.token).to.deep.equal(TOKEN);
  });

  for (const code of [3000, 3001, 3003, 3499, 4000, 4499]) {
    it(`comes with ${code}, after which the session is no more`, () => {
      const session = opened();
      const lost = only(take(session, frame(DisconnectSchema, { code, retryAfterMs: 1500 })), Lost);
      expect([lost.closed.code, lost.closed.retryAfter, lost.resumable]).to.deep.equal([code, 1500, false]);
      expect(asked(session).resume).to.equal(undefined);
    });
  }

  for (const code of [0, 3500, 3508, 3509, 4500, 4999]) {
    it(`does not come with ${code}, which is the end`, () => {
      const session = opened();
      only(take(session, frame(DisconnectSchema, { code })), Ended);
      expect(session.state).to.equal("closed");
    });
  }

  for (const fields of [{ resumeToken: bytes("") }, { resumeWindowMs: 0 }]) {
    it(`keeps nothing where the server does not resume: ${Object.keys(fields)[0] ?? ""}`, () => {
      const session = opened(resumable(fields));
      session.send(4, new Uint8Array(100));
      session.dataToSend();
      expect(session.outbox.keptBytes).to.equal(0);
      expect(cut(session).resumable).to.equal(false);
      expect(asked(session).resume).to.equal(undefined);
    });
  }
});

describe("resume: asking for it", () => {
  it("is the same login beside token, count and number of the connection", () => {
    const session = opened(resumable(), { token: "jwt" });
    take(session, member(2, JOINED, "b"), member(2, JOINED), member(2, JOINED), frame(PingSchema, {}));
    cut(session);
    const login = asked(session);
    expect(login.resume).to.deep.equal(create(ResumeSchema, { token: TOKEN, framesReceived: 3n, connection: 2 }));
    expect([login.username, login.password, login.token]).to.deep.equal(["player1", "welcome", "jwt"]);
    cut(session);
    expect(asked(session).resume?.connection).to.equal(3);
    take(session, resumable({ resumeToken: bytes("another") }));
    cut(session);
    expect([asked(session).resume?.connection]).to.deep.equal([2]);
  });

  it("goes on after a login that took too long", () => {
    const session = opened();
    cut(session);
    asked(session);
    only(take(session, frame(DisconnectSchema, { code: CloseCode.LOGIN_TIMEOUT })), Lost);
    expect(asked(session).resume?.token).to.deep.equal(TOKEN);
  });

  it("is all that is sent before Welcome", () => {
    const session = opened();
    session.send(4, bytes("kept"));
    take(session, frame(PingSchema, { sentEpoch: 5n }));
    cut(session);
    asked(session);
    take(session, frame(PingSchema, { sentEpoch: 6n }), encode(6, bytes("")));
    expect([session.dataToSend(), session.framesReceived]).to.deep.equal([[], 0]);
    take(session, frame(SchemaWantedSchema, {}));
    expect(sent(session).map(({ tag }) => tag)).to.deep.equal([254]);
  });

  it("is left out where the credentials leave no room", () => {
    const session = opened(resumable(), { token: "x".repeat(8192 - 90) });
    cut(session);
    expect(asked(session).resume).to.equal(undefined);
  });
});

describe("resume: going on", () => {
  it("sends all behind the server's count again, in order, before anything new, and no pings", () => {
    const session = opened();
    for (const text of ["a", "b", "c"]) session.send(4, bytes(text));
    take(session, frame(PingSchema, { sentEpoch: 1n }));
    session.dataToSend();
    session.send(4, bytes("d"));
    cut(session);
    const event = only(back(session, 1), Opened);
    expect([event.resumed, event.lost]).to.deep.equal([true, 0]);
    session.send(4, bytes("e"));
    const texts = sent(session).map(({ payload }) => new TextDecoder().decode(payload));
    expect(texts).to.deep.equal(["b", "c", "d", "e"]);
  });

  it("counts what was handled over all connections, and throws half a frame away", () => {
    const session = opened();
    take(session, member(2, JOINED, "two"), frame(ScoreSchema, {}), encode(999, bytes("?")));
    session.receiveData(frame(ScoreSchema, { points: 5 }).slice(0, 3), clock.now());
    cut(session);
    const events = back(session, 0, frame(ScoreSchema, { points: 6 }));
    expect(events.map((event) => event.constructor)).to.deep.equal([Opened, Received]);
    expect([session.framesReceived, session.room, [...session.members.keys()]]).to.deep.equal([4, "main", [2]]);
  });

  it("answers a request on whatever connection, with keys that rise", () => {
    const session = opened();
    const first = session.draft([{ tag: 4, body: bytes("") }]);
    session.send(first.tag, first.payload);
    session.dataToSend();
    cut(session);
    const events = back(session, 1, frame(ResponseSchema, { key: 1n }));
    expect(events.map((event) => event.constructor)).to.deep.equal([Opened, Responded]);
    expect(session.draft([{ tag: 4, body: bytes("") }]).keys).to.deep.equal([2]);
  });

  it("does not send again what was acknowledged", () => {
    const session = opened();
    for (const text of ["a", "b", "c"]) session.send(4, bytes(text));
    session.dataToSend();
    take(session, frame(PingSchema, { framesReceived: 2n }));
    expect(session.outbox.keptBytes).to.equal(3);
    cut(session);
    back(session, 2);
    expect(sent(session).length).to.equal(1);
  });

  it("ends with VIOLATION where nothing can go on, and then begins anew", () => {
    for (const handled of [4, 99]) {
      const session = opened();
      for (let number = 0; number < 3; number += 1) session.send(4, bytes("x"));
      session.dataToSend();
      cut(session);
      expect(back(session, handled)).to.deep.equal([]);
      expect(read(DisconnectSchema, sent(session)[0]).code).to.equal(CloseCode.VIOLATION);
      expect([session.state, session.closed]).to.deep.equal(["closing", undefined]);
      session.receiveEof();
      expect(only(session.events(), Lost).resumable).to.equal(false);
      expect(asked(session).resume).to.equal(undefined);
      const event = only(take(session, resumable()), Opened);
      expect([event.resumed, event.lost]).to.deep.equal([false, 3]);
    }
  });

  it("begins anew where the server wants what was forgotten", () => {
    const session = opened();
    for (let number = 0; number < 5; number += 1) session.send(4, new Uint8Array(MAX_KEPT_BYTES / 4));
    session.dataToSend();
    cut(session);
    back(session, 1);
    expect(session.state).to.equal("closing");
    session.close(0, "enough", clock.now());
    only(session.events(), Ended);
  });

  it("begins a new session with nothing but the keys", () => {
    const session = opened();
    take(session, member(2, JOINED, "two"), frame(PingSchema, { sentEpoch: 1n, rttUs: 1000 }));
    session.send(4, bytes("a"));
    const request = session.draft([{ tag: 4, body: bytes("") }]);
    session.send(request.tag, request.payload);
    session.dataToSend();
    cut(session);
    asked(session);
    const event = only(take(session, resumable({ playerId: 50, room: "hall" })), Opened);
    expect([event.resumed, event.lost]).to.deep.equal([false, 2]);
    expect([session.playerId, session.room, session.members.size, session.rtt]).to.deep.equal([
      50,
      "hall",
      0,
      undefined,
    ]);
    expect([session.framesReceived, session.outbox.committed, session.dataToSend()]).to.deep.equal([0, 0, []]);
    expect(session.draft([{ tag: 4, body: bytes("") }]).keys).to.deep.equal([2]);
  });

  it("does not believe a server that was not asked", () => {
    const session = new Session(SCHEMA, { username: "p" }, true);
    session.start(clock.now());
    expect(only(take(session, resumable({ resumed: true, framesReceived: 9n })), Opened).resumed).to.equal(false);
  });

  it("logs in without it after a refused resume, and ends with a refused login", () => {
    const session = opened();
    cut(session);
    asked(session);
    const lost = only(take(session, frame(DisconnectSchema, { code: CloseCode.RESUME_REFUSED })), Lost);
    expect(lost.resumable).to.equal(false);
    expect(asked(session).resume).to.equal(undefined);
    only(take(session, frame(DisconnectSchema, { code: CloseCode.LOGIN_REFUSED })), Ended);
  });
});

describe("resume: the end", () => {
  it("while away, or during the next login, just comes", () => {
    const session = opened();
    cut(session);
    session.close(0, "enough", clock.now());
    expect([session.state, session.dataToSend()]).to.deep.equal(["closed", []]);
    const other = opened();
    cut(other);
    asked(other);
    other.close(0, "enough", clock.now());
    expect([other.state, other.dataToSend()]).to.deep.equal(["closed", []]);
  });

  it("is a time-out when nobody tries any more", () => {
    const session = opened();
    session.giveUp("not now");
    expect(session.state).to.equal("open");
    cut(session);
    session.giveUp("no connection came back");
    expect(only(session.events(), Ended).closed).to.include({ code: CloseCode.TIMEOUT, byPeer: true });
  });

  it("has the token in the login and nowhere else", () => {
    const session = opened();
    expect(session.welcome?.resumeToken).to.deep.equal(new Uint8Array(0));
    expect(JSON.stringify(session, (_, value: unknown) => (typeof value === "bigint" ? 0 : value))).not.to.contain(
      "97,32,115", // "a s"
    );
  });
});

describe("resume: any number of connections", () => {
  it("is as good as one", () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const random = seeded(seed);
      const session = opened();
      const toServer: Uint8Array[] = []; // handled by the server, in order
      let way: Uint8Array[] = [];
      const toClient: Uint8Array[] = []; // all that the server has committed
      const received: number[] = [];
      let given = 0; // how much of it is on this connection already
      let made = 0;
      const flush = () => {
        for (const data of session.dataToSend()) if (data[1] === 4) way.push(data);
      };
      const handle = () => {
        for (const event of session.events()) {
          if (event instanceof Received) received.push((event.message as { x?: number }).x ?? 0);
        }
      };
      for (let step = 0; step < 200; step += 1) {
        const choice = random();
        if (choice < 0.25) session.send(4, bytes(String((made += 1))));
        else if (choice < 0.45) flush();
        else if (choice < 0.6) toServer.push(...way.splice(0, Math.ceil(random() * 4)));
        else if (choice < 0.75) toClient.push(relayed(3, MouseEventSchema, { x: toClient.length + 1 }));
        else if (choice < 0.9) {
          for (; given < toClient.length && random() < 0.7; given += 1) {
            session.receiveData(toClient[given] ?? bytes(""), clock.now());
          }
          handle();
        } else {
          cut(session);
          way = [];
          const login = asked(session);
          given = Number(login.resume?.framesReceived);
          take(session, resumable({ resumed: true, framesReceived: BigInt(toServer.length) }));
        }
      }
      const texts = toServer.map((data) => Number(new TextDecoder().decode(data.slice(2))));
      expect(texts, `seed ${seed}`).to.deep.equal(Array.from(texts, (_, at) => at + 1));
      expect(received, `seed ${seed}`).to.deep.equal(Array.from(received, (_, at) => at + 1));
    }
  });

  it("takes the limits of the newest", () => {
    const session = opened();
    cut(session);
    asked(session);
    take(session, resumable({ resumed: true, limits: { maxFrameBytes: 1000 } }));
    expect(session.maxFrameBytes).to.equal(1000);
  });
});
