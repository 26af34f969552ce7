/** What wraps the messages of others: read by hand, and compared with what protobuf-es reads. */

import { fromBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { expect } from "chai";
import { Decoder, encode } from "../../src/frame.js";
import { RelayedSchema } from "../../src/gen/tagwire/v1/room_pb.js";
import { RelayedReader } from "../../src/relayed.js";
import { RELAYED } from "../../src/tags.js";
import { concat, hex, seeded, unhex } from "../support/messages.js";

/** Reads each payload, of frames that lie one behind the other. */
function readAll(...payloads: Uint8Array[]) {
  const decoder = new Decoder(1 << 16);
  decoder.feed(concat(...payloads.map((payload) => encode(RELAYED, payload))));
  const reader = new RelayedReader();
  return payloads.map(() => {
    const frame = decoder.next();
    if (!frame) throw new Error("a frame is missing");
    try {
      const { player, tag, body } = reader.read(frame);
      return { player, tag, body: hex(body) };
    } catch (error) {
      return (error as Error).message;
    }
  });
}

function byLibrary(payload: Uint8Array) {
  const { player, tag, body } = fromBinary(RelayedSchema, payload);
  return { player, tag, body: hex(body) };
}

/** Its fields in any order, some twice, some left out, and some that nobody knows yet. */
function someFields(random: () => number): Uint8Array {
  const writer = new BinaryWriter();
  const number = () => Math.floor(2 ** (random() * 32));
  const bytes = () => Uint8Array.from({ length: random() * 300 * random() }, () => random() * 256);
  for (let left = Math.floor(random() * 7); left > 0; left -= 1) {
    const unknown = 4 + Math.floor(random() * 40);
    const choices = [
      () => writer.tag(1, WireType.Varint).uint32(number()),
      () => writer.tag(2, WireType.Varint).uint32(number()),
      () => writer.tag(3, WireType.LengthDelimited).bytes(bytes()),
      () => writer.tag(unknown, WireType.Varint).uint64(BigInt(number()) ** 2n),
      () => writer.tag(unknown, WireType.LengthDelimited).bytes(bytes()),
      () => writer.tag(unknown, WireType.Bit32).fixed32(number()),
      () => writer.tag(unknown, WireType.Bit64).fixed64(BigInt(number())),
    ];
    choices[Math.floor(random() * choices.length)]?.();
  }
  return writer.finish();
}

describe("relayed", () => {
  it("has the fields that it is read by", () => {
    const fields = RelayedSchema.fields.map((field) => [field.name, field.number, field.scalar]);
    expect(fields).to.deep.equal([
      ["player", 1, 13],
      ["tag", 2, 13],
      ["body", 3, 12],
    ]);
  });

  it("is read as protobuf-es reads it, whatever is around it", () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const random = seeded(seed);
      const payloads = Array.from({ length: 20 }, () => someFields(random));
      expect(readAll(...payloads), `seed ${seed}`).to.deep.equal(payloads.map(byLibrary));
    }
  });

  it("has its body where it was read", () => {
    const decoder = new Decoder(100);
    const data = encode(RELAYED, unhex("080310021a0408011001"));
    decoder.feed(data);
    const frame = decoder.next();
    expect(frame && new RelayedReader().read(frame).body.buffer).to.equal(data.buffer);
  });

  it("takes a field of another type for an unknown one", () => {
    const [read] = readAll(unhex("0803 1002 1a0161 1805 0a0107 120700000000000000".replaceAll(" ", "")));
    expect(read).to.deep.equal({ player: 3, tag: 2, body: "61" });
  });

  for (const [payload, why] of [
    ["08", "a number that is not there"],
    ["0880", "a number that goes on"],
    ["0803100218", "a key and no more"],
    ["080310021a05aabbccdd", "a body that is longer than the rest"],
    ["080310021affffffff0f", "a body of 4 GiB"],
    ["08031002a2060f", "an unknown field that is longer than the rest"],
    ["080310022b2c", "a group"],
    ["080310022b", "a group without an end"],
    ["00", "field 0"],
    ["0f", "a type that no field has"],
    ["08ffffffffffffffffffffff", "a number of over ten bytes"],
  ] as const) {
    it(`is not read where it holds ${why}, and ends there`, () => {
      const good = unhex("080310021a0408011001");
      const [before, bad, after] = readAll(good, unhex(payload), good);
      const read = { player: 3, tag: 2, body: "08011001" };
      expect([before, after]).to.deep.equal([read, read]);
      expect(bad).to.be.a("string");
      expect(readAll(unhex(payload))[0], "the last of what was read").to.be.a("string");
    });
  }
});
