/**
 * How a client comes back by itself: the policy, the delays that follow from it, and what is told of it. Times are
 * in milliseconds.
 *
 * No I/O and no clock: `reconnecting.ts` acts on it.
 */

/**
 * The first attempt after a lost connection comes within this time, so that what hits ten thousand clients at once
 * does not bring them back in the same millisecond.
 */
const QUICK_MS = 200;
/** More doublings than any delay needs; keeps the power of a large attempt finite. */
const MAX_POWER = 64;

/**
 * When and how often to connect again. The default is that of the protocol: from 0.5 s, doubling to 30 s, with full
 * jitter, for two minutes.
 *
 * After a connection that was lost the first attempt comes almost at once, within 0.2 s. All others, and the first
 * after the server itself has ended the session, come after a delay that grows. A delay that the server asked for is
 * added to it.
 */
export interface Reconnect {
  /** Milliseconds: the longest first delay. Default: 500. */
  readonly firstDelay?: number;
  /** How much longer each further delay may be. At least 1. Default: 2. */
  readonly factor?: number;
  /** Milliseconds: no delay is longer, but for what the server asks. Default: 30000. */
  readonly maxDelay?: number;
  /**
   * How much of each delay is drawn by lot: 1 is full jitter, from nothing to the whole delay; 0.5 is from half of
   * it to the whole; 0 is none. Default: 1.
   */
  readonly jitter?: number;
  /**
   * Milliseconds from the loss on: no attempt begins later, and the client ends with `ConnectionClosed`, code
   * TIMEOUT. `Infinity`: never. Default: 120000.
   */
  readonly giveUpAfter?: number;
}

/** A policy that is complete. */
export type Policy = Required<Reconnect>;

/** The connection is lost, and will be tried again. */
export class Reconnecting {
  constructor(
    /** Number of the attempt that comes, from 1 on for each loss. */
    readonly attempt: number,
    /** Milliseconds until it. */
    readonly delay: number,
    /** Why the connection, or the attempt before, failed. */
    readonly reason: string,
  ) {}
}

/** The client is connected again. */
export class Reconnected {
  constructor(
    /**
     * True: the session goes on, as if nothing had happened; nothing is lost and nothing comes twice. False: it is a
     * new one, in the room of the server's choice, with none of the requests before; maybe with another number and,
     * for guests, another name.
     */
    readonly resumed: boolean,
    /** How many it took. */
    readonly attempts: number,
    /**
     * How many messages and requests of this client were on their way or waited when the session before ended. The
     * server may have got some of them. 0 where it goes on.
     */
    readonly lost: number,
  ) {}
}

/** The delays of one client, one after the other. */
export class Delays {
  #made = 0;

  /** @param random gives numbers from 0 to 1. */
  constructor(
    private readonly policy: Policy,
    private readonly random: () => number,
  ) {}

  /**
   * Milliseconds until the next attempt. `quick`: a connection was lost that stood; `retryAfter`: what the server
   * asked for.
   */
  next(options: { quick?: boolean; retryAfter?: number } = {}): number {
    const { firstDelay, factor, maxDelay, jitter } = this.policy;
    let longest: number;
    if (options.quick && this.#made === 0) {
      longest = Math.min(QUICK_MS, firstDelay);
    } else {
      const power = Math.min(this.#made ? this.#made - 1 : 0, MAX_POWER);
      longest = Math.min(firstDelay * factor ** power, maxDelay);
    }
    this.#made += 1;
    // What the server asks for is the same for all, and must not bring all back at once.
    return (options.retryAfter ?? 0) + longest * (1 - jitter * this.random());
  }

  /** Begins with the shortest again. */
  reset(): void {
    this.#made = 0;
  }
}

/**
 * What the option `reconnect` means. `undefined`: no other connection is made.
 *
 * @throws RangeError for numbers that make no sense.
 */
export function policyOf(reconnect: boolean | Reconnect): Policy | undefined {
  if (reconnect === false) return undefined;
  const given = reconnect === true ? {} : reconnect;
  const policy: Policy = {
    firstDelay: given.firstDelay ?? 500,
    factor: given.factor ?? 2,
    maxDelay: given.maxDelay ?? 30_000,
    jitter: given.jitter ?? 1,
    giveUpAfter: given.giveUpAfter ?? 120_000,
  };
  const good: Record<keyof Policy, boolean> = {
    firstDelay: policy.firstDelay >= 0 && policy.firstDelay < Infinity,
    factor: policy.factor >= 1 && policy.factor < Infinity,
    maxDelay: policy.maxDelay >= 0 && policy.maxDelay < Infinity,
    jitter: policy.jitter >= 0 && policy.jitter <= 1,
    giveUpAfter: policy.giveUpAfter >= 0, // not so for NaN either
  };
  for (const name of Object.keys(good) as (keyof Policy)[]) {
    if (!good[name]) throw new RangeError(`reconnect: ${name} is ${policy[name]}`);
  }
  return policy;
}
