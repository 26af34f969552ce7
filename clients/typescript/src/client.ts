/**
 * The client for programs that wait with `await`.
 *
 *     const client = await connect("localhost:7777", { username: "p1", password: "welcome", schema: SCHEMA });
 *     await client.send(MouseEventSchema, { x: 1, y: 1 });
 *     for await (const message of client) ...
 *
 * `Wire` has the session. Here is what is received and not yet taken, and what the application sees.
 *
 * The receive queue. The socket is always read, whatever the application does: so pings are answered in time, and
 * members, room and clock are right. What the application has not taken waits in a queue. From 1024 waiting messages
 * on, a LATEST message replaces an older one of the same sender and UNRELIABLE ones are dropped; at 16384 messages or
 * 16 MiB the client closes with SLOW. One that only sends says `receive: false`, and has no such queue.
 */

import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { Backlog } from "./backlog.js";
import { Batch } from "./batch.js";
import { Steady } from "./clock.js";
import { CloseCode, type Closed } from "./close.js";
import { TagwireError } from "./errors.js";
import { MemberChanged, Pinged, Received, RoomEnded, type Dropped, type Member, type Verdict } from "./events.js";
import type { Welcome } from "./gen/tagwire/v1/session_pb.js";
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
import { Deferred } from "./loop.js";
import { Reconnected, Reconnecting } from "./reconnect.js";
import { isDesc, type Delivery, type MessageInit, type Schema } from "./schema.js";
import { Wire, requestArguments, type Happening, type RequestOptions, type WireOptions } from "./wire.js";

export const INBOX_BEHIND = 1024;
export const INBOX_MESSAGES = 16384;
export const INBOX_BYTES = 16 * 1024 * 1024;
/** Milliseconds for which handlers may run on without what has arrived having a turn. */
const HANDLER_SLICE_MS = 5;

/**
 * One player's session with a server. Made by `connect`.
 *
 * When the connection is lost it makes another one by itself, as the option `reconnect` of `connect` has it, and
 * everything here goes on: who iterates or runs it, handlers, requests that wait for their answers. `closed` and
 * `ConnectionClosed` tell of the end that is final.
 *
 * Handlers (`on`) may be plain functions or async ones. They are called while the client is iterated or `run`, one at
 * a time and in the order in which things came. What they throw is logged and ends nothing. What has a handler does
 * not come out of iterating.
 */
export class Client implements AsyncIterable<Message> {
  /** @internal */
  readonly wire: Wire;
  readonly #receive: boolean;
  readonly #handlers: Handlers;
  readonly #fallback: Fallback;
  readonly #inbox = new Backlog<Received | HandledEvent>({ maxItems: INBOX_MESSAGES, maxBytes: INBOX_BYTES });
  readonly #steady = new Steady();
  #arrived = new Deferred<void>();
  #handling: Promise<void> | undefined;
  /** A handler is being called: it has not returned, nor come to its first `await`. */
  #calling = false;
  #sliceBegan = 0;
  #overflowed = false;
  #reconnecting: Reconnecting | undefined;
  #pingWaiters: Deferred<Pinged>[] = [];

  /** For `connect` only. */
  constructor(options: WireOptions, receive = true) {
    this.#receive = receive;
    this.wire = new Wire(options, {
      onHappening: (event) => this.#handle(event),
      onResponse: () => undefined,
      onEnded: () => this.#handleEnded(),
    });
    this.#handlers = new Handlers(this.wire.schema);
    this.#fallback = new Fallback(options.loop);
  }

  // Who and where

  /** Number of this player, the one that others see. */
  get playerId(): number {
    return this.wire.session.playerId;
  }

  /** Number of this session in the server process. */
  get sessionId(): bigint {
    return this.wire.session.sessionId;
  }

  /** The name that this player has on the server. */
  get name(): string {
    return this.wire.session.name;
  }

  /** Name of the room this player is in. Empty: in none: it ended, or none was joined yet. */
  get room(): string {
    return this.wire.session.room;
  }

  /** The others in the room, by number of the player. A live view. */
  get members(): ReadonlyMap<number, Member> {
    return this.wire.session.members;
  }

  /**
   * The server's answer to the last login: limits, verdict on the schema, and more. Without the resume token, which
   * is a secret and stays inside.
   */
  get welcome(): Welcome {
    const { welcome } = this.wire.session;
    if (!welcome) throw new Error("this client was never connected");
    return welcome;
  }

  /**
   * How the schema of this client compares to the server's, as told at the login: `Verdict.SAME`, `COMPATIBLE` (they
   * differ by additions) or `NOT_COMPARED`. One that does not fit is a `SchemaMismatch` when connecting.
   */
  get verdict(): Verdict {
    return this.welcome.verdict;
  }

  /** The schema it was connected with. */
  get schema(): Schema {
    return this.wire.schema;
  }

  /** How it ended for good. `undefined` while it has not, also while it is reconnecting. */
  get closed(): Closed | undefined {
    return this.wire.closed;
  }

  /** The attempt to reconnect that goes on or comes next. `undefined`: connected, or ended. */
  get reconnecting(): Reconnecting | undefined {
    return this.#reconnecting;
  }

  /** What was received and thrown away, by reason. */
  get dropped(): Readonly<Dropped> {
    return this.wire.session.dropped;
  }

  // Time

  /** Milliseconds of the last round trip, as the server measured it. `undefined`: not measured yet. */
  get rtt(): number | undefined {
    return this.wire.session.rtt;
  }

  /** Milliseconds that round trips vary, smoothed as in RFC 3550 section 6.4.1. `undefined`: not measured yet. */
  get jitter(): number | undefined {
    return this.wire.session.jitter;
  }

  /**
   * The server's clock now, milliseconds since the Unix epoch. Estimated, to about half a round trip.
   *
   * It does not go back when the estimate is corrected; only a server's clock that was set back by more than a second
   * takes it along.
   */
  serverTime(): number {
    return this.#steady.read(this.wire.session.serverTime(this.wire.loop.now()) ?? 0);
  }

  /**
   * Waits for the next time the server measures the connection, about a second. Rejects with `ConnectionClosed` when
   * the session ends before.
   */
  async nextPing(): Promise<Pinged> {
    if (this.closed) throw this.wire.closedError(undefined);
    const waiter = new Deferred<Pinged>();
    this.#pingWaiters.push(waiter);
    return waiter.promise;
  }

  // Sending

  /**
   * Sends a message of the game: itself, or its schema and its fields. Waits while the server takes no more.
   *
   * Done when the message is next to the socket, or waits for the next connection, with room for 1024 messages and
   * 1 MiB; there a LATEST message replaces the one of the same kind that waits, and an UNRELIABLE one is dropped. Of
   * calls that are not awaited up to 1024 and 1 MiB wait; there, too, a LATEST message replaces the one before, whose
   * call is then done.
   * Whatever happens to connections, it arrives once, as long as the session is resumed. Messages arrive in the order
   * of the calls, awaited or not.
   *
   * Rejects with `TypeError` for a message that is not in the schema, has no rules, is a request or only the
   * server's; `RangeError` for one that is too large; `BufferFull` when too many calls wait; `ConnectionClosed` after the
   * end.
   */
  send(message: Message): Promise<void>;
  send<D extends DescMessage>(schema: D, fields: MessageInit<D>): Promise<void>;
  async send(what: DescMessage | Message, init?: MessageInit<DescMessage>): Promise<void> {
    const { rules, payload } = this.wire.encode(what, init);
    const { sender } = this.wire;
    if (!sender.sendNow(rules.tag, payload)) await sender.send(rules.tag, payload, rules.delivery ?? "ORDERED");
  }

  /**
   * Sends a message of the game without waiting.
   *
   * What the socket does not take at once is queued, up to 1024 messages and 1 MiB. While the socket is behind, or
   * there is none, a LATEST message replaces the one of the same kind that waits, and an UNRELIABLE one is dropped.
   *
   * @throws what `send` rejects with, and BufferFull when there is no room.
   */
  sendSoon(message: Message): void;
  sendSoon<D extends DescMessage>(schema: D, fields: MessageInit<D>): void;
  sendSoon(what: DescMessage | Message, init?: MessageInit<DescMessage>): void {
    const { rules, payload } = this.wire.encode(what, init);
    this.wire.sender.sendSoon(rules.tag, payload, rules.delivery ?? "ORDERED");
  }

  /**
   * Sends a message that a service answers, and gives its reply, a message of the schema `reply`.
   *
   * Its time runs on while there is no connection. When it is over or the session ends, the server may have done what
   * was asked all the same. A session that is resumed brings the answer; one that is not is a `ConnectionClosed`
   * here, while the client may go on.
   *
   * Rejects with `RequestFailed` (the server said no), `RequestTimeout`, `ConnectionClosed`; `TypeError` and
   * `RangeError` like `send`.
   */
  request<O extends DescMessage>(message: Message, reply: O, options?: RequestOptions): Promise<MessageShape<O>>;
  request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInit<I>,
    options?: RequestOptions,
  ): Promise<MessageShape<O>>;
  request<O extends DescMessage>(
    what: DescMessage | Message,
    reply: O,
    third?: unknown,
    fourth?: RequestOptions,
  ): Promise<MessageShape<O>> {
    return this.#exchange((settle) => this.wire.askOf(requestArguments(what, reply, third, fourth), settle));
  }

  /**
   * Requests in one frame, which the server runs one after the other:
   *
   *     const batch = client.batch();
   *     const first = batch.request(RenameRequestSchema, RenameReplySchema, { name: "zoe" });
   *     const second = new Lobby(batch).rename({ name: "ann" });
   *     await batch.send();
   *     console.log((await first).name, (await second).name);
   *
   * At most 64, and what fits into one frame. Each is answered, or fails, for itself. `stopOnError`: those behind the
   * first that is not answered with OK are not run, and fail with UNAVAILABLE.
   */
  batch(options: { stopOnError?: boolean } = {}): Batch {
    return new Batch(this.wire, options.stopOnError ?? false);
  }

  /**
   * Moves this player to another room, which is made if it is not there; gives its name.
   *
   * What was received before is of the old room, what comes after of the new one; `room` and `members` change in
   * between. Rejects like `request`.
   */
  async join(room: string, options: RequestOptions = {}): Promise<string> {
    return this.#exchange((settle) => this.wire.askToJoin(room, options, settle));
  }

  // Receiving

  /**
   * Sets what is called for each message or event of a class; gives a function that removes it again.
   *
   * - A schema of a message of the game: called with the message and its sender, a `Member`; `undefined`: the server.
   * - One of `MemberChanged`, `RoomEnded`, `Noticed`, `Pinged`, `Reconnecting`, `Reconnected`: called with the event.
   *
   * A class may have several handlers, called in the order in which they were set.
   *
   * @throws TypeError for a message that is not in the schema, has no rules or is never sent to a client, and for a
   * handler that cannot be called.
   */
  on<D extends DescMessage>(kind: D, handler: MessageHandler<D>): () => void;
  on<E extends EventClass>(kind: E, handler: EventHandler<E>): () => void;
  on(kind: DescMessage | EventClass, handler: AnyHandler): () => void {
    if (!this.#receive && isDesc(kind)) {
      throw new TypeError(`a client with receive: false gets no ${kind.typeName}, so no handler would be called`);
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
   * Gives the messages of the game that have no handler, in the order they came, and calls the handlers of the others
   * in between.
   *
   * Ends after `close` or a normal end by the server, once all that was received before is taken. Throws
   * `ConnectionClosed` after any other end. Goes on over lost connections, and gives nothing twice. Nothing is lost
   * by leaving a loop and entering another. A handler must not wait for it: it would wait for itself.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    for (let item; (item = await this.#take());) yield item.message;
  }

  /** Like iterating the client, and gives each message with its sender. `undefined`: the server. */
  async *withSenders(): AsyncGenerator<[message: Message, sender: Member | undefined], void, undefined> {
    for (let item; (item = await this.#take());) yield [item.message, item.sender];
  }

  /**
   * Calls handlers for what arrives, until the session ends: for a client that is not iterated.
   *
   * Done after `close` or a normal end by the server, once all that was received before is handled; rejects with
   * `ConnectionClosed` after any other end. Messages without a handler are thrown away and counted in
   * `dropped.unhandled`. A handler is let finish before the next one begins; pings, requests and members go on
   * meanwhile. What has come together is handled in one go: set handlers before this is called, for one that is set
   * after awaiting something of another may come too late.
   */
  async run(): Promise<void> {
    while (await this.#take()) this.wire.session.dropped.unhandled += 1;
  }

  // The end

  /**
   * Ends the session: tells the server, sends what waits, closes the socket. Takes a second at most. While there is
   * no connection, what waits is lost, and the server learns of the end when it stops waiting for another one.
   *
   * `code` is 0 or one of the application's, 4000 to 4999. Does nothing but wait when the session has ended or is
   * about to.
   */
  async close(code: number = CloseCode.NORMAL, reason = ""): Promise<void> {
    await this.wire.close(code, reason);
  }

  // Inside

  #exchange<T>(
    ask: (settle: (outcome: T | TagwireError) => void) => Parameters<Wire["sender"]["post"]>[0][number],
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const one = ask((outcome) => {
        if (outcome instanceof TagwireError) reject(outcome);
        else resolve(outcome);
      });
      this.wire.sender.postOne(one);
    });
  }

  /** The next message without a handler, or `undefined` after a normal end. Calls the handlers of what is before it. */
  async #take(): Promise<Received | undefined> {
    if (this.#calling)
      throw new TypeError("a client was iterated or run: it was called by a handler, and would wait for itself");
    for (;;) {
      if (this.#handling) {
        await this.#handling;
        continue;
      }
      const event = this.#inbox.pop();
      if (event) {
        const handlers = this.#handlers.of(event);
        if (handlers.length > 0) {
          // What most handlers give needs no waiting, and then nothing here does.
          const running = this.#runHandlers(handlers, event);
          if (running) await running;
        } else if (event instanceof Received) return event;
        else this.#fallback.tell(event);
      } else if (!this.closed) {
        if (this.#arrived.settled) this.#arrived = new Deferred();
        await this.#arrived.promise;
        this.#sliceBegan = this.wire.loop.monotonic(); // others have had their turn
      } else if (this.wire.closedByUser || this.closed.code === CloseCode.NORMAL) {
        return undefined;
      } else {
        throw this.wire.closedError(undefined);
      }
    }
  }

  /** Runs the handlers of an event. Gives what to wait for, if there is anything. */
  #runHandlers(handlers: readonly AnyHandler[], event: Received | HandledEvent): Promise<void> | undefined {
    for (let at = 0; at < handlers.length; at += 1) {
      const running = this.#call(handlers[at], event);
      if (running) return this.#runRest(handlers, at + 1, event, running);
    }
    // Many short ones must not hold up pings either.
    const due = this.wire.loop.monotonic() - this.#sliceBegan >= HANDLER_SLICE_MS;
    return due ? this.#runRest(handlers, handlers.length, event, undefined) : undefined;
  }

  /** Waits for the handler that was called before `next`, then runs the others, and gives way when that is due. */
  async #runRest(
    handlers: readonly AnyHandler[],
    next: number,
    event: Received | HandledEvent,
    running: PromiseLike<unknown> | undefined,
  ): Promise<void> {
    const done = new Deferred<void>();
    this.#handling = done.promise;
    try {
      await settled(running);
      for (const handler of handlers.slice(next)) await settled(this.#call(handler, event));
      if (this.wire.loop.monotonic() - this.#sliceBegan >= HANDLER_SLICE_MS) {
        await new Promise<void>((resolve) => void this.wire.loop.soon(resolve));
        this.#sliceBegan = this.wire.loop.monotonic();
      }
    } finally {
      this.#handling = undefined;
      done.resolve();
    }
  }

  /** Calls a handler; gives what to wait for, if it gave such. What it throws is logged. */
  #call(handler: AnyHandler | undefined, event: Received | HandledEvent): PromiseLike<unknown> | undefined {
    this.#calling = true;
    try {
      const result = handler && call(handler, event);
      return isThenable(result) ? result : undefined;
    } catch (error) {
      logFailure(error);
      return undefined;
    } finally {
      this.#calling = false;
    }
  }

  #handle(event: Happening): void {
    if (event instanceof Received) {
      if (this.#receive) this.#queue(event, event.size, event.delivery, keyOf(event));
      else this.wire.session.dropped.behind += 1;
      return;
    }
    if (event instanceof Pinged) {
      const waiters = this.#pingWaiters;
      this.#pingWaiters = [];
      for (const waiter of waiters) waiter.resolve(event);
    } else if (event instanceof Reconnecting) {
      this.#reconnecting = event;
    } else if (event instanceof Reconnected) {
      this.#reconnecting = undefined;
    }
    // A handler may be set until its turn comes. But warnings do not wait for it, and pings grow old.
    const kept = this.#receive && (event instanceof MemberChanged || event instanceof RoomEnded);
    if (kept || this.#handlers.of(event).length > 0) {
      this.#queue(event, EVENT_BYTES, deliveryOf(event), event.constructor);
    } else {
      this.#fallback.tell(event);
    }
  }

  /** Queues what was received. What finds no room ends the session, and nothing is queued behind it. */
  #queue(item: Received | HandledEvent, size: number, delivery: Delivery, key: unknown): void {
    if (this.#overflowed) return;
    const before = this.#inbox.dropped;
    const pushed = this.#inbox.push(item, size, delivery, key, this.#inbox.length >= INBOX_BEHIND);
    this.wire.session.dropped.behind += this.#inbox.dropped - before;
    if (pushed) {
      if (!this.#arrived.settled) this.#arrived.resolve();
      return;
    }
    this.#overflowed = true;
    const reason = `the application does not take what it receives, ${this.#inbox.length} messages wait; `;
    const advice = "iterate or run the client, or connect with receive: false if it only sends";
    this.wire.line.close(CloseCode.SLOW, reason + advice);
  }

  #handleEnded(): void {
    this.#reconnecting = undefined;
    for (const waiter of this.#pingWaiters) waiter.reject(this.wire.closedError(undefined));
    this.#pingWaiters = [];
    this.#arrived.resolve();
  }
}

/** Waits for what a handler gave. That it fails is logged. */
async function settled(result: PromiseLike<unknown> | undefined): Promise<void> {
  try {
    await result;
  } catch (error) {
    logFailure(error);
  }
}
