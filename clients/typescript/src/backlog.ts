/**
 * A queue with two limits and a rule for what happens at them. No I/O.
 *
 * Used on both ways: for received messages that the application has not taken yet, and for messages to send that
 * the socket has not taken yet. While the taker keeps up, everything is queued. Once it does not, what a newer
 * message replaces (LATEST) or may be lost (UNRELIABLE) makes room; what is ORDERED never does.
 */

import type { Delivery } from "./schema.js";

/** Holes are closed when there are more of them than items, and more than this. */
const MIN_HOLES = 64;

interface Slot<T> {
  /** `undefined` once it is gone, so that what was taken is kept by nobody here. */
  item: T | undefined;
  readonly size: number;
  readonly key: unknown;
  gone: boolean;
}

/** A bounded queue of messages. */
export class Backlog<T> {
  readonly maxItems: number;
  readonly maxBytes: number;
  /** How many messages were replaced or dropped so far. */
  dropped = 0;

  #slots: Slot<T>[] = [];
  #head = 0;
  #count = 0;
  #bytes = 0;
  readonly #latest = new Map<unknown, Slot<T>>();
  readonly #onReplaced: ((item: T) => void) | undefined;

  /** `onReplaced` is told of each item whose place a newer one has taken. */
  constructor(limits: { maxItems: number; maxBytes: number; onReplaced?: (item: T) => void }) {
    this.maxItems = limits.maxItems;
    this.maxBytes = limits.maxBytes;
    this.#onReplaced = limits.onReplaced;
  }

  /** How many messages wait. */
  get length(): number {
    return this.#count;
  }

  /** Sum of the sizes of what waits. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest item. */
  get first(): T | undefined {
    for (let slot; (slot = this.#slots[this.#head]); this.#head += 1) if (!slot.gone) return slot.item;
    return undefined;
  }

  /** Whether a LATEST one of this key waits. */
  holds(key: unknown): boolean {
    return this.#latest.has(key);
  }

  /**
   * Queues an item of `size` bytes. False: there is no room for it, and nothing has changed.
   *
   * `key` is what a LATEST message shares with those it replaces, and of no account for others. `behind` says that
   * the taker does not keep up: only then are LATEST messages replaced, by the newer one at the end, and UNRELIABLE
   * ones dropped.
   */
  push(item: T, size: number, delivery: Delivery, key: unknown, behind: boolean): boolean {
    if (delivery === "UNRELIABLE" && behind) {
      this.dropped += 1;
      return true;
    }
    const older = delivery === "LATEST" && behind ? this.#latest.get(key) : undefined;
    const count = this.#count - (older ? 1 : 0);
    const bytes = this.#bytes - (older?.size ?? 0);
    if (count > 0 && (count >= this.maxItems || bytes + size > this.maxBytes)) return false;
    const replaced = older?.item;
    if (older) {
      this.#remove(older);
      this.dropped += 1;
    }
    const slot: Slot<T> = { item, size, key, gone: false };
    this.#slots.push(slot);
    this.#count += 1;
    this.#bytes += size;
    if (delivery === "LATEST") this.#latest.set(key, slot);
    if (replaced !== undefined) this.#onReplaced?.(replaced);
    return true;
  }

  /** Takes the oldest item, or gives `undefined` when nothing waits. */
  pop(): T | undefined {
    const { first } = this;
    const slot = this.#slots[this.#head];
    if (!slot) return undefined;
    this.#head += 1;
    this.#remove(slot);
    return first;
  }

  /** Takes out one item, this very one, if it waits. */
  remove(item: T): void {
    const at = this.#slots.findIndex((one, index) => index >= this.#head && !one.gone && one.item === item);
    const slot = this.#slots[at];
    if (slot) this.#remove(slot);
  }

  /** Forgets everything that waits. */
  clear(): void {
    this.#slots = [];
    this.#head = this.#count = this.#bytes = 0;
    this.#latest.clear();
  }

  #remove(slot: Slot<T>): void {
    slot.gone = true;
    slot.item = undefined;
    this.#count -= 1;
    this.#bytes -= slot.size;
    if (slot.key !== undefined && this.#latest.get(slot.key) === slot) this.#latest.delete(slot.key);
    if (this.#slots.length > 2 * this.#count + MIN_HOLES) {
      this.#slots = this.#slots.filter((one) => !one.gone);
      this.#head = 0;
    }
  }
}
