/**
 * Messages of whole frames over WebSocket (RFC 6455), by the browser's own class or one that is like it.
 *
 * A flush is one binary message, of at most 64 KiB unless a single frame is larger; no text. `docs/PROTOCOL.md`,
 * "Ways in".
 */

import type { Address } from "./address.js";
import { CloseCode } from "./close.js";
import { ConnectError } from "./errors.js";
import { Refused, WRITE_BUFFER_BYTES, type Opening, type Owner, type Transport } from "./transport.js";

/** What both sides have to agree on, so that credentials go to no server of another kind. */
export const SUBPROTOCOL = "tagwire.v1";
/** The largest message that holds more than one frame. */
const MAX_MESSAGE_BYTES = 64 * 1024;
const NORMAL = 1000;
const ABNORMAL = 1006;
/** Browsers tell nobody when a socket takes more again, so it is looked at. */
const LOOK_MS = 20;

/** What is used of a WebSocket. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: number;
  readonly protocol: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
  /** Closes without a word; browsers have no such. */
  terminate?(): void;
}

const OPEN = 1;

/** One socket that carries messages. */
export class WebSocketTransport implements Transport {
  #connected = false;
  #over = false; // nothing is handed out any more
  #lost = false;
  #takesMore = true;
  #looking: ReturnType<typeof setTimeout> | undefined;
  #opened!: () => void;
  #refused!: (error: Refused) => void;
  #failure = "";

  /** Done when the owner was told that it stands. Rejects with `Refused`. */
  readonly opened: Promise<void>;

  constructor(
    private readonly owner: Owner,
    private readonly socket: Socket,
  ) {
    this.opened = new Promise((resolve, reject) => {
      this.#opened = resolve;
      this.#refused = reject;
    });
    this.opened.catch(() => undefined);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#handleOpen();
    socket.onmessage = (event: { data: unknown }) => this.#handleMessage(event.data);
    socket.onclose = (event: { code: number; reason: string }) => this.#handleClose(event.code, event.reason);
    socket.onerror = (event: { error?: unknown }) => this.#handleError(event.error);
  }

  write(frames: readonly Uint8Array[]): void {
    if (this.socket.readyState !== OPEN) return;
    for (const message of messagesOf(frames)) this.socket.send(message);
    this.look();
  }

  finish(code: number): void {
    if (this.socket.readyState !== OPEN) return;
    this.socket.close(code >= 3000 && code < 5000 ? code : NORMAL);
  }

  abort(): void {
    this.#over = true;
    if (this.socket.terminate) this.socket.terminate();
    else this.socket.close();
    // A browser tells of the end only when the server has agreed to it, and nobody waits for that.
    queueMicrotask(() => this.#handleLost(""));
  }

  waitingBytes(): number {
    return this.socket.bufferedAmount;
  }

  /** Looks whether the socket takes more. */
  look(): void {
    if (!this.#connected || this.#lost) return;
    const takesMore = this.socket.bufferedAmount <= (this.#takesMore ? WRITE_BUFFER_BYTES : WRITE_BUFFER_BYTES / 4);
    if (!takesMore && this.#looking === undefined) {
      this.#looking = setTimeout(() => {
        this.#looking = undefined;
        this.look();
      }, LOOK_MS);
    }
    if (takesMore !== this.#takesMore) {
      this.#takesMore = takesMore;
      this.owner.handleWritable(takesMore);
    }
  }

  /** The connection does not come to be. */
  refuse(why: string): void {
    this.#over = true;
    this.#refused(new Refused(why));
    if (this.socket.terminate) this.socket.terminate();
    else this.socket.close();
  }

  /** The socket below has failed; this is told, and not what WebSocket makes of it. */
  blame(why: string): void {
    this.#failure ||= why;
  }

  #handleOpen(): void {
    if (this.#over) return;
    if (this.socket.protocol !== SUBPROTOCOL) {
      this.refuse(
        `a WebSocket server is there, but it did not agree to ${SUBPROTOCOL}; is it a tagwire server, and the path right?`,
      );
      return;
    }
    this.#connected = true;
    this.owner.handleConnected(this);
    this.#opened();
  }

  #handleMessage(data: unknown): void {
    if (this.#over || !this.#connected) return;
    if (!(data instanceof ArrayBuffer)) {
      this.#break(CloseCode.MALFORMED, "the server sent a text message; tagwire's are binary");
      return;
    }
    const limit = Math.max(this.owner.maxMessageBytes(), MAX_MESSAGE_BYTES) + 16;
    if (data.byteLength > limit) {
      this.#break(CloseCode.TOO_LARGE, `the server sent a message of over ${limit} bytes`);
    } else {
      this.owner.handleMessage(new Uint8Array(data));
    }
  }

  #handleError(error: unknown): void {
    if (error instanceof Error) this.#failure ||= error.message;
    const code = (error as { code?: unknown } | undefined)?.code;
    if (this.#connected && !this.#over && typeof code === "string" && code.startsWith("WS_ERR_")) {
      const large = code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH";
      const why = `the server broke the rules of WebSocket: ${this.#failure}`;
      this.#break(large ? CloseCode.TOO_LARGE : CloseCode.MALFORMED, why);
    }
  }

  #handleClose(code: number, reason: string): void {
    if (!this.#connected) {
      this.#over = true;
      const why = this.#failure ? `: ${this.#failure}` : "";
      this.#refused(new Refused(`the request for WebSocket was not answered as it should${why}`));
      return;
    }
    if (!this.#over && code !== ABNORMAL) {
      this.#over = true;
      this.owner.handleClose(code, reason);
    }
    this.#handleLost(this.#failure);
  }

  #handleLost(error: string): void {
    if (this.#lost || !this.#connected) return;
    this.#over = this.#lost = true;
    clearTimeout(this.#looking);
    this.owner.handleLost(error);
  }

  #break(code: number, reason: string): void {
    this.#over = true;
    this.owner.handleBroken(code, reason);
  }
}

/** Opens the browser's own kind of WebSocket. */
export async function openWebSocket(
  make: (url: string, protocol: string) => Socket,
  address: Address,
  opening: Opening,
): Promise<void> {
  const { owner, timeout, signal } = opening;
  let transport: WebSocketTransport;
  try {
    transport = new WebSocketTransport(owner, make(address.url, SUBPROTOCOL));
  } catch (error) {
    // A page that came by https may open no ws://, say.
    throw new ConnectError(String(address), error instanceof Error ? error.message : String(error), { cause: error });
  }
  const late = `no answer within ${timeout / 1000} s`;
  const timer = setTimeout(() => transport.refuse(late), timeout);
  const abort = () => transport.refuse("it was given up");
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    await transport.opened;
  } catch (error) {
    const why = error instanceof Refused ? error.message : String(error);
    throw new ConnectError(String(address), `${why}. Is the server running, and does it admit this page?`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Cuts a flush into messages. */
export function* messagesOf(frames: readonly Uint8Array[]): Generator<Uint8Array<ArrayBuffer>> {
  let first = 0;
  let size = 0;
  for (const [at, frame] of frames.entries()) {
    if (at > first && size + frame.length > MAX_MESSAGE_BYTES) {
      yield joined(frames.slice(first, at), size);
      first = at;
      size = 0;
    }
    size += frame.length;
  }
  if (first < frames.length) yield joined(frames.slice(first), size);
}

/** One run of bytes. */
export function joined(parts: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const [only] = parts;
  if (only && parts.length === 1 && only.buffer instanceof ArrayBuffer) return only as Uint8Array<ArrayBuffer>;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
