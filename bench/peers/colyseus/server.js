// A room of Colyseus that hands bytes on, and has no state.
//
//   node server.js '{"port": 7777, "pingMs": null, "bodyBytes": 16384}'

import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";

const { port, pingMs, bodyBytes } = JSON.parse(process.argv[2]);

class Relay extends Room {
  maxClients = 20000;
  // A room without state has no patches to send.
  patchRate = null;
  // A storm of logins takes its time.
  seatReservationTimeout = 60;

  onCreate() {
    this.onMessageBytes("all", (client, body) => this.broadcastBytes("all", body));
    this.onMessageBytes("others", (client, body) => this.broadcastBytes("others", body, { except: client }));
    this.onMessageBytes("request", (client, body) => client.sendBytes("request", body));
  }
}

const server = new Server({
  greet: false,
  transport: new WebSocketTransport({
    perMessageDeflate: false,
    skipUTF8Validation: true,
    maxPayload: bodyBytes + 1024,
    // As it is by itself: 3 s.
    ...(pingMs !== null && { pingInterval: pingMs }),
  }),
});
server.define("relay", Relay).filterBy(["room"]);
await server.listen(port, "127.0.0.1", 4096);
