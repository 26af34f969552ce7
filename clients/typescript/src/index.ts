/**
 * Typed messages for multiplayer games: the client for browsers and Node.
 *
 *     import { connect } from "@tagwire/client";
 *     import { MouseEventSchema, SCHEMA } from "./gen/arena/index.js";
 *
 *     const client = await connect("localhost:7777", { username: "p1", password: "welcome", schema: SCHEMA });
 *     await client.send(MouseEventSchema, { x: 1, y: 1 });
 *     for await (const message of client) ...
 *
 * One concept a file:
 *
 *     frame        bytes to frames and back
 *     schema       what generated stubs say of a game
 *     session      the conversation as a state machine, without I/O and clock
 *     tags, events what it knows of the stack's own messages; what it tells
 *     outbox       what was sent and not yet acknowledged, to be sent again
 *     address      what a server is called
 *     transport    one socket, whatever its kind
 *     websocket    browsers, and Node
 *     tcp, tls, sockets    Node: streams, whom to trust, finding an address that answers
 *     platform     what browsers and Node do differently, picked by `imports` in package.json
 *     credential   tokens
 *     loop         clock and timers
 *     connection   one socket's life
 *     reconnect    when to connect again: the policy
 *     reconnecting one connection after the other
 *     connecting   the ways to a client
 *     wire         what both clients have of a session
 *     client       what an application uses
 *     pump         what a game loop uses
 *     sending      what waits to be sent; requests that wait for answers
 *     handlers     functions that are called for what arrives
 *     ask, batch   a request on its way; several in one frame
 *     notice       what the server dropped, as a warning
 *     clock        the server's clock
 *     service      what the printed classes of services are made of
 *     close, errors    why a connection ended; what can go wrong
 *     backlog      the bounded queue on both ways
 *     gen          generated: the stack's own messages
 */

export { Batch } from "./batch.js";
export { Client } from "./client.js";
export { CloseCode, closeCodeName, describeClosed, isRetryable, type Closed, type LoginPart } from "./close.js";
export { connect, connectSync, type ConnectOptions, type SyncOptions } from "./connecting.js";
export type { Token, TokenSource } from "./credential.js";
export {
  AddressError,
  BufferFull,
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  RequestFailed,
  RequestTimeout,
  SchemaMismatch,
  Status,
  TagwireError,
} from "./errors.js";
export {
  MemberChange,
  MemberChanged,
  NoticeReason,
  Noticed,
  Pinged,
  RoomEnded,
  Verdict,
  type Dropped,
  type Member,
} from "./events.js";
export type { EventClass, EventHandler, HandledEvent, MessageHandler } from "./handlers.js";
export { describeNotice } from "./notice.js";
export { SyncClient } from "./pump.js";
export { Reconnected, Reconnecting, type Reconnect } from "./reconnect.js";
export { Schema, type Delivery, type MessageInit, type Rules } from "./schema.js";
export { Service, type Requester } from "./service.js";
export type { Tls } from "./transport.js";
export { VERSION } from "./version.js";
export type { RequestOptions } from "./wire.js";
