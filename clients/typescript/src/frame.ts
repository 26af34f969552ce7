/**
 * Frames: bytes to tag and payload, and back. No I/O, and no idea of what a payload means.
 *
 *     short       length u8 | tag u8 | payload              payload of at most 255 bytes and tag of at most 255
 *     extended    FF 00 | tag u16 | length u32 | payload    everything else; big-endian
 *
 * The length counts the payload only. `docs/PROTOCOL.md`, "Frames".
 */

const SHORT_HEADER_BYTES = 2;
const EXTENDED_HEADER_BYTES = 8;
const SHORT_MAX = 0xff;
const NOTHING = new Uint8Array(0);

/** One frame, where it came to lie. */
export class Frame {
  constructor(
    /** Number of the message, 1 to 65535. */
    readonly tag: number,
    /** What the encoded message lies in, from `start` to `end`, among others. It does not change any more. */
    readonly data: Uint8Array,
    readonly start: number,
    readonly end: number,
    /** Bytes of the whole frame on the wire, header included. */
    readonly size: number,
  ) {}

  /** The encoded message, to be decoded and not to be kept. */
  get payload(): Uint8Array {
    return borrowed(this.data, this.start, this.end);
  }
}

/**
 * Bytes that lie in those of a whole read. What is taken out of them gets memory of its own: protobuf-es makes the
 * values of `bytes` and unknown fields by `subarray`, so that no message keeps all of the read it came by, and none but
 * those with such values pays for a copy.
 */
class Borrowed extends Uint8Array<ArrayBuffer> {
  override subarray(begin?: number, end?: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(super.subarray(begin, end));
  }
}

/** The bytes from `start` to `end`, to be decoded and not to be kept: a view, but for what is taken out of it. */
export function borrowed(data: Uint8Array, start: number, end: number): Uint8Array {
  return new Borrowed(data.buffer as ArrayBuffer, data.byteOffset + start, end - start);
}

/** The bytes cannot be cut into frames any further; nothing after them has a meaning. */
export class FrameError extends Error {
  override name = "FrameError";
}

/** A header that no frame has. */
export class MalformedFrame extends FrameError {
  override name = "MalformedFrame";
}

/** A header that announces more than the limit. Its payload was neither awaited nor stored. */
export class FrameTooLarge extends FrameError {
  override name = "FrameTooLarge";
}

/**
 * Gives the bytes of one frame, in the short form wherever it fits.
 *
 * @throws RangeError for a tag outside 1 to 65535 and for a payload of 4 GiB or more.
 */
export function encode(tag: number, payload: Uint8Array): Uint8Array {
  const length = payload.length;
  if (!Number.isInteger(tag) || tag < 1 || tag > 0xffff) {
    throw new RangeError(`tag ${tag} is outside 1 to 65535`);
  }
  if (tag <= SHORT_MAX && length <= SHORT_MAX) {
    const frame = new Uint8Array(SHORT_HEADER_BYTES + length);
    frame[0] = length;
    frame[1] = tag;
    frame.set(payload, SHORT_HEADER_BYTES);
    return frame;
  }
  if (length > 0xffffffff) {
    throw new RangeError(`a payload of ${length} bytes does not fit into a frame`);
  }
  const frame = new Uint8Array(EXTENDED_HEADER_BYTES + length);
  const view = new DataView(frame.buffer);
  frame[0] = 0xff;
  view.setUint16(2, tag);
  view.setUint32(4, length);
  frame.set(payload, EXTENDED_HEADER_BYTES);
  return frame;
}

/**
 * Cuts a byte stream into frames, however it arrives.
 *
 * Feed it bytes, then call `next` until it gives `undefined`:
 *
 *     decoder.feed(data);
 *     for (let frame; (frame = decoder.next()); ) ...
 *
 * What is kept are the bytes fed and not yet given out: never more than twice the last chunk and one frame.
 */
export class Decoder {
  #buffer: Uint8Array = NOTHING;
  #start = 0;
  #end = 0;
  #owned = false;
  #error: FrameError | undefined;

  /** @param maxBytes bounds a payload; it may be changed between two frames. */
  constructor(public maxBytes: number) {}

  /** Adds bytes, which must not be changed any more. After an error they are ignored. */
  feed(data: Uint8Array): void {
    if (this.#error || data.length === 0) return;
    const waiting = this.#end - this.#start;
    if (waiting === 0) {
      this.#buffer = data;
      this.#start = 0;
      this.#end = data.length;
      this.#owned = false;
      return;
    }
    if (!this.#owned || this.#end + data.length > this.#buffer.length) {
      // A buffer of our own, with room: else a large frame in small pieces would be copied for each of them. Another
      // one each time: frames that were given out lie in the last.
      const larger = new Uint8Array((waiting + data.length) * 2);
      larger.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = larger;
      this.#start = 0;
      this.#end = waiting;
      this.#owned = true;
    }
    this.#buffer.set(data, this.#end);
    this.#end += data.length;
  }

  /**
   * Gives the next whole frame, or `undefined` when more bytes are needed.
   *
   * @throws MalformedFrame, FrameTooLarge as soon as a header shows it, and then on every further call.
   */
  next(): Frame | undefined {
    if (this.#error) throw this.#error;
    const buffer = this.#buffer;
    const start = this.#start;
    const available = this.#end - start;
    if (available < SHORT_HEADER_BYTES) return undefined;
    let length = buffer[start] ?? 0;
    let tag = buffer[start + 1] ?? 0;
    let header = SHORT_HEADER_BYTES;
    if (tag === 0) {
      if (length !== 0xff) throw this.#refuse(new MalformedFrame(`a frame with tag 0 and length ${length}`));
      const view = new DataView(buffer.buffer, buffer.byteOffset + start, available);
      if (available >= 4 && view.getUint16(2) === 0) {
        throw this.#refuse(new MalformedFrame("an extended frame with tag 0"));
      }
      header = EXTENDED_HEADER_BYTES;
      if (available < header) return undefined;
      tag = view.getUint16(2);
      length = view.getUint32(4);
    }
    if (length > this.maxBytes) {
      const text = `a frame of ${length} bytes with tag ${tag}, limit ${this.maxBytes}`;
      throw this.#refuse(new FrameTooLarge(text));
    }
    const size = header + length;
    if (size > available) return undefined;
    const end = start + size;
    this.#start = end;
    if (end === this.#end) this.#forget();
    return new Frame(tag, buffer, start + header, end, size);
  }

  /** How many bytes of an unfinished frame are waiting for the rest. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  #refuse(error: FrameError): FrameError {
    this.#error = error;
    this.#forget();
    return error;
  }

  #forget(): void {
    this.#buffer = NOTHING;
    this.#start = this.#end = 0;
    this.#owned = false;
  }
}
