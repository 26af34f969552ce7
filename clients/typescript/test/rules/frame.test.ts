import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { MouseEventSchema, ChatSchema, ScoreSchema } from "../../gen/arena/index.js";
import { Decoder, FrameTooLarge, MalformedFrame, encode, type Frame } from "../../src/frame.js";
import { MemberSchema, RelayedSchema, RoomEndedSchema } from "../../src/gen/tagwire/v1/room_pb.js";
import {
  DisconnectSchema,
  PingSchema,
  PlayerLoginSchema,
  RequestSchema,
  ResponseSchema,
} from "../../src/gen/tagwire/v1/session_pb.js";
import { bytes, concat, hex, seeded, unhex } from "../support/messages.js";

const LIMIT = 64 * 1024;

function golden<D extends DescMessage>(data: string, tag: number, desc: D, fields: MessageInitShape<D>) {
  return { data: data.replaceAll(" ", ""), tag, desc, message: create(desc, fields) };
}

// Those of docs/PROTOCOL.md, and of the reference.
const GOLDEN = [
  golden("04 02 08011001", 2, MouseEventSchema, { x: 1, y: 1 }),
  golden("00 02", 2, MouseEventSchema, {}),
  golden("12 02 08ac0210fbffffffffffffffff0118012001", 2, MouseEventSchema, {
    x: 300,
    y: -5,
    leftClick: true,
    rightClick: true,
  }),
  golden("05 04 0a03676f21", 4, ChatSchema, { text: "go!" }),
  golden("05 06 080110f303", 6, ScoreSchema, { player: 1, points: -250 }),
  golden("12 01 0a07706c6179657231120777656c636f6d65", 1, PlayerLoginSchema, {
    username: "player1",
    password: "welcome",
  }),
  golden("09 03 08c0aabbba9e8dfd02", 3, PingSchema, { sentEpoch: 1676110573000000n }),
  golden("15 03 08c0aabbba9e8dfd0210b4aebbba9e8dfd02900103", 3, PingSchema, {
    sentEpoch: 1676110573000000n,
    bounceEpoch: 1676110573000500n,
    framesReceived: 3n,
  }),
  golden("04 03 90018002", 3, PingSchema, { framesReceived: 256n }),
  golden("1d f1 08ad1b121677726f6e67206e616d65206f722070617373776f72643002", 241, DisconnectSchema, {
    code: 3501,
    reason: "wrong name or password",
    refused: 2,
  }),
  golden("0a f6 080310021a0408011001", 246, RelayedSchema, { player: 3, tag: 2, body: unhex("08011001") }),
  golden("0c f7 080310021a06706c61796572", 247, MemberSchema, { player: 3, event: 2, name: "player" }),
  golden("0d f2 080110f8011a060a0472656431", 242, RequestSchema, { key: 1n, tag: 248, body: unhex("0a0472656431") }),
  golden("0d f3 080310ad0218022a026e6f3007", 243, ResponseSchema, {
    key: 3n,
    tag: 301,
    status: 2,
    message: "no",
    code: 7,
  }),
  golden("09 f9 0a047265643112016f", 249, RoomEndedSchema, { room: "red1", reason: "o" }),
];

function all(decoder: Decoder): Frame[] {
  const frames = [];
  for (let frame; (frame = decoder.next());) frames.push(frame);
  return frames;
}

describe("frame", () => {
  for (const { data, tag, desc, message } of GOLDEN) {
    it(`has the golden bytes ${data} both ways`, () => {
      expect(hex(encode(tag, toBinary(desc, message)))).to.equal(data);
      const decoder = new Decoder(LIMIT);
      decoder.feed(unhex(data));
      const [frame, more] = all(decoder);
      expect(more).to.equal(undefined);
      expect([frame?.tag, frame?.size]).to.deep.equal([tag, data.length / 2]);
      expect(fromBinary(desc, frame?.payload ?? new Uint8Array())).to.deep.equal(message);
    });
  }

  for (const [tag, size, header] of [
    [2, 0, "0002"],
    [255, 255, "ffff"],
    [1, 255, "ff01"],
    [2, 256, "ff00000200000100"],
    [256, 0, "ff00010000000000"],
    [65535, 3, "ff00ffff00000003"],
  ] as const) {
    it(`uses the short form whenever it fits: tag ${tag}, ${size} bytes`, () => {
      expect(hex(encode(tag, new Uint8Array(size)))).to.equal(header + "00".repeat(size));
    });
  }

  it("refuses tags that no frame has", () => {
    for (const tag of [0, -1, 65536, 1.5, NaN]) expect(() => encode(tag, new Uint8Array())).to.throw(RangeError);
  });

  it("takes the extended form where the short would do", () => {
    const decoder = new Decoder(LIMIT);
    decoder.feed(unhex("ff0000020000000408011001"));
    const [frame, ...more] = all(decoder);
    expect([frame?.tag, hex(frame?.payload ?? bytes("")), frame?.size]).to.deep.equal([2, "08011001", 12]);
    expect(more).to.deep.equal([]);
  });

  it("gives the same frames for any cutting of the bytes", () => {
    const random = seeded(7);
    const frames = Array.from({ length: 200 }, () => {
      const tag = 1 + Math.floor(random() * (random() < 0.5 ? 255 : 65535));
      const size = Math.floor(random() * (random() < 0.9 ? 40 : 3000));
      return encode(
        tag,
        Uint8Array.from({ length: size }, () => random() * 256),
      );
    });
    const data = concat(...frames);
    for (let round = 0; round < 20; round += 1) {
      const decoder = new Decoder(LIMIT);
      const found: Frame[] = [];
      for (let at = 0; at < data.length;) {
        const end = at + 1 + Math.floor(random() * (round % 2 ? 7 : 5000));
        decoder.feed(data.slice(at, end));
        found.push(...all(decoder));
        at = end;
      }
      expect(found.map(({ tag, payload }) => hex(encode(tag, payload)))).to.deep.equal(frames.map(hex));
      expect(decoder.pendingBytes).to.equal(0);
    }
  });

  for (const [data, why] of [
    ["0000", "tag 0 and length 0"],
    ["0300", "tag 0 and length 3"],
    ["ff000000", "extended frame with tag 0"],
  ] as const) {
    it(`finds ${data} malformed as soon as it shows, and for good`, () => {
      const decoder = new Decoder(LIMIT);
      decoder.feed(unhex(data));
      for (let round = 0; round < 2; round += 1) {
        expect(() => decoder.next()).to.throw(MalformedFrame, why);
        decoder.feed(unhex("0002"));
      }
      expect(decoder.pendingBytes).to.equal(0);
    });
  }

  it("refuses a frame over the limit by its header alone", () => {
    const decoder = new Decoder(1000);
    decoder.feed(unhex("ff000002000003e8"));
    expect(decoder.next()).to.equal(undefined);
    const other = new Decoder(1000);
    other.feed(unhex("ff000002000003e9"));
    expect(() => other.next()).to.throw(FrameTooLarge, "a frame of 1001 bytes with tag 2, limit 1000");
    const short = new Decoder(3);
    short.feed(unhex("0402"));
    expect(() => short.next()).to.throw(FrameTooLarge);
  });

  it("keeps no more than twice what it needs of a large frame that comes in small pieces, and copies few of them", () => {
    const frame = encode(2, new Uint8Array(LIMIT));
    const decoder = new Decoder(LIMIT);
    for (let at = 0; at < frame.length; at += 10) {
      expect(decoder.next()).to.equal(undefined);
      decoder.feed(frame.slice(at, at + 10));
    }
    const whole = decoder.next();
    expect(whole?.payload.length).to.equal(LIMIT);
    // With no room for more, all that is there would be copied for each piece.
    expect(whole?.data.length).to.be.within(frame.length + 10, 2 * frame.length);
  });

  it("gives frames that nothing fed later changes", () => {
    const frames = Array.from({ length: 40 }, (_, number) => encode(2, new Uint8Array(5).fill(number)));
    const data = concat(...frames);
    for (let size = 1; size < 20; size += 1) {
      const decoder = new Decoder(LIMIT);
      const found: Frame[] = [];
      for (let at = 0; at < data.length; at += size) {
        decoder.feed(data.slice(at, at + size));
        found.push(...all(decoder));
      }
      expect(found.map(({ payload }) => hex(encode(2, payload)))).to.deep.equal(frames.map(hex));
    }
  });

  it("lets out of a payload only what has memory of its own", () => {
    const data = new Uint8Array(1024);
    data.set(unhex("0402aabbccdd"), 10);
    const decoder = new Decoder(LIMIT);
    decoder.feed(data.subarray(10, 16));
    const payload = decoder.next()?.payload ?? bytes("");
    expect([hex(payload), payload.buffer === data.buffer]).to.deep.equal(["aabbccdd", true]);
    for (const [part, expected] of [
      [payload.subarray(1, 3), "bbcc"],
      [payload.subarray(-1), "dd"],
      [payload.subarray(), "aabbccdd"],
    ] as const) {
      expect([hex(part), part.buffer.byteLength]).to.deep.equal([expected, expected.length / 2]);
      expect(Object.getPrototypeOf(part)).to.equal(Uint8Array.prototype);
    }
  });
});
