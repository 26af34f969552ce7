/**
 * The connections of a client, one after the other: the first, and each that takes the place of a lost one.
 *
 * `Connection` is one socket's life, `Session` what outlives it. Here is who opens the next.
 */

import { CloseCode, closeCodeName, closedWith, type Closed } from "./close.js";
import { Connection } from "./connection.js";
import { fresh, type TokenSource } from "./credential.js";
import { ConnectError } from "./errors.js";
import { Ended, Lost, Opened, Received, type Event } from "./events.js";
import { Deferred, type Loop, type Timer } from "./loop.js";
import { Delays, Reconnecting, policyOf, type Policy } from "./reconnect.js";
import type { Session } from "./session.js";
import type { Target } from "./transport.js";

/**
 * A connection that broke sooner counts as one more failed attempt: so nobody logs in again and again at once.
 */
const STABLE_MS = 5000;

/** A timer that is later than this was held up with the whole page, which nobody shall pay for. */
const FROZEN_MS = 2000;

/** Who hears of what happens on the way. */
export interface LineListener {
  onEvent(event: Event | Reconnecting): void;
  onWritable(writable: boolean): void;
}

/** What connects a session with its server, over all its connections. */
export class Line {
  connection: Connection;
  /** How many attempts were begun or planned since the connection was lost. 0: it stands. */
  attempts = 0;
  /** The fault of this library that ended the session. */
  failure: unknown;
  /** Done when all has ended and every socket is closed. */
  readonly over = new Deferred<void>();
  readonly #policy: Policy;
  readonly #delays: Delays;
  #target: Target | undefined;
  #timeout = 0;
  #timer: Timer | undefined;
  #opening: AbortController | undefined;
  #openedAt = -Infinity;
  #lostAt = 0;

  constructor(
    readonly session: Session,
    policy: Policy | undefined,
    private readonly token: TokenSource | undefined,
    private readonly loop: Loop,
    private readonly listener: LineListener,
    random: () => number = Math.random,
  ) {
    this.#policy = policy ?? (policyOf(true) as Policy);
    this.#delays = new Delays(this.#policy, random);
    this.connection = this.#newConnection();
  }

  /** Makes the first connection and sends the login. Rejects with `ConnectError`, and what the token's function throws. */
  async open(target: Target, timeout: number): Promise<void> {
    this.#target = target;
    this.#timeout = timeout;
    const deadline = this.#now() + timeout;
    const opening = (this.#opening = new AbortController());
    try {
      await this.#renewToken(target, opening.signal);
      await this.connection.open(target, deadline - this.#now(), opening.signal);
    } finally {
      if (this.#opening === opening) this.#opening = undefined;
    }
  }

  /**
   * Ends the session from this side: tells the server, where there is a connection, flushes, closes. Takes a second
   * at most.
   */
  close(code: number, reason: string): void {
    this.connection.close(code, reason);
    this.#lookIfOver();
  }

  /** Closes the socket without a word, and makes no other. */
  abort(): void {
    this.#stop();
    this.connection.abort();
  }

  #newConnection(): Connection {
    return new Connection(this.session, this.loop, {
      onEvent: (event) => this.#handleEvent(event),
      onWritable: (writable) => this.listener.onWritable(writable),
      onEnded: () => this.#lookIfOver(),
    });
  }

  async #renewToken(target: Target, signal: AbortSignal): Promise<void> {
    if (!this.token) return;
    this.session.setToken(await fresh(this.token, String(target.address), this.#timeout, this.loop, signal));
  }

  #handleEvent(event: Event): void {
    if (event instanceof Received) {
      this.listener.onEvent(event); // nearly all that comes, and nothing to be done here
      return;
    }
    if (event instanceof Lost && this.attempts === 0) {
      this.#lostAt = this.#now();
      if (this.#lostAt - this.#openedAt >= STABLE_MS) this.#delays.reset();
    }
    this.listener.onEvent(event);
    if (event instanceof Opened) {
      this.#openedAt = this.#now();
      this.attempts = 0;
      this.#setTimer(undefined);
    } else if (event instanceof Lost) {
      this.#plan(event.closed);
    } else if (event instanceof Ended) {
      this.#stop();
    }
  }

  // The way back

  /** Sets the time of the next attempt, or gives up. */
  #plan(closed: Closed): void {
    const left = this.#lostAt + this.#policy.giveUpAfter - this.#now();
    if (closed.retryAfter > left || (left <= 0 && this.attempts > 0)) {
      // Not at once: a session tells what happens to it before it tells of its end.
      this.#setTimer(this.loop.soon(() => this.#giveUp(closed)));
      return;
    }
    this.attempts += 1;
    // A server that has ended the session itself wants its rest.
    const quick = closed.code === CloseCode.TIMEOUT;
    const wanted = this.#delays.next({ quick, retryAfter: closed.retryAfter });
    const delay = Math.min(wanted, Math.max(left, 0)); // the last one is made at the last moment
    this.#setTimer(this.#later(delay, () => this.#attempt()));
    this.listener.onEvent(new Reconnecting(this.attempts, delay, why(closed)));
  }

  #attempt(): void {
    this.#timer = undefined;
    if (this.#opening) {
      // What it opened was lost again at once.
      this.#setTimer(this.loop.soon(() => this.#attempt()));
      return;
    }
    const opening = (this.#opening = new AbortController());
    this.#openNext(opening.signal).then(
      () => this.#openingDone(opening, undefined),
      (error: unknown) => this.#openingDone(opening, error),
    );
  }

  async #openNext(signal: AbortSignal): Promise<void> {
    const target = this.#target;
    if (!target) throw new Error("there was no first connection");
    await this.connection.ended; // the old socket is closed before there is a new one
    const deadline = this.#now() + this.#timeout;
    try {
      await this.#renewToken(target, signal);
    } catch (error) {
      if (error instanceof ConnectError) throw error;
      // Not ours; the next attempt may have more luck.
      console.warn("tagwire: the function for the token failed", error);
      const name = error instanceof Error ? error.name : typeof error;
      const text = `the function for the token failed with ${name}`;
      throw new ConnectError(String(target.address), text, { cause: error });
    }
    if (signal.aborted) return;
    const connection = (this.connection = this.#newConnection());
    await connection.open(target, deadline - this.#now(), signal);
    if (this.session.state === "login") {
      this.#setTimer(this.loop.later(deadline - this.#now(), () => this.#timedOut(connection)));
    }
  }

  #openingDone(opening: AbortController, error: unknown): void {
    if (this.#opening === opening) this.#opening = undefined;
    if (error instanceof ConnectError) {
      if (this.session.state === "away") {
        this.#plan(closedWith(CloseCode.TIMEOUT, error.reason, { byPeer: true }));
      }
    } else if (error !== undefined) {
      console.error("tagwire failed to reconnect and closes", error);
      this.failure = error;
      this.close(
        CloseCode.MALFORMED,
        `the client failed on it: ${error instanceof Error ? error.message : typeof error}`,
      );
    }
    this.#lookIfOver();
  }

  #timedOut(connection: Connection): void {
    this.#timer = undefined;
    if (this.session.state === "login") {
      connection.lose(`the login was not answered within ${this.#timeout / 1000} s`);
    }
  }

  #giveUp(closed: Closed): void {
    this.#timer = undefined;
    const seconds = Number(((this.#now() - this.#lostAt) / 1000).toPrecision(3));
    const tried = `${this.attempts} attempt${this.attempts === 1 ? "" : "s"}`;
    let reason = `no connection came back in ${tried} and ${seconds} s: ${why(closed)}`;
    if (closed.retryAfter) reason += `; the server asks to wait ${closed.retryAfter / 1000} s`;
    this.session.giveUp(reason);
    for (const event of this.session.events()) this.#handleEvent(event);
    this.#lookIfOver();
  }

  // The end

  #stop(): void {
    this.#setTimer(undefined);
    this.#opening?.abort();
  }

  #setTimer(timer: Timer | undefined): void {
    this.#timer?.cancel();
    this.#timer = timer;
  }

  /** Plans a call. Time in which the page, or the machine, was frozen does not count towards giving up. */
  #later(ms: number, call: () => void): Timer {
    const due = this.#now() + Math.max(ms, 0);
    return this.loop.later(ms, () => {
      const late = this.#now() - due;
      if (late > FROZEN_MS) this.#lostAt += late;
      call();
    });
  }

  #lookIfOver(): void {
    const ended = this.session.state === "closed" && !this.#opening;
    if (ended && this.connection.hasEnded && !this.over.settled) this.over.resolve();
  }

  #now(): number {
    return this.loop.monotonic();
  }
}

function why(closed: Closed): string {
  return closed.reason || closeCodeName(closed.code);
}
