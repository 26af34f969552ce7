/** Tokens: one that stays, or a function that gives a fresh one for each connection. */

import { ConnectError } from "./errors.js";
import type { Loop, Timer } from "./loop.js";

/** A function that gives a token, or a promise of one. */
export type TokenSource = () => string | Promise<string>;

/** What proves a name instead of a password: a JWT or another credential. */
export type Token = string | TokenSource;

/**
 * The function in the option `token` of `connect`; `undefined`: it is none.
 *
 * @throws TypeError for what cannot be a credential; never with the token in its text.
 */
export function sourceOf(token: Token, password: string): TokenSource | undefined {
  if (token && password) {
    throw new TypeError("give password or token, not both; the server would judge one of them only");
  }
  if (typeof token === "string") return undefined;
  if (typeof token !== "function") {
    throw new TypeError(`token must be a string or a function that gives one, not ${typeof token}`);
  }
  return token;
}

/**
 * Asks for a token. Rejects with what the function throws, with `ConnectError` when it takes too long, with
 * `TypeError` when it gives none. `signal` ends the waiting, with `ConnectError`.
 */
export async function fresh(
  source: TokenSource,
  address: string,
  timeout: number,
  loop: Loop,
  signal: AbortSignal,
): Promise<string> {
  let timer: Timer | undefined;
  let abort = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    abort = () => reject(new ConnectError(address, "it was given up"));
    signal.addEventListener("abort", abort);
    timer = loop.later(timeout, () => {
      const text = `the function that is to give a token took longer than ${timeout / 1000} s`;
      reject(new ConnectError(address, text));
    });
  });
  try {
    const token: unknown = await Promise.race([source(), late]);
    if (typeof token !== "string")
      throw new TypeError(`the function for the token must give a string, not ${typeof token}`);
    if (!token) throw new TypeError("the function for the token gave an empty one");
    return token;
  } finally {
    timer?.cancel();
    signal.removeEventListener("abort", abort);
  }
}
