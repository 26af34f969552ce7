/** The vectors in conformance/vectors, as this client reads them. */

import { readFileSync } from "node:fs";
import { fromJson, toBinary, toJson, type JsonValue } from "@bufbuild/protobuf";
import { expect } from "chai";
import { SCHEMA } from "../gen/conformance/index.js";
import { Received } from "../../src/events.js";
import { Decoder, FrameTooLarge, MalformedFrame, encode } from "../../src/frame.js";
import { Session } from "../../src/session.js";
import { Clock, hex, only, unhex, welcome } from "../support/messages.js";

/** How many there are; fewer is a failure. */
const FRAMES = 57;
const MESSAGES = 157;

interface FrameVector {
  readonly name: string;
  readonly hex: string;
  readonly limit: number;
  readonly frames: readonly { readonly tag: number; readonly payload: string }[];
  readonly error: string | null;
  readonly rest: number;
  readonly shortest: boolean;
}

interface MessageVector {
  readonly name: string;
  readonly type: string;
  readonly hex: string;
  readonly client: "reads" | "drops" | "either";
  readonly json?: JsonValue;
  readonly again?: string;
}

function vectors<T>(name: string): T[] {
  const url = new URL(`../../../../../conformance/vectors/${name}`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8")) as T[];
}

function read(vector: FrameVector, chunks: readonly Uint8Array[]) {
  const decoder = new Decoder(vector.limit);
  const frames: { tag: number; payload: string }[] = [];
  try {
    for (const chunk of chunks) {
      decoder.feed(chunk);
      for (let frame; (frame = decoder.next());) frames.push({ tag: frame.tag, payload: hex(frame.payload) });
    }
  } catch (error) {
    if (error instanceof FrameTooLarge) return { frames, error: "too_large", rest: 0 };
    if (error instanceof MalformedFrame) return { frames, error: "malformed", rest: 0 };
    throw error;
  }
  return { frames, error: null, rest: decoder.pendingBytes };
}

describe("vectors", () => {
  it(`has all ${FRAMES} frames read, however they are cut`, () => {
    const all = vectors<FrameVector>("frames.json");
    expect(all.length).to.equal(FRAMES);
    for (const vector of all) {
      if (vector.error === "not_now") continue; // a server's matter
      const data = unhex(vector.hex);
      const ways = [[data], Array.from(data, (byte) => Uint8Array.of(byte))];
      for (let at = 0; at < data.length; at += 1) ways.push([data.slice(0, at), data.slice(at)]);
      const { frames, error, rest } = vector;
      for (const chunks of ways) expect(read(vector, chunks), vector.name).to.deep.equal({ frames, error, rest });
      const written = frames.map(({ tag, payload }) => hex(encode(tag, unhex(payload)))).join("");
      expect(written === vector.hex, vector.name).to.equal(vector.shortest);
    }
  });

  it(`has all ${MESSAGES} messages read, or dropped and counted`, () => {
    const all = vectors<MessageVector>("messages.json");
    expect(all.length).to.equal(MESSAGES);
    const kinds = new Map(
      Array.from({ length: 400 }, (_, tag) => SCHEMA.byTag(tag)).flatMap((entry) =>
        entry ? [[entry.desc.typeName, entry] as const] : [],
      ),
    );
    for (const vector of all) {
      const kind = kinds.get(vector.type);
      if (!kind) throw new Error(`no ${vector.type}`);
      const clock = new Clock();
      const session = new Session(SCHEMA, { username: "player1", password: "", token: "" }, false);
      session.start(clock.now());
      session.receiveData(welcome(), clock.now());
      session.events();
      session.receiveData(encode(kind.rules.tag, unhex(vector.hex)), clock.now());
      const events = session.events();
      const { undecodable } = session.dropped;
      if (vector.client === "either") {
        expect(events.length + undecodable, vector.name).to.equal(1);
      } else if (vector.client === "drops") {
        expect({ events, undecodable }, vector.name).to.deep.equal({ events: [], undecodable: 1 });
      } else {
        const { message } = only(events, Received);
        if (vector.again !== undefined) expect(hex(toBinary(kind.desc, message)), vector.name).to.equal(vector.again);
        const told = fromJson(kind.desc, vector.json ?? null);
        expect(toJson(kind.desc, message), vector.name).to.deep.equal(toJson(kind.desc, told));
      }
    }
  });
});
