/** Browsers: WebSocket and nothing else. */

import type { Scheme } from "./address.js";
import { AddressError } from "./errors.js";
import type { Platform } from "./platform.js";
import { openWebSocket, type Socket } from "./websocket.js";

// Timers are slowed down in pages that nobody looks at, messages are not.
let channel: MessageChannel | undefined;
const planned: (() => void)[] = [];

function soon(call: () => void): void {
  if (!channel) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => planned.shift()?.();
  }
  planned.push(call);
  channel.port2.postMessage(null);
}

function bareScheme(): Scheme {
  // A page that came by https may open nothing else. Not all that is like a browser has pages.
  const { location } = globalThis as { location?: { protocol: string } };
  return location?.protocol === "https:" ? "wss" : "ws";
}

export const platform: Platform = {
  bareScheme,
  soon,
  targetOf(address, tls) {
    if (!address.webSocket) {
      const instead = address.scheme === "tagwires" ? "wss" : "ws";
      const text = `browsers speak WebSocket only; use ${instead}://${address.host}:${address.port}`;
      return Promise.reject(new AddressError(String(address), text));
    }
    if (tls) {
      const text = "a browser decides itself which certificates it trusts; leave `tls` out";
      return Promise.reject(new AddressError(String(address), text));
    }
    const make = (url: string, protocol: string): Socket => new WebSocket(url, protocol);
    return Promise.resolve({ address, open: (opening) => openWebSocket(make, address, opening) });
  },
};
