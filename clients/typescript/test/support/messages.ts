/** What several tests use: the bytes of messages, a session on a virtual clock. */

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { expect } from "chai";
import { SCHEMA } from "../../gen/arena/index.js";
import type { Event } from "../../src/events.js";
import { Decoder, encode, type Frame } from "../../src/frame.js";
import { JoinRoomSchema, MemberSchema, RelayedSchema, RoomEndedSchema } from "../../src/gen/tagwire/v1/room_pb.js";
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
  WelcomeSchema,
} from "../../src/gen/tagwire/v1/session_pb.js";
import type { Now, Session } from "../../src/session.js";
import { Schema } from "../../src/schema.js";
import * as tags from "../../src/tags.js";

export const PRESENT = 1;
export const JOINED = 2;
export const LEFT = 3;
export const AWAY = 4;
export const BACK = 5;

/** Tags by the messages of the stack. */
export const TAGS = new Map<DescMessage, number>([
  [PlayerLoginSchema, tags.PLAYER_LOGIN],
  [PingSchema, tags.PING],
  [WelcomeSchema, tags.WELCOME],
  [DisconnectSchema, tags.DISCONNECT],
  [RequestSchema, tags.REQUEST],
  [ResponseSchema, tags.RESPONSE],
  [BatchSchema, tags.BATCH],
  [NoticeSchema, tags.NOTICE],
  [RelayedSchema, tags.RELAYED],
  [MemberSchema, tags.MEMBER],
  [JoinRoomSchema, tags.JOIN_ROOM],
  [RoomEndedSchema, tags.ROOM_ENDED],
  [SchemaWantedSchema, tags.SCHEMA_WANTED],
  [SchemaOfferSchema, tags.SCHEMA_OFFER],
]);

export const TOKEN = bytes("a secret of 16 b");

/** A schema like the arena's, in which Chat is the request of a service that Score answers. */
export const ASKING = new Schema({
  name: "arena",
  fingerprint: "",
  descriptors: "",
  messages: [2, 4, 5, 6].map((tag) => {
    const entry = SCHEMA.byTag(tag);
    if (!entry) throw new Error(`the arena has no ${tag}`);
    return [entry.desc, { ...entry.rules, request: tag === 4 }] as const;
  }),
});

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function hex(data: Uint8Array): string {
  return Array.from(data, (one) => one.toString(16).padStart(2, "0")).join("");
}

export function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A message of the stack or the arena as a frame. */
export function frame<D extends DescMessage>(desc: D, fields: MessageInitShape<D>): Uint8Array {
  const tag = TAGS.get(desc) ?? SCHEMA.entryOf(desc).rules.tag;
  return encode(tag, body(desc, fields));
}

/** A message in bytes. */
export function body<D extends DescMessage>(desc: D, fields: MessageInitShape<D>): Uint8Array {
  return toBinary(desc, create(desc, fields));
}

type WelcomeFields = MessageInitShape<typeof WelcomeSchema>;

export function welcome(fields: WelcomeFields = {}): Uint8Array {
  return frame(WelcomeSchema, {
    sessionId: 7n,
    playerId: 41,
    name: "player1",
    protocol: 1,
    limits: { maxFrameBytes: 65536 },
    serverTimeUs: 1_700_000_000_000_000n,
    room: "main",
    ...fields,
  } as WelcomeFields);
}

/** A Welcome of a server that resumes sessions. */
export function resumable(fields: WelcomeFields = {}): Uint8Array {
  return welcome({ resumeToken: TOKEN, resumeWindowMs: 60_000, ...fields });
}

/** What the server sends when a player has sent a message of the arena. */
export function relayed<D extends DescMessage>(player: number, desc: D, fields: MessageInitShape<D>): Uint8Array {
  return frame(RelayedSchema, { player, tag: SCHEMA.entryOf(desc).rules.tag, body: body(desc, fields) });
}

/** What the server tells of a member of the room. */
export function member(player: number, event: number, name = ""): Uint8Array {
  return frame(MemberSchema, { player, event, name });
}

/** The frames in some bytes, which must end with a frame. */
export function framesIn(data: Uint8Array): Frame[] {
  const decoder = new Decoder(1 << 24);
  decoder.feed(data);
  const frames = [];
  for (let one; (one = decoder.next());) frames.push(one);
  expect(decoder.pendingBytes).to.equal(0);
  return frames;
}

/** What a session wants to have written. */
export function sent(session: Session): Frame[] {
  return framesIn(concat(...session.dataToSend()));
}

/** A frame that must be this message. */
export function read<D extends DescMessage>(desc: D, one: Frame | undefined): MessageShape<D> {
  expect(one?.tag, desc.typeName).to.equal(TAGS.get(desc) ?? SCHEMA.entryOf(desc).rules.tag);
  return fromBinary(desc, one?.payload ?? new Uint8Array());
}

/** The only one, which must be of this class. */
export function only<E extends Event>(events: readonly Event[], kind: new (...values: never[]) => E): E {
  expect(events.map((event) => event.constructor.name)).to.deep.equal([kind.name]);
  return events[0] as E;
}

/** A clock that moves only when told. */
export class Clock {
  monotonic = 1_000_000;
  unix = 1_700_000_000_000;

  now(): Now {
    return { monotonic: this.monotonic, unix: this.unix };
  }

  advance(ms: number): Now {
    this.monotonic += ms;
    this.unix += ms;
    return this.now();
  }
}

/** Numbers from 0 to 1 that are the same for a seed: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
