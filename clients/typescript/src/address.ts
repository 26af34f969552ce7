/**
 * Addresses of servers: text to its parts. No I/O.
 *
 *     tagwire://host:7777         TCP; what `host:port` and `host` alone mean, but in browsers ws://
 *     tagwires://host:7777        TCP with TLS
 *     ws://host:7777/packets      WebSocket
 *     wss://host:7777/packets     WebSocket with TLS
 */

import { AddressError } from "./errors.js";

/** Of every kind, as a server has all of them on one port. */
export const DEFAULT_PORT = 7777;

/** How to talk to a server. */
export type Scheme = "tagwire" | "tagwires" | "ws" | "wss";

const KINDS = "use tagwire://, tagwires://, ws:// or wss://, then host:port";

/** Where a server listens, and how to talk to it. */
export class Address {
  constructor(
    readonly host: string,
    readonly port: number,
    readonly scheme: Scheme = "tagwire",
    /** For WebSocket: what is asked for, with its query. */
    readonly path: string = "/",
  ) {}

  toString(): string {
    const where = this.host.includes(":") ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
    if (this.scheme === "tagwire") return where;
    return `${this.scheme}://${where}${this.path === "/" ? "" : this.path}`;
  }

  /** Whether it is TLS. Then it is nothing else. */
  get secure(): boolean {
    return this.scheme === "tagwires" || this.scheme === "wss";
  }

  /** Whether it is WebSocket. */
  get webSocket(): boolean {
    return this.scheme === "ws" || this.scheme === "wss";
  }

  /** What WebSocket libraries want. */
  get url(): string {
    const host = this.host.includes(":") ? `[${this.host}]` : this.host;
    return `${this.secure ? "wss" : "ws"}://${host}:${this.port}${this.path}`;
  }
}

/**
 * Reads `scheme://host:port`, `host:port`, `host` (port 7777), `[::1]:7777` or `::1`, and a path where it is
 * WebSocket.
 *
 * @param bare the scheme of an address that names none.
 * @throws AddressError for anything else.
 */
export function parseAddress(text: string, bare: Scheme = "tagwire"): Address {
  const trimmed = text.trim();
  const cut = trimmed.indexOf("://");
  const named = cut >= 0 ? trimmed.slice(0, cut).toLowerCase() : trimmed.startsWith("mem:") ? "mem" : bare;
  if (named === "mem") {
    throw new AddressError(text, `mem: is for clients inside of the server's own process; ${KINDS}`);
  }
  if (!isScheme(named)) throw new AddressError(text, `${named}:// is not known; ${KINDS}`);
  let rest = cut >= 0 ? trimmed.slice(cut + 3) : trimmed;
  let path = "/";
  if (named === "ws" || named === "wss") {
    const at = rest.search(/[/?#]/);
    if (at >= 0) {
      path = rest.slice(at);
      rest = rest.slice(0, at);
    }
    if (!path.startsWith("/")) path = `/${path}`;
    if (!/^\/[!-~]*$/.test(path) || path.includes("#")) {
      throw new AddressError(text, "the path is printable ASCII, without #; write the rest as %20 and so on");
    }
  } else if (rest.endsWith("/")) {
    rest = rest.slice(0, -1);
  }
  const at = rest.lastIndexOf("@");
  if (at >= 0) {
    // What stands before it may be a secret, and is not repeated.
    throw new AddressError(
      `...@${rest.slice(at + 1)}`,
      "that is not a host name; name, password and token go to connect() beside it",
    );
  }
  const [host, port] = splitPort(text, rest);
  if (!host) throw new AddressError(text, "there is no host in it; use host:port");
  if (/[/?#[\] \t\r\n]/.test(host)) throw new AddressError(text, "that is not a host name");
  if (!/^[0-9]+$/.test(port) || Number(port) < 1 || Number(port) > 65535) {
    throw new AddressError(text, `the port is '${port}'; it must be a number from 1 to 65535`);
  }
  return new Address(host, Number(port), named, path);
}

function splitPort(text: string, rest: string): [host: string, port: string] {
  if (rest.startsWith("[")) {
    const end = rest.indexOf("]");
    const behind = rest.slice(end + 1);
    if (end < 0 || (behind && !behind.startsWith(":"))) {
      throw new AddressError(text, "an IPv6 address is written [address]:port");
    }
    return [rest.slice(1, end), behind ? behind.slice(1) : String(DEFAULT_PORT)];
  }
  const colon = rest.indexOf(":");
  if (colon < 0 || rest.indexOf(":", colon + 1) >= 0) return [rest, String(DEFAULT_PORT)];
  return [rest.slice(0, colon), rest.slice(colon + 1)];
}

function isScheme(text: string): text is Scheme {
  return text === "tagwire" || text === "tagwires" || text === "ws" || text === "wss";
}
