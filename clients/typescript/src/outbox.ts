/**
 * The counted frames of one session on their way: to be written, and written but not yet acknowledged.
 *
 *     append -> [ to be written ] -> take -> [ kept, until acknowledged ]
 *                      ^                              |
 *                      +------------ resume ----------+
 *
 * A frame has its place in the count from `append` on. What was written is kept until the server has said that it
 * handled it, so that it can be sent again on another connection; over 256 KiB the oldest is forgotten. Nothing is
 * kept for a session that cannot be resumed. No I/O.
 */

/** What is kept of the frames that were written and not acknowledged. */
export const MAX_KEPT_BYTES = 256 * 1024;

/** Frames with three cursors: acknowledged <= written <= committed, each the number of a frame, from 1. */
export class Outbox {
  /** Whether what was written is kept. */
  keeping = false;
  #written = 0;
  #acknowledged = 0;
  #keptBytes = 0;
  #fresh: Uint8Array[] = [];
  #kept: Uint8Array[] = [];
  #keptFrom = 0; // what is before it in #kept is forgotten

  /** How many frames were taken to be written, on one connection or another. */
  get written(): number {
    return this.#written;
  }

  /** How many of them the server has said it handled. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Sum of the sizes of what is kept. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** How many frames have a place in the count. */
  get committed(): number {
    return this.#written + this.#fresh.length;
  }

  /** How many frames cannot be sent again any more. */
  get forgotten(): number {
    return this.#written - (this.#kept.length - this.#keptFrom);
  }

  /** Commits a frame: it has the next place in the count. */
  append(frame: Uint8Array): void {
    this.#fresh.push(frame);
  }

  /** Gives what is to be written, in order. */
  take(): Uint8Array[] {
    const frames = this.#fresh;
    this.#fresh = [];
    this.#written += frames.length;
    if (this.keeping) {
      for (const frame of frames) {
        this.#kept.push(frame);
        this.#keptBytes += frame.length;
      }
      let surplus = 0;
      for (let bytes = this.#keptBytes; bytes > MAX_KEPT_BYTES; surplus += 1) {
        bytes -= this.#kept[this.#keptFrom + surplus]?.length ?? 0;
      }
      this.#forget(surplus);
    }
    return frames;
  }

  /** The server has handled so many frames. False: it cannot have, for they were not written. */
  acknowledge(count: number): boolean {
    if (count > this.#written) return false;
    if (count > this.#acknowledged) {
      this.#acknowledged = count;
      this.#forget(count - this.forgotten);
    }
    return true;
  }

  /**
   * The server goes on behind so many frames: `take` gives all after them once more. False: that is not possible,
   * and nothing has changed.
   */
  resume(count: number): boolean {
    if (count < this.forgotten || count > this.#written) return false;
    this.#acknowledged = Math.max(this.#acknowledged, count);
    this.#forget(count - this.forgotten);
    this.#fresh = [...this.#kept.slice(this.#keptFrom), ...this.#fresh];
    this.#kept = [];
    this.#keptFrom = this.#keptBytes = 0;
    this.#written = count;
    return true;
  }

  /** Begins the count of another session. Gives how many frames were not acknowledged in this one. */
  reset(): number {
    const lost = this.committed - this.#acknowledged;
    this.#written = this.#acknowledged = this.#keptBytes = this.#keptFrom = 0;
    this.#fresh = [];
    this.#kept = [];
    return lost;
  }

  #forget(count: number): void {
    for (let gone = 0; gone < count; gone += 1) {
      this.#keptBytes -= this.#kept[this.#keptFrom]?.length ?? 0;
      this.#keptFrom += 1;
    }
    if (this.#keptFrom * 2 >= this.#kept.length) {
      this.#kept = this.#kept.slice(this.#keptFrom);
      this.#keptFrom = 0;
    }
  }
}
