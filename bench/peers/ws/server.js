// Rooms over WebSockets, as one writes them with `ws` and protobufjs: a message is decoded, encoded once, and sent to each.
//
//   node server.js '{"port": 7777, "pingMs": null, "bodyBytes": 16384}'
//
// A binary message holds frames of the plain wire (bench/src/dialect/plain.rs).

import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { WebSocketServer } from "ws";

const ENTER = 1;
const ALL = 2;
const PING = 3;
const REQUEST = 8;

const { port, pingMs, bodyBytes } = JSON.parse(process.argv[2]);

const root = new protobuf.Root();
// What it imports are rules for other servers.
root.resolvePath = (origin, target) => (origin === "" ? target : null);
root.loadSync(fileURLToPath(new URL("../../proto/bench/v1/bench.proto", import.meta.url)));

/** Tag to what is read, and what is sent for it. */
const types = new Map([
  [ALL, ["Echo", "Echo"]],
  [4, ["Cast", "Cast"]],
  [5, ["Step", "Step"]],
  [7, ["Latest", "Latest"]],
  [REQUEST, ["AskRequest", "AskReply"]],
].map(([tag, names]) => [tag, names.map((name) => root.lookupType(`bench.v1.${name}`))]));

function frame(tag, payload) {
  let start = 2;
  let out;
  if (payload.length < 256) {
    out = Buffer.allocUnsafe(start + payload.length);
    out[0] = payload.length;
    out[1] = tag;
  } else {
    start = 8;
    out = Buffer.allocUnsafe(start + payload.length);
    out.writeUInt32BE(0xff000000 + tag, 0);
    out.writeUInt32BE(payload.length, 4);
  }
  out.set(payload, start);
  return out;
}

/** Name to the sockets in it. */
const rooms = new Map();

function enter(socket, name) {
  let room = rooms.get(name);
  if (room === undefined) rooms.set(name, (room = new Set()));
  room.add(socket);
  socket.room = room;
  socket.on("close", () => {
    room.delete(socket);
    if (room.size === 0 && rooms.get(name) === room) rooms.delete(name);
  });
}

function handle(socket, tag, payload) {
  if (tag === PING) return;
  if (tag === ENTER) {
    enter(socket, payload.toString());
    socket.send(frame(ENTER, payload));
    return;
  }
  const pair = types.get(tag);
  if (pair === undefined || socket.room === undefined) {
    socket.close(1008, `tag ${tag}`);
    return;
  }
  const [read, sent] = pair;
  const out = frame(tag, sent.encode(read.decode(payload)).finish());
  if (tag === REQUEST) {
    socket.send(out);
    return;
  }
  for (const member of socket.room) {
    if (tag === ALL || member !== socket) member.send(out);
  }
}

function take(socket, data) {
  for (let at = 0; at < data.length; ) {
    const isLong = data[at] === 0xff && data[at + 1] === 0;
    const tag = isLong ? data.readUInt16BE(at + 2) : data[at + 1];
    const start = at + (isLong ? 8 : 2);
    at = start + (isLong ? data.readUInt32BE(at + 4) : data[at]);
    handle(socket, tag, data.subarray(start, at));
  }
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port,
  backlog: 4096,
  perMessageDeflate: false,
  skipUTF8Validation: true,
  // All that were batched by a client, and more.
  maxPayload: 64 * 1024 + 2 * bodyBytes,
});
server.on("connection", (socket) => {
  socket.on("message", (data) => {
    try {
      take(socket, data);
    } catch (error) {
      socket.close(1002, String(error.message).slice(0, 100));
    }
  });
  // A close follows.
  socket.on("error", () => {});
});

if (pingMs !== null) {
  const now = Buffer.alloc(8);
  setInterval(() => {
    now.writeBigUInt64LE(process.hrtime.bigint());
    const ping = frame(PING, now);
    for (const socket of server.clients) {
      if (socket.room !== undefined) socket.send(ping);
    }
  }, pingMs);
}
