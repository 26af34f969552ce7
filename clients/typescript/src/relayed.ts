/**
 * What wraps each message that others send, read where it lies: with neither an object of protobuf-es nor a view of its
 * own, which together cost as much as the message in it.
 */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { borrowed, type Frame } from "./frame.js";

// The fields of Relayed, as `proto/tagwire/v1/room.proto` numbers them; `test/rules/relayed.test.ts` compares.
const PLAYER = 1;
const TAG = 2;
const BODY = 3;

// proto3 has none, and one that does not end would be looked for in all that follows.
const NO_GROUPS = 0;
const NOTHING = new Uint8Array(0);

/** A message, and who has sent it. */
export interface Relayed {
  /** Number of the sender. */
  readonly player: number;
  /** Number of the message. */
  readonly tag: number;
  /** The encoded message, to be decoded and not to be kept. */
  readonly body: Uint8Array;
}

/** Reads the frames of one read after the other. */
export class RelayedReader {
  #data: Uint8Array = NOTHING;
  #reader = new BinaryReader(NOTHING);

  /**
   * Gives what is in the payload of a Relayed.
   *
   * @throws Error for one that cannot be read.
   */
  read({ data, start, end }: Frame): Relayed {
    if (data !== this.#data) {
      this.#data = data;
      this.#reader = new BinaryReader(data);
    }
    const reader = this.#reader;
    reader.pos = start;
    let player = 0;
    let tag = 0;
    let bodyStart = start;
    let bodyEnd = start;
    while (reader.pos < end) {
      const [field, type] = reader.tag();
      if (field === PLAYER && type === WireType.Varint) {
        player = reader.uint32();
      } else if (field === TAG && type === WireType.Varint) {
        tag = reader.uint32();
      } else if (field === BODY && type === WireType.LengthDelimited) {
        const length = reader.uint32();
        bodyStart = reader.pos;
        bodyEnd = reader.pos = bodyStart + length;
      } else {
        reader.skip(type, field, NO_GROUPS); // of a newer server
      }
    }
    if (reader.pos !== end) throw new RangeError(`a Relayed that ends ${reader.pos - end} bytes behind its frame`);
    return { player, tag, body: borrowed(data, bodyStart, bodyEnd) };
  }

  /** Lets go of the bytes it has read. */
  forget(): void {
    if (this.#data === NOTHING) return;
    this.#data = NOTHING;
    this.#reader = new BinaryReader(NOTHING);
  }
}
