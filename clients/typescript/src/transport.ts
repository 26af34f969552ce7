/**
 * One socket behind a small interface: what all kinds of connections share. What a frame or a session is, is not
 * known here.
 *
 *     websocket    messages of whole frames: browsers, and Node
 *     tcp          a stream of bytes: Node
 *     tls          what both are wrapped in: Node
 *     sockets      finding an address that answers: Node
 *
 * `Connection` is the `Owner`; it does not know which kind it has.
 */

import type { Address } from "./address.js";

/** What may wait in the transport before `handleWritable(false)` is called. */
export const WRITE_BUFFER_BYTES = 64 * 1024;

/** Who a transport reports to. No call comes after `handleLost`. */
export interface Owner {
  /** The connection stands. The first call. */
  handleConnected(transport: Transport): void;
  /** Bytes of a stream have come, cut anyhow. */
  handleData(data: Uint8Array): void;
  /** A message has come, which is whole frames. */
  handleMessage(data: Uint8Array): void;
  /** Bytes of a message have come, and it is not whole. */
  handlePart(): void;
  /** How large a message may be by now. */
  maxMessageBytes(): number;
  /** What came is against the rules of the transport. Nothing more comes. */
  handleBroken(code: number, reason: string): void;
  /** The peer ends the connection, with a code of WebSocket or of ours. */
  handleClose(code: number, reason: string): void;
  /** The peer sends nothing more; writing may still be possible. */
  handleEof(): void;
  /** The socket is closed, by either side, or broken: `error` says how. The last call. */
  handleLost(error: string): void;
  /** The socket takes no more for now, or again. */
  handleWritable(writable: boolean): void;
}

/** One socket. Its owner hears of it once the connection stands, and not at all where it never does. */
export interface Transport {
  /** Writes frames, together. What the socket does not take waits and goes out by itself. */
  write(frames: readonly Uint8Array[]): void;
  /** Ends the sending side once all is written, with a close code where the transport has one. */
  finish(code: number): void;
  /** Closes at once; what still waits to be written is lost. */
  abort(): void;
  /** How many bytes wait for the socket. */
  waitingBytes(): number;
}

/** What a connection is opened with. */
export interface Opening {
  readonly owner: Owner;
  /** Milliseconds for all together: resolving, TCP, TLS, upgrade. */
  readonly timeout: number;
  /** Ends the attempt. Nothing stays open then. */
  readonly signal: AbortSignal;
}

/** Where to connect to, and how. */
export interface Target {
  readonly address: Address;
  /** Connects; done when the owner was told. Rejects with `ConnectError`, with every address tried. */
  open(opening: Opening): Promise<void>;
}

/** The socket stands, but not the connection: its text says why. */
export class Refused extends Error {
  override name = "Refused";
}

/**
 * Whom to trust with `tagwires://` and `wss://`, and which certificate to show: for Node, as browsers decide it
 * themselves. Without anything: the authorities that Node trusts, and none. Files are read once, when connecting.
 */
export interface Tls {
  /** A PEM file with the certificates of one's own authority, which then is the only one trusted. */
  readonly ca?: string;
  /**
   * `sha256:` and the 64 hexadecimal digits of the SHA-256 of the server's certificate (DER), as a server with a
   * self-signed certificate prints them; colons in between and capitals are fine. Only this very certificate is then
   * trusted, whatever its name, dates and authority. Not together with `ca`.
   */
  readonly pin?: string;
  /** A PEM file with this client's own certificate, for servers that ask for one. */
  readonly certificate?: string;
  /** A PEM file with the key to it, not encrypted. Left out: it is in the file of the certificate. */
  readonly key?: string;
}
