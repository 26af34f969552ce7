/**
 * One socket's life: a session, its transport and its timer.
 *
 * Everything runs in callbacks, so nothing can fail unseen: a fault of our own ends the session with its text. A
 * client that reconnects has one of these after the other, for the same session; the next one begins when the socket
 * of the one before is closed.
 */

import { CloseCode } from "./close.js";
import type { Event } from "./events.js";
import { Deferred, type Loop, type Timer } from "./loop.js";
import type { Now, Session } from "./session.js";
import type { Owner, Target, Transport } from "./transport.js";

/** What is sent at most in one turn, so that a busy sender leaves room for pings. */
const BURST_FRAMES = 256;
const BURST_BYTES = 64 * 1024;
/**
 * What may wait for the socket, or two of the largest frames if that is more. Senders wait long before; only answers
 * to the server come so far.
 */
const MAX_WAITING_BYTES = 1024 * 1024;

/** Who hears of what happens to a connection. */
export interface Listener {
  onEvent(event: Event): void;
  onWritable(writable: boolean): void;
  /** The socket is closed. */
  onEnded(): void;
}

/** Feeds a session from a socket and writes what it says. */
export class Connection implements Owner {
  /** Whether messages may be sent now: the session is open, and the socket takes more. */
  writable = false;
  /** The fault of this library, or of a listener, that ended the session. */
  failure: unknown;
  readonly #ended = new Deferred<void>();
  #transport: Transport | undefined;
  #timer: Timer | undefined;
  #timerAt = 0;
  #flushPlanned = false;
  #freshFrames = 0;
  #freshBytes = 0;
  #stepping = false;
  #finished = false;
  #socketTakesMore = false;

  constructor(
    readonly session: Session,
    private readonly loop: Loop,
    private readonly listener: Listener,
  ) {}

  /** Connects and sends the login. Rejects with `ConnectError`. */
  async open(target: Target, timeout: number, signal: AbortSignal): Promise<void> {
    try {
      await target.open({ owner: this, timeout, signal });
    } catch (error) {
      if (!this.#transport) this.#setEnded();
      throw error;
    }
  }

  /** Done when the socket is closed. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Whether the socket is closed. */
  get hasEnded(): boolean {
    return this.#ended.settled;
  }

  /** Sends a message in this turn. */
  send(tag: number, payload: Uint8Array): void {
    this.session.send(tag, payload);
    this.#freshFrames += 1;
    this.#freshBytes += payload.length;
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    this.loop.soon(() => this.#flush());
  }

  /** Whether this turn has sent its share. Give way before sending more. */
  get busy(): boolean {
    return this.#freshFrames >= BURST_FRAMES || this.#freshBytes >= BURST_BYTES;
  }

  /** Ends the session from this side: tells the server, flushes, closes. Takes a second at most. */
  close(code: number, reason: string): void {
    this.#step((now) => this.session.close(code, reason, now));
  }

  /** Closes the socket without a word. */
  abort(): void {
    this.#transport?.abort();
  }

  /** Takes the connection for lost: closes the socket without a word, and tells the session. */
  lose(why: string): void {
    this.#step(() => this.session.receiveEof(why));
    this.abort();
  }

  // Owner of the transport

  handleConnected(transport: Transport): void {
    this.#transport = transport;
    this.#socketTakesMore = true;
    this.#step((now) => this.session.start(now));
  }

  handleData(data: Uint8Array): void {
    this.#step((now) => this.session.receiveData(data, now));
  }

  handleMessage(data: Uint8Array): void {
    this.#step((now) => this.session.receiveMessage(data, now));
  }

  handlePart(): void {
    this.session.hear(this.loop.now());
  }

  maxMessageBytes(): number {
    return this.session.maxReceiveBytes;
  }

  handleBroken(code: number, reason: string): void {
    this.#step((now) => this.session.close(code, reason, now));
  }

  handleClose(code: number, reason: string): void {
    this.#step(() => this.session.receiveClose(code, reason));
  }

  handleEof(): void {
    this.#step(() => this.session.receiveEof());
  }

  handleLost(error: string): void {
    this.#transport = undefined;
    this.#socketTakesMore = this.writable = false;
    this.#step(() => this.session.receiveEof(error ? `the connection broke: ${error}` : ""));
    this.#setEnded();
  }

  handleWritable(writable: boolean): void {
    this.#socketTakesMore = writable;
    this.#lookIfWritable();
  }

  // One step

  /** Changes the session, then does what it says: hands out events, writes, closes, sets the timer. */
  #step(change: (now: Now) => void): void {
    const now = this.loop.now();
    if (this.#stepping) {
      change(now); // an event's receiver acts on the session; the step around it does the rest
      return;
    }
    this.#stepping = true;
    try {
      try {
        change(now);
      } catch (error) {
        this.#fail(error, now);
      }
      for (let events; (events = this.session.events()).length > 0;) {
        if (this.session.state !== "open") this.writable = false;
        for (const event of events) {
          try {
            this.listener.onEvent(event);
          } catch (error) {
            this.#fail(error, now);
          }
        }
      }
    } finally {
      this.#stepping = false;
    }
    this.#flush();
    if (this.session.state === "away" || this.session.state === "closed") {
      this.abort();
    } else if (this.session.state === "closing" && !this.#finished && this.#transport) {
      this.#finished = true;
      this.#transport.finish(this.session.farewellCode);
    }
    this.#setTimer();
    this.#lookIfWritable();
  }

  #lookIfWritable(): void {
    const writable = this.#socketTakesMore && this.session.state === "open";
    if (writable !== this.writable) {
      this.writable = writable;
      this.listener.onWritable(writable);
    }
  }

  #fail(error: unknown, now: Now): void {
    console.error("tagwire failed and closes the connection", error);
    this.failure ??= error;
    this.session.close(CloseCode.MALFORMED, `the client failed on it: ${String(error)}`, now);
  }

  #flush(): void {
    this.#flushPlanned = false;
    this.#freshFrames = this.#freshBytes = 0;
    if (!this.#transport) return; // what is counted goes out on the next connection
    const frames = this.session.dataToSend();
    if (frames.length === 0) return;
    this.#transport.write(frames);
    const limit = Math.max(MAX_WAITING_BYTES, 2 * this.session.maxFrameBytes);
    if (this.#transport.waitingBytes() > limit && this.session.state === "open") {
      this.loop.soon(() => this.close(CloseCode.SLOW, "the server takes nothing from its socket"));
    }
  }

  #setTimer(): void {
    const deadline = this.session.nextDeadline();
    if (!this.#transport || deadline === undefined) {
      this.#timer?.cancel();
      this.#timer = undefined;
    } else if (!this.#timer || deadline < this.#timerAt) {
      // One that is too early is harmless, and spares a timer for each thing that comes.
      this.#timer?.cancel();
      this.#timerAt = deadline;
      this.#timer = this.loop.later(deadline - this.loop.monotonic(), () => {
        this.#timer = undefined;
        this.#step((now) => this.session.handleTimer(now));
      });
    }
  }

  #setEnded(): void {
    if (this.#ended.settled) return;
    this.#ended.resolve();
    this.listener.onEnded();
  }
}
