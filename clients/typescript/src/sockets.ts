/** Finding an address of a host that answers, over TCP and TLS. For Node. */

import { lookup } from "node:dns/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Address } from "./address.js";
import { ConnectError } from "./errors.js";
import { objection, whyBroken, whyNoHandshake, type Security } from "./tls.js";
import { Refused, type Opening } from "./transport.js";

/** Makes a connection of a socket that stands, TLS with it. Done when the owner was told. */
export type Begin = (socket: Socket, signal: AbortSignal) => Promise<void>;

/** The shortest time that is told, so that no text says 0.0 s. */
const SHORTEST_MS = 100;

/**
 * Connects to the first of the host's addresses that answers, trying them in the resolver's order. Each gets an equal
 * share of the time that is left.
 */
export async function openFirst(
  address: Address,
  security: Security | undefined,
  begin: Begin,
  opening: Opening,
): Promise<void> {
  const deadline = performance.now() + opening.timeout;
  const found = await resolve(address, opening);
  const attempts: [string, string][] = [];
  let nobody = true;
  for (const [index, { address: host }] of found.entries()) {
    const name = String(new Address(host, address.port));
    const left = (deadline - performance.now()) / (found.length - index);
    if (left <= 0) {
      attempts.push([name, "not tried, no time was left"]);
      continue;
    }
    const attempt = new Attempt(address, security, begin);
    const signal = AbortSignal.any([AbortSignal.timeout(Math.ceil(left)), opening.signal]);
    try {
      await attempt.run(host, signal);
      return;
    } catch (error) {
      if (opening.signal.aborted) throw new ConnectError(String(address), "it was given up");
      attempts.push([name, attempt.why(error, signal, left)]);
    }
    nobody &&= !attempt.tcpStands;
  }
  const reason = attempts.map(([name, why]) => `${name}: ${why}`).join("; ") || "the host name has no address";
  throw new ConnectError(String(address), reason + (nobody ? ". Is the server running?" : ""), { attempts });
}

async function resolve(address: Address, opening: Opening): Promise<{ address: string }[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((settle) => {
    timer = setTimeout(() => settle(undefined), opening.timeout);
    opening.signal.addEventListener("abort", () => settle(undefined), { once: true });
  });
  try {
    const found = await Promise.race([lookup(address.host, { all: true, verbatim: true }), late]);
    if (found) return found;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConnectError(String(address), `the host name was not found (${why})`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  throw new ConnectError(String(address), `the host name was not resolved within ${opening.timeout / 1000} s`);
}

/** One address. */
class Attempt {
  tcpStands = false;
  /** What it waits for. */
  #awaited: "answer" | "TLS handshake" | "answer to the request for WebSocket" = "answer";

  constructor(
    private readonly address: Address,
    private readonly security: Security | undefined,
    private readonly begin: Begin,
  ) {}

  /** Leaves nothing open when it fails or is aborted. */
  async run(host: string, signal: AbortSignal): Promise<void> {
    const plain = connectTcp({ host, port: this.address.port, noDelay: true });
    let socket: Socket = plain;
    try {
      await happened(plain, "connect", signal);
      this.tcpStands = true;
      if (this.security) {
        this.#awaited = "TLS handshake";
        const secure = connectTls({ ...this.security.options, socket: plain });
        socket = secure;
        await happened(secure, "secureConnect", signal);
        // Before anything is sent: what comes first are credentials.
        const why = objection(this.security, secure);
        if (why) throw new Refused(why);
      }
      this.#awaited = "answer to the request for WebSocket";
      await this.begin(socket, signal);
    } catch (error) {
      socket.on("error", () => undefined); // what it fails with now was told already
      plain.on("error", () => undefined);
      socket.destroy();
      plain.destroy();
      throw error;
    }
  }

  /** What a failure means, and what to do. */
  why(error: unknown, signal: AbortSignal, left: number): string {
    if (signal.aborted) return `no ${this.#awaited} within ${(Math.max(left, SHORTEST_MS) / 1000).toFixed(1)} s`;
    if (error instanceof Refused) return error.message;
    if (!(error instanceof Error)) return String(error);
    if (!this.tcpStands) return whyBroken(error);
    if (this.#awaited === "TLS handshake") return whyNoHandshake(error, this.address);
    return `the connection broke before the ${this.#awaited}: ${whyBroken(error)}`;
  }
}

/** Waits for an event of a socket; rejects with its error, when it closes, or when that is aborted. */
function happened(socket: Socket, event: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      socket.off(event, onEvent).off("error", onError).off("close", onClose);
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    const onEvent = () => done(resolve);
    const onError = (error: Error) => done(() => reject(error));
    const onClose = () =>
      done(() => reject(Object.assign(new Error("the server closed the connection"), { code: "ECONNRESET" })));
    const onAbort = () => done(() => reject(new Error("aborted")));
    socket.on(event, onEvent).on("error", onError).on("close", onClose);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
  });
}
