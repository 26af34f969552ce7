/**
 * Functions that are called for what arrives, by its class.
 *
 *     client.on(MouseEventSchema, (message, sender) => ...);
 *     client.on(MemberChanged, (event) => ...);
 *
 * Here is who is called for what; when, and what becomes of an exception, is each client's own.
 */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { MemberChanged, Noticed, Pinged, Received, RoomEnded, type Member } from "./events.js";
import type { Loop } from "./loop.js";
import { describeNotice } from "./notice.js";
import { Reconnected, Reconnecting } from "./reconnect.js";
import { isDesc, type Delivery, type Schema } from "./schema.js";

/** What counts as the size of something that is queued and is no message of the game. */
export const EVENT_BYTES = 64;
const BURST = 10;
const EACH_MS = 1000;

/** What handlers can be set for besides messages of the game. */
export type HandledEvent = MemberChanged | RoomEnded | Noticed | Pinged | Reconnecting | Reconnected;

const EVENTS = [MemberChanged, RoomEnded, Noticed, Pinged, Reconnecting, Reconnected] as const;

/** The class of such an event. */
export type EventClass = (typeof EVENTS)[number];

/** What is called for a message of the game. A sender of `undefined` is the server. */
export type MessageHandler<D extends DescMessage> = (message: MessageShape<D>, sender: Member | undefined) => unknown;
/** What is called for an event. */
export type EventHandler<E extends EventClass> = (event: InstanceType<E>) => unknown;

/** Any of them. */
export type AnyHandler = (...values: never[]) => unknown;

type Kind = DescMessage | EventClass;

/** The handlers of one client, in the order in which they were set. */
export class Handlers {
  // Values are replaced, never changed: a handler may set and remove handlers while they are called.
  readonly #byKind = new Map<unknown, readonly AnyHandler[]>();

  constructor(private readonly schema: Schema) {}

  /**
   * Sets one more handler; gives what removes it, and does nothing when called again.
   *
   * @throws TypeError for a class that is not in the schema or has no rules, for a message that no client is ever
   * sent, and for a handler that cannot be called.
   */
  add(kind: Kind, handler: AnyHandler): () => void {
    const key = this.#keyOf(kind);
    if (typeof handler !== "function") {
      throw new TypeError(`the handler of ${nameOfKind(kind)} must be a function, not ${typeof handler}`);
    }
    this.#byKind.set(key, [...(this.#byKind.get(key) ?? []), handler]);
    let set = true;
    return () => {
      if (set && this.#byKind.get(key)?.includes(handler)) this.remove(kind, handler);
      set = false;
    };
  }

  /**
   * Removes one, or all of this class.
   *
   * @throws TypeError when it is not there.
   */
  remove(kind: Kind, handler?: AnyHandler): void {
    const key = this.#keyOf(kind);
    const set = this.#byKind.get(key) ?? [];
    if (!handler) {
      this.#byKind.delete(key);
      return;
    }
    const at = set.indexOf(handler);
    if (at < 0) throw new TypeError(`that is no handler of ${nameOfKind(kind)}`);
    this.#byKind.set(
      key,
      set.filter((_, index) => index !== at),
    );
  }

  /** Those to be called for what has arrived. */
  of(event: Received | HandledEvent): readonly AnyHandler[] {
    const key = event instanceof Received ? event.message.$typeName : event.constructor;
    return this.#byKind.get(key) ?? [];
  }

  #keyOf(kind: Kind): unknown {
    if (!isDesc(kind)) {
      if ((EVENTS as readonly unknown[]).includes(kind)) return kind;
      throw new TypeError("a handler is set for the schema of a message, say ChatSchema, or for the class of an event");
    }
    const { desc, rules } = this.schema.entryOf(kind);
    if (rules.from === "CLIENT" && (rules.to ?? "HANDLER") === "HANDLER") {
      const text = `${desc.typeName} is never sent to a client (from: CLIENT, to: HANDLER), so no handler would be called`;
      throw new TypeError(text);
    }
    return desc.typeName;
  }
}

/** Calls a handler with what it is for. */
export function call(handler: AnyHandler, event: Received | HandledEvent): unknown {
  const callable = handler as (...values: unknown[]) => unknown;
  return event instanceof Received ? callable(event.message, event.sender) : callable(event);
}

/** Whether it is a promise, of whatever library; which may be a function, and throw when it is asked. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  const holds = (typeof value === "object" && value !== null) || typeof value === "function";
  return holds && typeof (value as { then?: unknown }).then === "function";
}

/** Tells of what a handler threw. */
export function logFailure(failure: unknown): void {
  console.error("tagwire: a handler failed", failure);
}

/** What may happen to an event that waits for its handler. */
export function deliveryOf(event: HandledEvent): Delivery {
  if (event instanceof Pinged || event instanceof Reconnecting) return "LATEST";
  return event instanceof Noticed ? "UNRELIABLE" : "ORDERED";
}

/** What a LATEST message shares with those that it replaces. `undefined`: it is not LATEST, and replaces none. */
export function keyOf(event: Received): number | undefined {
  if (event.delivery !== "LATEST") return undefined;
  return event.tag * 2 ** 32 + (event.sender?.id ?? 0);
}

/** What is done with an event that has no handler: ten at once, one a second, whatever a server sends. */
export class Fallback {
  #freeAt = 0;

  constructor(private readonly loop: Loop) {}

  /** Tells of what a developer should know. */
  tell(event: HandledEvent): void {
    if (event instanceof Pinged || event instanceof MemberChanged || !this.#may()) return;
    if (event instanceof Noticed) {
      console.warn(`tagwire: ${describeNotice(event)}`);
    } else if (event instanceof RoomEnded) {
      console.warn(`tagwire: the room ${event.room} has ended: ${event.reason}; join another one`);
    } else if (event instanceof Reconnecting) {
      const seconds = Number((event.delay / 1000).toPrecision(3));
      const text = `the connection is lost: ${event.reason}; attempt ${event.attempt} to reconnect comes in ${seconds} s`;
      console.info(`tagwire: ${text}`);
    } else if (event.resumed) {
      console.info(`tagwire: reconnected, attempt ${event.attempts}; the session goes on`);
    } else {
      const text = `reconnected, attempt ${event.attempts}, but to a new session; messages that may be lost: ${event.lost}`;
      console.warn(`tagwire: ${text}`);
    }
  }

  #may(): boolean {
    const now = this.loop.monotonic();
    const freeAt = Math.max(this.#freeAt, now) + EACH_MS;
    if (freeAt > now + BURST * EACH_MS) return false;
    this.#freeAt = freeAt;
    return true;
  }
}

function nameOfKind(kind: Kind): string {
  return isDesc(kind) ? kind.typeName : kind.name;
}
