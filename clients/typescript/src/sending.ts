/**
 * What a client sends, and the requests that wait for their answers.
 *
 *     send, post, sendSoon -- if nothing waits and the socket takes it --> Connection
 *         |
 *         +--> waiters --> waiting --> pump ------------------------------> Connection
 *
 * `waiting` is what has no place in the count of the session yet and nobody waits for: what `sendSoon` was given, and
 * all that is sent while there is no connection. `waiters` are the calls behind it, in their order. Each holds up to
 * 1024 and 1 MiB, and in each a LATEST message replaces the one before; `sendSoon` throws when both together are more,
 * all others fail when there is no room among the waiters.
 */

import { notAnswered, notSent, type Ask } from "./ask.js";
import { Backlog } from "./backlog.js";
import type { Closed } from "./close.js";
import type { Connection } from "./connection.js";
import { BufferFull, type ConnectionClosed, type TagwireError } from "./errors.js";
import type { Response } from "./gen/tagwire/v1/session_pb.js";
import type { Loop, Timer } from "./loop.js";
import type { Delivery } from "./schema.js";
import type { Session } from "./session.js";
import { REQUEST } from "./tags.js";

export const OUTBOX_MESSAGES = 1024;
export const OUTBOX_BYTES = 1024 * 1024;

/** Makes what is thrown once the session has ended, or for one that has ended. */
export type ClosedError = (closed: Closed | undefined, mayHaveRun: boolean) => ConnectionClosed;

/** What has the connection that frames go to. */
export interface Way {
  readonly session: Session;
  readonly connection: Connection;
}

/** A frame that waits, with the keys of the requests in it. */
interface Waiting {
  readonly tag: number;
  readonly payload: Uint8Array;
  readonly keys: readonly number[];
}

/** Who waits for room, in turn. */
interface Waiter {
  readonly size: number;
  /** Sends or queues it. False: there is no room yet. */
  readonly attempt: () => boolean;
  /** Sends it, whatever the socket takes: before the end. */
  readonly force?: () => void;
  /** A newer one has taken its place, which counts as sent. */
  readonly replaced?: () => void;
  readonly fail: (error: TagwireError) => void;
}

/** A request that was sent, or waits for a connection. */
interface Pending {
  readonly key: number;
  readonly ask: Ask;
  readonly timer: Timer;
}

/** The way of messages and requests to the connection, in their order. */
export class Sender {
  /** How it ended for good. Changed by `end`. */
  ended: Closed | undefined;
  readonly #session: Session;
  readonly #pending = new Map<number, Pending>();
  readonly #unsent = new Map<number, Waiting>();
  readonly #waiting = new Backlog<Waiting>({ maxItems: OUTBOX_MESSAGES, maxBytes: OUTBOX_BYTES });
  readonly #waiters = new Backlog<Waiter>({
    maxItems: OUTBOX_MESSAGES,
    maxBytes: OUTBOX_BYTES,
    onReplaced: (waiter) => waiter.replaced?.(),
  });
  #pumpPlanned = false;

  constructor(
    private readonly way: Way,
    private readonly loop: Loop,
    private readonly closedError: ClosedError,
  ) {
    this.#session = way.session;
  }

  // Messages

  /** Sends a message if nobody waits before it and there is room. False: `send` does it. */
  sendNow(tag: number, payload: Uint8Array): boolean {
    if (this.ended || this.#waiters.length > 0 || !this.#clear()) return false;
    this.way.connection.send(tag, payload);
    return true;
  }

  /** Sends a message, in its turn. Waits while there is no room; rejects with BufferFull where too many wait. */
  send(tag: number, payload: Uint8Array, delivery: Delivery): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#inTurn(this.#waiterOf(tag, payload, delivery, resolve, reject), delivery, tag);
    });
  }

  /**
   * Sends a message soon.
   *
   * @throws BufferFull when there is no room, ConnectionClosed after the end.
   */
  sendSoon(tag: number, payload: Uint8Array, delivery: Delivery): void {
    if (this.ended) throw this.closedError(undefined, false);
    if (this.#waiters.length === 0) {
      if (this.#clear()) {
        this.way.connection.send(tag, payload);
        return;
      }
      const frame = { tag, payload, keys: [] };
      if (!this.#waiting.push(frame, payload.length, delivery, tag, this.#behind)) throw this.#full();
    } else {
      // Behind those who wait, as it was called behind them.
      const nobody = () => undefined;
      const waiter = this.#waiterOf(tag, payload, delivery, nobody, nobody);
      const count = this.#waiting.length + this.#waiters.length;
      const bytes = this.#waiting.bytes + this.#waiters.bytes + payload.length;
      const replaces = this.#behind && delivery === "LATEST" && this.#waiters.holds(tag);
      const room = replaces || (count < OUTBOX_MESSAGES && bytes <= OUTBOX_BYTES);
      if (!room || !this.#waiters.push(waiter, payload.length, delivery, tag, this.#behind)) throw this.#full();
    }
    this.#planPump();
  }

  #waiterOf(
    tag: number,
    payload: Uint8Array,
    delivery: Delivery,
    done: () => void,
    fail: (error: TagwireError) => void,
  ): Waiter {
    return {
      size: payload.length,
      attempt: () => {
        if (this.#clear()) this.way.connection.send(tag, payload);
        else if (!this.#queue({ tag, payload, keys: [] }, delivery)) return false;
        done();
        return true;
      },
      force: () => {
        this.way.connection.send(tag, payload);
        done();
      },
      replaced: done,
      fail,
    };
  }

  /** Whether the socket takes less than is sent, so that what may be replaced is. */
  get #behind(): boolean {
    return !this.way.connection.writable;
  }

  #full(): BufferFull {
    const why = this.away ? "there is no connection" : "the server takes them slower than they are sent";
    const count = this.#waiting.length + this.#waiters.length;
    const bytes = this.#waiting.bytes + this.#waiters.bytes;
    return new BufferFull(`${count} messages, ${bytes} bytes wait for the socket already; ${why}`);
  }

  // Requests

  /** Sends one request, which is settled once. */
  postOne(ask: Ask): void {
    if (this.ended || this.#waiters.length > 0 || !this.#clear()) {
      void this.post([ask]);
      return;
    }
    const { payload, key } = this.#session.draftOne(ask);
    this.way.connection.send(REQUEST, payload);
    const timer = this.loop.later(ask.timeout, () => this.#timeOut(key, ask));
    this.#pending.set(key, { key, ask, timer });
  }

  /**
   * Sends one request, or a Batch where `stopOnError` is said. Each is settled once. Done when they were sent, or
   * queued for the next connection, or have failed.
   */
  post(asks: readonly Ask[], stopOnError?: boolean): Promise<void> {
    const began = this.loop.monotonic();
    return new Promise((resolve) => {
      const shortest = Math.min(...asks.map((ask) => ask.timeout));
      let timer: Timer | undefined = undefined as Timer | undefined;
      const failAll = (failure: (ask: Ask) => TagwireError) => {
        timer?.cancel();
        for (const ask of asks) ask.settle(failure(ask));
        resolve();
      };
      const waiter: Waiter = {
        size: asks.reduce((sum, ask) => sum + ask.body.length, 0),
        attempt: () => {
          if (!this.#postNow(asks, stopOnError, began)) return false;
          timer?.cancel();
          resolve();
          return true;
        },
        fail: (error) => failAll(() => error),
      };
      if (this.#inTurn(waiter, "ORDERED", waiter)) return;
      timer = this.loop.later(shortest, () => {
        this.#waiters.remove(waiter);
        const { away } = this;
        failAll((ask) => notSent(ask, shortest, away));
        this.drain();
      });
    });
  }

  /** Takes an answer. False: nobody waits for it. */
  answered(response: Response): boolean {
    return this.#settle(Number(response.key), response);
  }

  /** The session ended in which they were asked. `unsent`: those that wait to be sent fail, too. */
  failRequests(closed: Closed, unsent: boolean): void {
    for (const key of [...this.#pending.keys()]) {
      const waits = this.#unsent.has(key);
      if (unsent || !waits) this.#settle(key, this.closedError(closed, !waits));
    }
  }

  /** Sends or queues requests. False: there is no room. */
  #postNow(asks: readonly Ask[], stopOnError: boolean | undefined, began: number): boolean {
    const clear = this.#clear();
    if (!clear && !this.away) return false;
    // Drafted only now: keys rise on the wire.
    const { tag, payload, keys } = this.#session.draft(asks, stopOnError);
    const frame = { tag, payload, keys };
    if (clear) this.way.connection.send(tag, payload);
    else if (this.#queue(frame, "ORDERED")) for (const key of keys) this.#unsent.set(key, frame);
    else return false;
    const elapsed = this.loop.monotonic() - began;
    for (const [at, key] of keys.entries()) {
      const ask = asks[at];
      if (!ask) continue;
      const timer = this.loop.later(ask.timeout - elapsed, () => this.#timeOut(key, ask));
      this.#pending.set(key, { key, ask, timer });
    }
    return true;
  }

  #timeOut(key: number, ask: Ask): void {
    const { away } = this;
    const unsent = this.#forget(key);
    this.#settle(key, unsent ? notSent(ask, ask.timeout, away) : notAnswered(ask));
  }

  #settle(key: number, outcome: Response | TagwireError): boolean {
    const pending = this.#pending.get(key);
    if (!pending) return false;
    this.#pending.delete(key);
    pending.timer.cancel();
    pending.ask.settle(outcome);
    return true;
  }

  /**
   * Nobody waits for the answer any more. What was not sent yet will not be, unless it is in a Batch with others;
   * gives whether that is so.
   */
  #forget(key: number): boolean {
    const frame = this.#unsent.get(key);
    this.#unsent.delete(key);
    if (!frame || frame.keys.some((other) => this.#unsent.has(other))) return false;
    this.#waiting.remove(frame);
    this.drain();
    return true;
  }

  // The connection

  /** Whether there is no connection now, and another one is to come. */
  get away(): boolean {
    return this.#session.state !== "open" && !this.ended;
  }

  /** Hands what waits to the connection, as far as the socket takes it, then lets those who wait look again. */
  drain(): void {
    const { connection } = this.way;
    while (connection.writable && this.#session.state === "open" && this.#waiting.length > 0) {
      if (connection.busy) {
        this.#planPump();
        return;
      }
      this.#sendWaiting(connection);
    }
    for (let first; (first = this.#waiters.first);) {
      if (!first.attempt()) break;
      this.#waiters.remove(first);
    }
    if (this.#waiters.length > 0 && this.way.connection.busy) this.#planPump();
  }

  /** Hands all messages that wait to the connection, whatever the socket takes: before the end. */
  flush(): void {
    while (this.#waiting.length > 0) this.#sendWaiting(this.way.connection);
    const requests: Waiter[] = [];
    for (let waiter; (waiter = this.#waiters.pop());) {
      if (waiter.force) waiter.force();
      else requests.push(waiter); // whose answers would come too late
    }
    for (const waiter of requests) this.#waiters.push(waiter, waiter.size, "ORDERED", waiter, false);
  }

  /** Forgets what waits, for a session that is no more; gives how much that was. */
  reset(): number {
    const count = this.#waiting.length;
    this.#waiting.clear();
    this.#unsent.clear();
    return count;
  }

  /** It has ended for good. */
  end(closed: Closed): void {
    this.ended = closed;
    this.failRequests(closed, true);
    this.reset();
    for (let waiter; (waiter = this.#waiters.pop());) waiter.fail(this.closedError(undefined, false));
  }

  /** Tries at once where nobody waits before it. True: it is done, or has failed. */
  #inTurn(waiter: Waiter, delivery: Delivery, key: unknown): boolean {
    if (this.ended) {
      waiter.fail(this.closedError(undefined, false));
      return true;
    }
    if (this.#waiters.length === 0 && waiter.attempt()) return true;
    // Who waits for it knows that an UNRELIABLE one was not dropped.
    const kept = delivery === "LATEST" ? delivery : "ORDERED";
    if (!this.#waiters.push(waiter, waiter.size, kept, key, this.#behind)) {
      waiter.fail(this.#full());
      return true;
    }
    if (this.way.connection.busy) this.#planPump();
    return false;
  }

  /** Whether a message may be sent now without passing another one by. */
  #clear(): boolean {
    const { connection } = this.way;
    return connection.writable && !connection.busy && this.#waiting.length === 0;
  }

  /** Queues a frame where there is no connection. False: there is one, or no room. */
  #queue(frame: Waiting, delivery: Delivery): boolean {
    return this.away && this.#waiting.push(frame, frame.payload.length, delivery, frame.tag, true);
  }

  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    this.loop.soon(() => {
      this.#pumpPlanned = false;
      this.drain();
    });
  }

  #sendWaiting(connection: Connection): void {
    const frame = this.#waiting.pop();
    if (!frame) return;
    connection.send(frame.tag, frame.payload);
    for (const key of frame.keys) this.#unsent.delete(key);
  }
}
