/** The small tables and rules: addresses, back-off, clock, close codes, errors. */

import { expect } from "chai";
import { parseAddress } from "../../src/address.js";
import { ServerClock, Steady } from "../../src/clock.js";
import { CloseCode, closeCodeName, closedWith, describeClosed, isRetryable } from "../../src/close.js";
import {
  AddressError,
  ConnectionClosed,
  LoginRefused,
  RequestFailed,
  SchemaMismatch,
  Status,
} from "../../src/errors.js";
import { Noticed } from "../../src/events.js";
import { describeNotice } from "../../src/notice.js";
import { Delays, policyOf, type Policy } from "../../src/reconnect.js";

const DEFAULT = policyOf(true) as Policy;

describe("address", () => {
  for (const [text, host, port, scheme, path, printed] of [
    ["localhost:7777", "localhost", 7777, "tagwire", "/", "localhost:7777"],
    ["localhost", "localhost", 7777, "tagwire", "/", "localhost:7777"],
    [" tagwire://h:1/ ", "h", 1, "tagwire", "/", "h:1"],
    ["TAGWIRES://h", "h", 7777, "tagwires", "/", "tagwires://h:7777"],
    ["[::1]:9", "::1", 9, "tagwire", "/", "[::1]:9"],
    ["::1", "::1", 7777, "tagwire", "/", "[::1]:7777"],
    ["ws://h", "h", 7777, "ws", "/", "ws://h:7777"],
    ["wss://h:443/packets?x=1", "h", 443, "wss", "/packets?x=1", "wss://h:443/packets?x=1"],
    ["ws://h?x", "h", 7777, "ws", "/?x", "ws://h:7777/?x"],
  ] as const) {
    it(`reads ${text}`, () => {
      const address = parseAddress(text);
      expect([address.host, address.port, address.scheme, address.path]).to.deep.equal([host, port, scheme, path]);
      expect(String(address)).to.equal(printed);
    });
  }

  it("takes another scheme for an address that names none", () => {
    expect(String(parseAddress("localhost", "ws"))).to.equal("ws://localhost:7777");
    expect(String(parseAddress("tagwire://localhost", "ws"))).to.equal("localhost:7777");
  });

  for (const [text, why] of [
    ["", "there is no host in it"],
    [":7777", "there is no host in it"],
    ["h:0", "the port is '0'"],
    ["h:65536", "1 to 65535"],
    ["h:x", "the port is 'x'"],
    ["h:", "the port is ''"],
    ["http://h", "http:// is not known"],
    ["mem:x", "mem: is for clients inside"],
    ["a b:1", "not a host name"],
    ["h/x", "not a host name"],
    ["[::1", "[address]:port"],
    ["ws://h/ü", "printable ASCII"],
    ["ws://h/#x", "without #"],
  ] as const) {
    it(`explains what is wrong with '${text}'`, () => {
      expect(() => parseAddress(text)).to.throw(AddressError, why);
    });
  }

  it("does not repeat credentials", () => {
    expect(() => parseAddress("ws://me:secret@h")).to.throw(AddressError, /^(?!.*secret).*\.\.\.@h/);
  });
});

describe("reconnect", () => {
  it("has the protocol's numbers", () => {
    expect(DEFAULT).to.deep.equal({
      firstDelay: 500,
      factor: 2,
      maxDelay: 30_000,
      jitter: 1,
      giveUpAfter: 120_000,
    });
  });

  it("doubles from half a second to thirty", () => {
    const delays = new Delays(DEFAULT, () => 0);
    const found = Array.from({ length: 9 }, () => delays.next());
    expect(found).to.deep.equal([500, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    delays.reset();
    expect(delays.next({ quick: true })).to.equal(200);
    expect(delays.next({ quick: true })).to.equal(500);
  });

  it("draws the whole delay by lot, and adds what the server asks for", () => {
    expect(new Delays(DEFAULT, () => 1).next()).to.equal(0);
    expect(new Delays(DEFAULT, () => 0.5).next({ retryAfter: 1500 })).to.equal(1750);
    expect(new Delays({ ...DEFAULT, jitter: 0.5 }, () => 1).next()).to.equal(250);
    expect(new Delays({ ...DEFAULT, jitter: 0 }, () => 1).next()).to.equal(500);
  });

  it("does not overflow after many attempts", () => {
    const delays = new Delays({ ...DEFAULT, factor: 1e300 }, () => 0);
    for (let round = 0; round < 2000; round += 1) expect(delays.next()).to.be.at.most(30_000);
  });

  it("refuses numbers that make no sense", () => {
    for (const wrong of [
      { firstDelay: -1 },
      { factor: 0.5 },
      { maxDelay: Infinity },
      { jitter: 1.1 },
      { giveUpAfter: NaN },
    ]) {
      expect(() => policyOf(wrong)).to.throw(RangeError, Object.keys(wrong)[0]);
    }
    expect(policyOf(false)).to.equal(undefined);
    expect(policyOf({ giveUpAfter: Infinity })?.giveUpAfter).to.equal(Infinity);
  });
});

describe("clock", () => {
  it("knows nothing before the first sample", () => {
    expect(new ServerClock().at(0)).to.equal(undefined);
  });

  it("takes the fastest of the last 16 samples, and half of the shortest round trip", () => {
    const clock = new ServerClock();
    clock.sample(10_000, 0, 100);
    expect(clock.at(100)).to.equal(10_000);
    clock.sample(10_090, 20, 200); // travelled 10 longer
    clock.sample(10_205, 30, 300);
    expect(clock.at(300)).to.equal(10_205 + 10);
    for (let number = 0; number < 16; number += 1) clock.sample(5000 + number, 8, 400 + number);
    expect(clock.at(400)).to.equal(5004);
  });

  it("never reads back by less than a second", () => {
    const steady = new Steady();
    expect([1000, 2000, 1500, 1001, 2001].map((one) => steady.read(one))).to.deep.equal([1000, 2000, 2000, 2000, 2001]);
    expect(steady.read(1000)).to.equal(1000); // it was set back
  });
});

describe("close", () => {
  it("advises by ranges", () => {
    for (const code of [3000, 3499, 4000, 4499]) expect(isRetryable(code), String(code)).to.equal(true);
    for (const code of [0, 2999, 3500, 3999, 4500, 4999]) expect(isRetryable(code), String(code)).to.equal(false);
  });

  it("names what the table has, and prints the rest", () => {
    expect([closeCodeName(3001), closeCodeName(4321)]).to.deep.equal(["SLOW", "4321"]);
    expect(describeClosed(closedWith(4321, "bye", { byPeer: true }))).to.equal("closed by the server: 4321, bye");
    expect(describeClosed(closedWith(CloseCode.SLOW))).to.equal("closed by this client: SLOW (3001)");
  });
});

describe("errors", () => {
  it("say what to do", () => {
    const refused = new LoginRefused(closedWith(CloseCode.LOGIN_REFUSED, "wrong", { part: "password" }));
    expect(refused.message).to.match(/^login refused: LOGIN_REFUSED \(3501\), wrong; one of the two.*'welcome'/);
    expect([refused.part, refused.retryable, refused.name]).to.deep.equal(["password", false, "LoginRefused"]);
    const mismatch = new SchemaMismatch(closedWith(CloseCode.SCHEMA_MISMATCH, "", { findings: ["a: b"] }));
    expect(mismatch.message).to.match(/contradict each other; run `scripts\/gen`.*\n {2}a: b$/);
    expect([mismatch.part, mismatch.findings]).to.deep.equal(["schema", ["a: b"]]);
    const ended = new ConnectionClosed(closedWith(CloseCode.REPLACED, "", { byPeer: true }), { mayHaveRun: true });
    expect(ended.message).to.match(/the same name logged in again elsewhere; what was asked for may have run/);
  });

  it("of requests tell whether it may have run", () => {
    const fields = { message: "", code: 0, retryAfterMs: 0, mayHaveRun: false };
    expect(new RequestFailed("r", { ...fields, status: Status.INTERNAL }).mayHaveRun).to.equal(true);
    expect(new RequestFailed("r", { ...fields, status: Status.ILLEGAL, code: 17 }).mayHaveRun).to.equal(false);
    const busy = new RequestFailed("r", { ...fields, status: Status.UNAVAILABLE, retryAfterMs: 100, mayHaveRun: true });
    expect(busy.message).to.equal(
      "r was answered with UNAVAILABLE; ask again in 100 ms, but only if twice does no harm: it may have run",
    );
  });

  it("of notices name the message", () => {
    expect(describeNotice(new Noticed(4, 4, "arena.v1.Chat", "max_rate is 5/s"))).to.equal(
      "the server dropped arena.v1.Chat: RATE_LIMITED, max_rate is 5/s; send it less often, or raise its `max_rate` or the server's limit",
    );
    expect(describeNotice(new Noticed(99 as number, 7, "", ""))).to.equal(
      "the server dropped a message with tag 7: 99",
    );
  });
});
