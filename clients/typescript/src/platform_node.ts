/** Node: TCP, TLS, and WebSocket by the package `ws` or Node's own. */

import type { IncomingMessage } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import type { WebSocket as WsSocket } from "ws";
import type { Address } from "./address.js";
import { AddressError, ConnectError } from "./errors.js";
import type { Platform } from "./platform.js";
import { openFirst, type Begin } from "./sockets.js";
import { TcpTransport } from "./tcp.js";
import { checkTls, securityOf, whyBroken } from "./tls.js";
import type { Opening, Owner, Target, Tls } from "./transport.js";
import { SUBPROTOCOL, WebSocketTransport, openWebSocket, type Socket } from "./websocket.js";

/** More than any message has. By what is agreed on, less may be taken: the owner says. */
const LARGEST_BYTES = 16 * 1024 * 1024 + 1024;
const MAX_PAGE_BYTES = 1000;

type Ws = typeof WsSocket;

export const platform: Platform = {
  bareScheme: () => "tagwire",
  soon: (call) => void setImmediate(call),
  targetOf,
};

async function targetOf(address: Address, tls: Tls | undefined): Promise<Target> {
  if (tls && !address.secure) {
    const text = `tls was given, and ${address.scheme}:// is without TLS; use ${address.scheme}s://`;
    throw new AddressError(String(address), text);
  }
  checkTls(tls ?? {});
  const security = address.secure ? await securityOf(tls ?? {}, address) : undefined;
  if (!address.webSocket) {
    const begin =
      (owner: Owner): Begin =>
      (socket) => {
        new TcpTransport(owner, socket);
        return Promise.resolve();
      };
    return { address, open: (opening) => openFirst(address, security, begin(opening.owner), opening) };
  }
  const ws = await findWs();
  if (ws) {
    const open = (opening: Opening) =>
      openFirst(address, security, (socket, signal) => upgrade(ws, address, socket, signal, opening.owner), opening);
    return { address, open };
  }
  const Own = (globalThis as { WebSocket?: new (url: string, protocol: string) => unknown }).WebSocket;
  if (Own && !tls) {
    const make = (url: string, protocol: string) => new Own(url, protocol) as Socket;
    return { address, open: (opening) => openWebSocket(make, address, opening) };
  }
  const why = Own ? `${address.scheme}:// with \`tls\`` : `${address.scheme}:// before Node 22`;
  throw new ConnectError(String(address), `${why} needs the package ws; run \`npm install ws\``);
}

async function findWs(): Promise<Ws | undefined> {
  try {
    return (await import("ws")).WebSocket;
  } catch (error) {
    // The second where the game was bundled or compiled to require().
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** Asks for WebSocket on a socket that stands. */
async function upgrade(ws: Ws, address: Address, socket: TcpSocket, signal: AbortSignal, owner: Owner): Promise<void> {
  const plain = new URL(address.url);
  plain.protocol = "ws:"; // TLS is there already
  const peer = new ws(plain.href, [SUBPROTOCOL], {
    createConnection: () => socket,
    headers: { host: plain.host },
    perMessageDeflate: false,
    maxPayload: LARGEST_BYTES,
    followRedirects: false,
  });
  const transport = new WebSocketTransport(owner, peer);
  socket.prependListener("error", (error: Error) => transport.blame(whyBroken(error)));
  peer.on("unexpected-response", (_request, response) => {
    void whyRefused(response).then((why) => transport.refuse(why));
  });
  peer.on("error", () => undefined); // told by the transport
  const abort = () => transport.refuse("it was given up");
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    await transport.opened;
  } finally {
    signal.removeEventListener("abort", abort);
  }
  socket.on("data", () => owner.handlePart());
  socket.on("drain", () => transport.look());
}

async function whyRefused(response: IncomingMessage): Promise<string> {
  let text = "";
  try {
    for await (const part of response) {
      text += String(part);
      if (text.length > MAX_PAGE_BYTES) break;
    }
  } catch {
    // The status is told in any case.
  }
  text = text
    .replace(/[^\p{L}\p{N}\p{P}\p{S} ]+/gu, " ")
    .trim()
    .slice(0, 200);
  const status = response.statusCode ?? 0;
  let why = `the server answered the request for WebSocket with ${status}`;
  if (response.statusMessage) why += ` ${response.statusMessage}`;
  if (text && !text.includes("<")) why += `: ${text}`;
  const where = response.headers.location;
  if (status >= 300 && status < 400 && where) {
    return `${why}; it says to go to ${where.slice(0, 200)}, which has to be given as the address`;
  }
  return `${why}; is the path right, and a tagwire server behind it?`;
}
