/** The clock and the timers of the machine, so that tests can have their own. */

import { platform } from "#platform";
import type { Now } from "./session.js";

/** Something that is planned. */
export interface Timer {
  /** Does nothing when it has been done. */
  cancel(): void;
}

/** When things happen. */
export interface Loop {
  /** Reads both clocks. */
  now(): Now;
  /** Reads the one that never jumps, in milliseconds: half the work where that is enough. */
  monotonic(): number;
  /** Plans a call for when what has arrived has had its turn, in the order of these calls. */
  soon(call: () => void): Timer;
  /** Plans a call in some milliseconds. */
  later(ms: number, call: () => void): Timer;
}

/** No timer takes more: a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The real ones. */
export const realLoop: Loop = {
  now: () => ({ monotonic: performance.now(), unix: Date.now() }),
  monotonic: () => performance.now(),
  soon(call) {
    let wanted = true;
    platform.soon(() => {
      if (wanted) call();
    });
    return {
      cancel() {
        wanted = false;
      },
    };
  },
  later(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(ms, 0), MAX_DELAY_MS));
    return {
      cancel() {
        clearTimeout(timer);
      },
    };
  },
};

/** A promise, and what settles it. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  settled = false;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who awaits it sees the failure; where nobody does, nothing was lost.
    this.promise.catch(() => undefined);
  }

  resolve(value: T): void {
    this.settled = true;
    this.#resolve(value);
  }

  reject(error: unknown): void {
    this.settled = true;
    this.#reject(error);
  }
}
