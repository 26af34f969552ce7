/**
 * The server's clock, estimated from what the server says of it. No I/O; the time comes in. Times are in
 * milliseconds.
 *
 * A sample is the server's clock when it sent something and our monotonic clock when that came: too small by the
 * time that it travelled. So of the last samples the largest counts, and half of the shortest round trip is added,
 * as in NTP's clock filter (RFC 5905, section 10).
 */

const SAMPLES = 16;
/** A reading that is behind the one before by more than this comes of a clock that was set, not of noise. */
const SET_BACK_MS = 1000;

/** What the server's clock shows, by the last 16 samples. */
export class ServerClock {
  // The server's clock minus the monotonic one, and the round trip known then.
  readonly #samples: (readonly [offset: number, rtt: number])[] = [];

  /** Takes what the server's clock showed when it sent what came just now. A round trip of 0 is not known. */
  sample(server: number, rtt: number, monotonic: number): void {
    this.#samples.push([server - monotonic, rtt]);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** The server's clock since the Unix epoch. `undefined` before the first sample. */
  at(monotonic: number): number | undefined {
    if (this.#samples.length === 0) return undefined;
    const offset = Math.max(...this.#samples.map(([one]) => one));
    const trips = this.#samples.map(([, rtt]) => rtt).filter((rtt) => rtt > 0);
    return monotonic + offset + (trips.length > 0 ? Math.min(...trips) : 0) / 2;
  }
}

/**
 * Makes readings of an estimate that do not go back when a better sample corrects it.
 *
 * Where the estimate is behind the last reading, that is given again until the estimate has caught up. A clock that
 * was set back by more than a second is believed.
 */
export class Steady {
  #last = -Infinity;

  /** The reading that an estimate gives. */
  read(estimate: number): number {
    if (estimate >= this.#last || estimate < this.#last - SET_BACK_MS) this.#last = estimate;
    return this.#last;
  }
}
