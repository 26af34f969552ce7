/**
 * The client for render and game loops: nothing that the game sees changes but in `sync`.
 *
 *     const client = await connectSync("localhost:7777", { username: "p1", password: "welcome", schema: SCHEMA });
 *     client.on(MouseEventSchema, (message, sender) => ...);
 *     requestAnimationFrame(function frame() {
 *       client.send(MouseEventSchema, { x: 1, y: 1 });
 *       client.sync(5);
 *       requestAnimationFrame(frame);
 *     });
 *     setInterval(() => { if (document.hidden) client.sync(5); }, 1000); // for there are no frames then
 *
 * The network goes on between frames, as it does in any program here. What happens is queued in order, and `sync`
 * alone takes it out: it brings the view that the game has of the session (room, members, clock, the end) up to date,
 * one step at a time, and calls the handlers.
 *
 * The queue has the limits and the rule of `Client`: from 1024 waiting on, LATEST messages replace older ones of the
 * same sender and UNRELIABLE ones are dropped; at 16384 or 16 MiB the session ends with SLOW.
 */

import { fromBinary, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";
import type { Ask } from "./ask.js";
import { Backlog } from "./backlog.js";
import { Batch } from "./batch.js";
import { INBOX_BEHIND, INBOX_BYTES, INBOX_MESSAGES } from "./client.js";
import { Steady } from "./clock.js";
import { CloseCode, type Closed } from "./close.js";
import { ConnectionClosed, Status, TagwireError } from "./errors.js";
import {
  MemberChange,
  MemberChanged,
  Pinged,
  Received,
  RoomEnded,
  nothingDropped,
  type Dropped,
  type Member,
  type Verdict,
} from "./events.js";
import { JoinRoomReplySchema } from "./gen/tagwire/v1/room_pb.js";
import type { Response, Welcome } from "./gen/tagwire/v1/session_pb.js";
import {
  EVENT_BYTES,
  Fallback,
  Handlers,
  call,
  deliveryOf,
  isThenable,
  keyOf,
  logFailure,
  type AnyHandler,
  type EventClass,
  type EventHandler,
  type HandledEvent,
  type MessageHandler,
} from "./handlers.js";
import { Reconnected, Reconnecting } from "./reconnect.js";
import type { Delivery, MessageInit, Schema } from "./schema.js";
import { JOIN_ROOM } from "./tags.js";
import { Wire, requestArguments, type Happening, type RequestOptions, type WireOptions } from "./wire.js";

/** The player is in another room from here on. */
class Moved {
  constructor(readonly room: string) {}
}

/** An event, and what came with it that `sync` is to show from there on. */
class Shown {
  constructor(
    readonly event: Pinged | Reconnected,
    readonly welcome: Welcome | undefined,
    /** What the server's clock is ahead of the monotonic one by then. */
    readonly clockOffset: number,
  ) {}
}

/** How one of the game's requests went. */
class Answered {
  constructor(readonly settle: () => void) {}
}

type Arrival = Received | MemberChanged | Exclude<HandledEvent, Pinged | Reconnected> | Moved | Shown | Answered;

/**
 * One player's session with a server, for a game loop. Made by `connectSync`.
 *
 * Nothing waits for the network, except `close`. What the properties give changes in `sync` and `close` only, and
 * requests are settled there, so that what awaits them goes on when the code that called `sync` has returned.
 *
 * Handlers (`on`) are plain functions, called by `sync` and nowhere else. What they throw comes out of it.
 *
 * When the connection is lost it makes another one by itself, as the option `reconnect` of `connectSync` has it, and
 * everything here goes on.
 */
export class SyncClient {
  /** @internal */
  readonly wire: Wire;
  readonly #handlers: Handlers;
  readonly #fallback: Fallback;
  readonly #arrivals = new Backlog<Arrival>({ maxItems: INBOX_MESSAGES, maxBytes: INBOX_BYTES });
  readonly #steady = new Steady();
  #overflowed = false;
  #syncing = false;
  #left = false;
  // What the game sees:
  #welcome: Welcome | undefined;
  #reconnecting: Reconnecting | undefined;
  #room = "";
  readonly #members = new Map<number, Member>();
  #rtt: number | undefined;
  #jitter: number | undefined;
  #clockOffset = 0;
  #dropped = nothingDropped();
  #closed: Closed | undefined;

  /** For `connectSync` only. */
  constructor(options: WireOptions) {
    this.wire = new Wire(options, {
      onHappening: (event) => this.#handle(event),
      onResponse: (response) => this.#handleResponse(response),
      onEnded: () => undefined, // `sync` finds it
    });
    this.#handlers = new Handlers(this.wire.schema);
    this.#fallback = new Fallback(options.loop);
  }

  /**
   * The login has succeeded: what the game sees first.
   *
   * @internal
   */
  begin(): void {
    this.#welcome = this.wire.session.welcome;
    this.#room = this.welcome.room;
    this.#clockOffset = this.#offset();
  }

  // Who and where

  /** Number of this player, the one that others see. */
  get playerId(): number {
    return this.welcome.playerId;
  }

  /** Number of this session in the server process. */
  get sessionId(): bigint {
    return this.welcome.sessionId;
  }

  /** The name that this player has on the server. */
  get name(): string {
    return this.welcome.name;
  }

  /** Name of the room this player is in. Empty: in none: it ended, or none was joined yet. */
  get room(): string {
    return this.#room;
  }

  /** The others in the room, by number of the player. Empty before the first `sync`. */
  get members(): ReadonlyMap<number, Member> {
    return this.#members;
  }

  /** The server's answer to the last login, without the resume token. */
  get welcome(): Welcome {
    if (!this.#welcome) throw new Error("this client was never connected");
    return this.#welcome;
  }

  /** How the schema of this client compares to the server's, as told at the login. */
  get verdict(): Verdict {
    return this.welcome.verdict;
  }

  /** The schema it was connected with. */
  get schema(): Schema {
    return this.wire.schema;
  }

  /** How it ended for good. `undefined` until `sync` has told, or `close`. */
  get closed(): Closed | undefined {
    return this.#closed;
  }

  /** The attempt to reconnect that goes on or comes next, as of the last `sync`. */
  get reconnecting(): Reconnecting | undefined {
    return this.#reconnecting;
  }

  /** What was received and thrown away, by reason, as of the last `sync`. */
  get dropped(): Readonly<Dropped> {
    return this.#dropped;
  }

  // Time

  /** Milliseconds of the last round trip, as the server measured it. `undefined`: not measured yet. */
  get rtt(): number | undefined {
    return this.#rtt;
  }

  /** Milliseconds that round trips vary. `undefined`: not measured yet. */
  get jitter(): number | undefined {
    return this.#jitter;
  }

  /** The server's clock now, milliseconds since the Unix epoch, as `Client.serverTime` gives it. */
  serverTime(): number {
    return this.#steady.read(this.wire.loop.monotonic() + this.#clockOffset);
  }

  // Sending

  /**
   * Sends a message of the game: itself, or its schema and its fields. Never waits.
   *
   * What the socket does not take at once is queued, up to 1024 messages and 1 MiB. While the socket is behind, or
   * there is none, a LATEST message replaces the one of the same kind that waits, and an UNRELIABLE one is dropped.
   *
   * @throws TypeError and RangeError like `Client.send`, BufferFull when there is no room, ConnectionClosed after the
   * end. Until `sync` has told of an end, what is sent is lost in silence.
   */
  send(message: Message): void;
  send<D extends DescMessage>(schema: D, fields: MessageInit<D>): void;
  send(what: DescMessage | Message, init?: MessageInit<DescMessage>): void {
    this.#requireOpen();
    const { rules, payload } = this.wire.encode(what, init);
    try {
      this.wire.sender.sendSoon(rules.tag, payload, rules.delivery ?? "ORDERED");
    } catch (error) {
      if (!(error instanceof ConnectionClosed)) throw error; // which the next `sync` tells
    }
  }

  /** As `Client.request`. The promise is settled in `sync`, in the order in which things came; or in `close`. */
  request<O extends DescMessage>(message: Message, reply: O, options?: RequestOptions): Promise<MessageShape<O>>;
  request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInit<I>,
    options?: RequestOptions,
  ): Promise<MessageShape<O>>;
  async request<O extends DescMessage>(
    what: DescMessage | Message,
    reply: O,
    third?: unknown,
    fourth?: RequestOptions,
  ): Promise<MessageShape<O>> {
    this.#requireOpen();
    return this.#exchange((settle) => this.wire.askOf(requestArguments(what, reply, third, fourth), settle));
  }

  /** As `Client.batch`; its answers are settled in `sync`. */
  batch(options: { stopOnError?: boolean } = {}): Batch {
    return new Batch(this.wire, options.stopOnError ?? false, (asks, stopOnError) => {
      this.#requireOpen();
      return this.wire.sender.post(
        asks.map((ask) => ({ ...ask, settle: (outcome) => this.#answer(() => ask.settle(outcome), outcome) })),
        stopOnError,
      );
    });
  }

  /**
   * Moves this player to another room, which is made if it is not there; gives its name. `room` and `members` change
   * in the `sync` that settles it, after the last message of the old room and before the first of the new.
   */
  async join(room: string, options: RequestOptions = {}): Promise<string> {
    this.#requireOpen();
    return this.#exchange((settle) => this.wire.askToJoin(room, options, settle));
  }

  // Receiving

  /** Sets what `sync` calls for each message or event of a class, as `Client.on` does. */
  on<D extends DescMessage>(kind: D, handler: MessageHandler<D>): () => void;
  on<E extends EventClass>(kind: E, handler: EventHandler<E>): () => void;
  on(kind: DescMessage | EventClass, handler: AnyHandler): () => void {
    if (Object.prototype.toString.call(handler) === "[object AsyncFunction]") {
      throw new TypeError("handlers of a client for a game loop are plain functions; sync() waits for no async one");
    }
    return this.#handlers.add(kind, handler);
  }

  /**
   * Removes a handler, or all of this class.
   *
   * @throws TypeError when it was not set.
   */
  off<D extends DescMessage>(kind: D, handler?: MessageHandler<D>): void;
  off<E extends EventClass>(kind: E, handler?: EventHandler<E>): void;
  off(kind: DescMessage | EventClass, handler?: AnyHandler): void {
    this.#handlers.remove(kind, handler);
  }

  /**
   * Runs what had arrived when it was called, in order; gives how many handlers ran and requests were settled.
   *
   * `budget` is in milliseconds: once they are over, the rest waits for the next call. One thing is run all the same,
   * and a handler that takes longer is let finish. With nothing to run it returns at once.
   *
   * What a handler throws comes out of here; its message counts as handled, and the rest waits for the next call.
   * Where a message has several handlers all are called, and what later ones throw is logged. Messages without one
   * are thrown away and counted in `dropped.unhandled`.
   *
   * @throws ConnectionClosed once the session has ended and all that was received before has been run; never after
   * our own `close`, when nothing runs any more and this gives 0.
   */
  sync(budget = 5): number {
    if (this.#syncing) throw new TypeError("sync() was called by a handler that sync() runs");
    if (this.#left) return 0;
    this.#syncing = true;
    try {
      return this.#sync(this.wire.loop.monotonic() + budget);
    } finally {
      this.#syncing = false;
    }
  }

  // The end

  /**
   * Ends the session: tells the server, sends what waits, closes the socket. Done when it is closed, after a second
   * at most. What was received and not yet run is thrown away; requests that wait are settled.
   */
  async close(code: number = CloseCode.NORMAL, reason = ""): Promise<void> {
    const closing = this.wire.close(code, reason); // which throws for a code that may not be used
    if (!this.#left && this.wire.closed) {
      this.#left = true;
      this.#closed ??= this.wire.closed;
      this.#reconnecting = undefined;
      for (let arrival; (arrival = this.#arrivals.pop());) if (arrival instanceof Answered) arrival.settle();
    }
    await closing;
  }

  // Inside

  #requireOpen(): void {
    if (this.#closed) throw this.wire.closedError(this.#closed);
  }

  #exchange<T>(ask: (settle: (outcome: T | TagwireError) => void) => Ask): Promise<T> {
    return new Promise((resolve, reject) => {
      const one = ask((outcome) => {
        this.#answer(() => {
          if (outcome instanceof TagwireError) reject(outcome);
          else resolve(outcome);
        }, outcome);
      });
      void this.wire.sender.post([one]);
    });
  }

  /** Queues an answer here, so that it keeps its place among the messages around it. */
  #answer(settle: () => void, outcome: unknown): void {
    const body = (outcome as Partial<Response>).body?.length ?? 0;
    const queued = !this.#left && this.#queue(new Answered(settle), EVENT_BYTES + body, "ORDERED", undefined);
    if (!queued) settle();
  }

  #handleResponse(response: Response): void {
    if (response.tag !== JOIN_ROOM || response.status !== Status.OK) return;
    let { room } = this.wire.session;
    try {
      ({ room } = fromBinary(JoinRoomReplySchema, response.body));
    } catch {
      // Counted by the session already, whose room it leaves as it is.
    }
    this.#queue(new Moved(room), EVENT_BYTES, "ORDERED", undefined);
  }

  #handle(event: Happening): void {
    if (event instanceof Received) {
      this.#queue(event, event.size, event.delivery, keyOf(event));
    } else if (event instanceof Pinged) {
      this.#queue(new Shown(event, undefined, this.#offset()), EVENT_BYTES, "LATEST", Pinged);
    } else if (event instanceof Reconnected) {
      this.#queue(new Shown(event, this.wire.session.welcome, this.#offset()), EVENT_BYTES, "ORDERED", Reconnected);
    } else {
      this.#queue(event, EVENT_BYTES, deliveryOf(event), event.constructor);
    }
  }

  #queue(arrival: Arrival, size: number, delivery: Delivery, key: unknown): boolean {
    if (this.#overflowed) return false;
    const before = this.#arrivals.dropped;
    const pushed = this.#arrivals.push(arrival, size, delivery, key, this.#arrivals.length >= INBOX_BEHIND);
    this.wire.session.dropped.behind += this.#arrivals.dropped - before;
    if (!pushed) {
      this.#overflowed = true;
      const reason = `the application does not take what it receives, ${this.#arrivals.length} messages wait; `;
      this.wire.line.close(
        CloseCode.SLOW,
        `${reason}call sync() in each frame, and from a timer while the page is hidden`,
      );
    }
    return pushed;
  }

  #sync(stopAt: number): number {
    const { session } = this.wire;
    this.#dropped = { ...session.dropped, unhandled: this.#dropped.unhandled };
    let ran = 0;
    for (let left = this.#arrivals.length; left > 0; left -= 1) {
      const arrival = this.#arrivals.pop();
      if (!arrival) break; // a handler has closed
      ran += this.#run(arrival);
      if (this.wire.loop.monotonic() >= stopAt) return ran;
    }
    const { closed } = this.wire;
    if (ran > 0 || !closed || this.#arrivals.length > 0 || this.#left) return ran;
    this.#closed = closed;
    this.#reconnecting = undefined;
    throw this.wire.closedError(closed);
  }

  /** Does one thing that has arrived; gives how many callbacks ran. */
  #run(arrival: Arrival): number {
    if (arrival instanceof Answered) {
      arrival.settle();
      return 1;
    }
    if (arrival instanceof Moved) {
      this.#enter(arrival.room);
      return 0;
    }
    if (arrival instanceof Shown) {
      this.#show(arrival);
      return this.#runHandlers(arrival.event);
    }
    if (arrival instanceof MemberChanged) {
      if (arrival.change === MemberChange.LEFT) this.#members.delete(arrival.member.id);
      else this.#members.set(arrival.member.id, arrival.member);
    } else if (arrival instanceof RoomEnded) {
      this.#room = "";
      this.#members.clear();
    } else if (arrival instanceof Reconnecting) {
      this.#reconnecting = arrival;
    }
    return this.#runHandlers(arrival);
  }

  #enter(room: string): void {
    if (room === this.#room) return;
    this.#room = room;
    this.#members.clear();
  }

  #show({ event, welcome, clockOffset }: Shown): void {
    this.#clockOffset = clockOffset;
    if (event instanceof Pinged) {
      this.#rtt = event.rtt;
      this.#jitter = event.jitter;
      return;
    }
    this.#reconnecting = undefined;
    this.#welcome = welcome;
    if (event.resumed) return;
    this.#room = this.welcome.room;
    this.#members.clear();
    this.#rtt = this.#jitter = undefined;
  }

  #runHandlers(event: Received | HandledEvent): number {
    const handlers = this.#handlers.of(event);
    const failures: unknown[] = [];
    for (const handler of handlers) {
      if (this.#left) break;
      try {
        const result = call(handler, event);
        if (isThenable(result)) result.then(undefined, logFailure);
      } catch (error) {
        failures.push(error);
      }
    }
    for (const failure of failures.slice(1)) logFailure(failure);
    if (failures.length > 0) throw failures[0];
    if (handlers.length === 0) {
      if (event instanceof Received) this.#dropped.unhandled += 1;
      else this.#fallback.tell(event);
    }
    return handlers.length;
  }

  #offset(): number {
    const now = this.wire.loop.now();
    return (this.wire.session.serverTime(now) ?? 0) - now.monotonic;
  }
}
