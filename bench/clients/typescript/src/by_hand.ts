/**
 * The client that one would write by hand for this game: a `Socket` of Node, protobuf-es, maps.
 *
 * It does the work that a game needs and no more: frames are cut, messages are made of them and handed to the functions
 * set for them, pings are answered, requests have a time-out, what is sent in one turn of the loop goes out by one
 * write, and sending waits while the socket takes no more. It neither comes back when the connection breaks nor checks
 * anything.
 */

import { connect as connectSocket, type Socket } from "node:net";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { AskRequestSchema, CastSchema } from "../gen/bench/bench/v1/bench_pb.js";
import { MemberSchema, RelayedSchema } from "../../../../clients/typescript/src/gen/tagwire/v1/room_pb.js";
import {
  DisconnectSchema,
  PingSchema,
  PlayerLoginSchema,
  RequestSchema,
  ResponseSchema,
  Status_Value,
  WelcomeSchema,
  type Response,
} from "../../../../clients/typescript/src/gen/tagwire/v1/session_pb.js";

const PLAYER_LOGIN = 1;
const PING = 3;
const WELCOME = 240;
const DISCONNECT = 241;
const REQUEST = 242;
const RESPONSE = 243;
const RELAYED = 246;
const MEMBER = 247;

const TAGS = new Map<DescMessage, number>([
  [CastSchema, 4],
  [AskRequestSchema, 8],
]);

interface Asked {
  readonly resolve: (response: Response) => void;
  readonly timer: NodeJS.Timeout;
}

interface Handler {
  readonly schema: DescMessage;
  readonly call: (message: never, sender: string) => unknown;
}

/** One connection, logged in. */
export class Client {
  #rest: Buffer | undefined;
  #out: Uint8Array[] = [];
  #flushPlanned = false;
  #drained: Promise<void> | undefined;
  readonly #handlers = new Map<number, Handler>();
  readonly #names = new Map<number, string>();
  readonly #asked = new Map<number, Asked>();
  #key = 0;
  readonly #ended: Promise<void>;
  #opened: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => {
    this.#opened = resolve;
  });

  constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on("data", (data) => this.#take(data));
    socket.on("error", (error) => console.error(error));
    this.#ended = new Promise((resolve) => socket.on("close", () => resolve()));
    const login = { username: "p1", password: "welcome", client: { protocol: 1, sdk: "by hand" } };
    this.#put(PLAYER_LOGIN, toBinary(PlayerLoginSchema, create(PlayerLoginSchema, login)));
  }

  /** Sets what is called with each message of a schema, and the name of its sender. */
  on<D extends DescMessage>(schema: D, call: (message: MessageShape<D>, sender: string) => unknown): void {
    this.#handlers.set(TAGS.get(schema) ?? 0, { schema, call });
  }

  /** Waits for the end. */
  run(): Promise<void> {
    return this.#ended;
  }

  /** Sends a message. Waits while the socket takes no more. */
  async send<D extends DescMessage>(schema: D, fields: MessageInitShape<D>): Promise<void> {
    if (this.#drained) await this.#drained;
    this.#put(TAGS.get(schema) ?? 0, toBinary(schema, create(schema, fields)));
  }

  /** Asks, and waits for the answer. */
  async request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInitShape<I>,
    timeout = 2000,
  ): Promise<MessageShape<O>> {
    if (this.#drained) await this.#drained;
    const key = (this.#key += 1);
    const body = toBinary(schema, create(schema, fields));
    this.#put(
      REQUEST,
      toBinary(RequestSchema, create(RequestSchema, { key: BigInt(key), tag: TAGS.get(schema) ?? 0, body })),
    );
    const response = await new Promise<Response>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(key);
        reject(new Error("no answer"));
      }, timeout);
      this.#asked.set(key, { resolve, timer });
    });
    if (response.status !== Status_Value.OK) throw new Error(response.message);
    return fromBinary(reply, response.body);
  }

  /** Leaves. */
  async close(): Promise<void> {
    this.#put(DISCONNECT, toBinary(DisconnectSchema, create(DisconnectSchema)));
    this.#flush();
    this.socket.end();
    await this.#ended;
  }

  #put(tag: number, payload: Uint8Array): void {
    const { length } = payload;
    let frame: Uint8Array;
    if (length <= 255) {
      frame = new Uint8Array(2 + length);
      frame[0] = length;
      frame[1] = tag;
      frame.set(payload, 2);
    } else {
      frame = new Uint8Array(8 + length);
      const view = new DataView(frame.buffer);
      view.setUint16(0, 0xff00);
      view.setUint16(2, tag);
      view.setUint32(4, length);
      frame.set(payload, 8);
    }
    this.#out.push(frame);
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushPlanned = false;
    if (this.#out.length === 0) return;
    const more = this.socket.write(Buffer.concat(this.#out));
    this.#out = [];
    if (more || this.#drained) return;
    this.#drained = new Promise((resolve) => {
      this.socket.once("drain", () => {
        this.#drained = undefined;
        resolve();
      });
    });
  }

  #take(chunk: Buffer): void {
    const data = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    let start = 0;
    while (data.length - start >= 2) {
      let length = data[start] ?? 0;
      let tag = data[start + 1] ?? 0;
      let body = start + 2;
      if (tag === 0) {
        if (data.length - start < 8) break;
        tag = data.readUInt16BE(start + 2);
        length = data.readUInt32BE(start + 4);
        body = start + 8;
      }
      if (body + length > data.length) break;
      start = body + length;
      this.#handle(tag, data.subarray(body, start));
    }
    this.#rest = start < data.length ? data.subarray(start) : undefined;
  }

  #handle(tag: number, payload: Uint8Array): void {
    switch (tag) {
      case RELAYED: {
        const relayed = fromBinary(RelayedSchema, payload);
        const handler = this.#handlers.get(relayed.tag);
        if (!handler) return;
        handler.call(fromBinary(handler.schema, relayed.body) as never, this.#names.get(relayed.player) ?? "");
        return;
      }
      case RESPONSE: {
        const response = fromBinary(ResponseSchema, payload);
        const key = Number(response.key);
        const asked = this.#asked.get(key);
        if (!asked) return;
        this.#asked.delete(key);
        clearTimeout(asked.timer);
        asked.resolve(response);
        return;
      }
      case PING: {
        const { sentEpoch } = fromBinary(PingSchema, payload);
        if (!sentEpoch) return;
        const pong = { sentEpoch, bounceEpoch: BigInt(Date.now()) * 1000n };
        this.#put(PING, toBinary(PingSchema, create(PingSchema, pong)));
        return;
      }
      case MEMBER: {
        const { player, name } = fromBinary(MemberSchema, payload);
        this.#names.set(player, name);
        return;
      }
      case WELCOME:
        fromBinary(WelcomeSchema, payload);
        this.#opened();
        return;
      default: {
        const handler = this.#handlers.get(tag);
        handler?.call(fromBinary(handler.schema, payload) as never, "");
      }
    }
  }
}

/** Connects to a port of this machine, and logs in. */
export async function connect(port: number): Promise<Client> {
  const socket = connectSocket(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  const client = new Client(socket);
  await client.opened;
  return client;
}
