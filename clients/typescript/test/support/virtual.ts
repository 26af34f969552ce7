/** A client in memory: time that moves when told, and a server in the hands of the test. */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { SCHEMA } from "../../gen/arena/index.js";
import { Address } from "../../src/address.js";
import { Client } from "../../src/client.js";
import { sourceOf, type Token } from "../../src/credential.js";
import { ConnectError } from "../../src/errors.js";
import type { Frame } from "../../src/frame.js";
import { PlayerLoginSchema } from "../../src/gen/tagwire/v1/session_pb.js";
import { realLoop, type Loop, type Timer } from "../../src/loop.js";
import { SyncClient } from "../../src/pump.js";
import { policyOf, type Reconnect } from "../../src/reconnect.js";
import type { Schema } from "../../src/schema.js";
import { Session } from "../../src/session.js";
import type { Opening, Owner, Target, Transport } from "../../src/transport.js";
import type { WireOptions } from "../../src/wire.js";
import { Clock, TOKEN, concat, framesIn, read, resumable, welcome } from "./messages.js";

interface Plan {
  readonly at: number;
  readonly call: () => void;
  wanted: boolean;
}

/** A loop whose time moves when told. */
export class VirtualLoop implements Loop {
  readonly clock = new Clock();
  #plans: Plan[] = [];

  now() {
    return this.clock.now();
  }

  monotonic(): number {
    return this.clock.monotonic;
  }

  soon(call: () => void): Timer {
    return this.later(0, call);
  }

  later(ms: number, call: () => void): Timer {
    const plan = { at: this.clock.monotonic + Math.max(ms, 0), call, wanted: true };
    this.#plans.push(plan);
    return {
      cancel() {
        plan.wanted = false;
      },
    };
  }

  /** Lets happen what may happen now. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2;) {
      await new Promise<void>((resolve) => void realLoop.soon(resolve)); // all that is promised
      this.#plans = this.#plans.filter((plan) => plan.wanted);
      const due = this.#plans.filter((plan) => plan.at <= this.clock.monotonic);
      this.#plans = this.#plans.filter((plan) => plan.at > this.clock.monotonic);
      quiet = due.length === 0 ? quiet + 1 : 0;
      for (const plan of due) if (plan.wanted) plan.call();
    }
  }

  /** Lets some time pass, from one planned thing to the next. */
  async advance(ms: number): Promise<void> {
    const end = this.clock.monotonic + ms;
    await this.settle();
    for (;;) {
      const next = Math.min(...this.#plans.filter((plan) => plan.wanted).map((plan) => plan.at));
      if (next > end) break;
      this.clock.advance(next - this.clock.monotonic);
      await this.settle();
    }
    this.clock.advance(end - this.clock.monotonic);
    await this.settle();
  }
}

/** The server's end of one connection. */
export class Link implements Transport {
  /** How it was closed by the client: with a code, or without a word. */
  closed: number | "abort" | undefined;
  /** Whether it takes time to close, until `cut`. */
  lingers = false;
  /** How many writes there were. */
  writes = 0;
  #written: Uint8Array[] = [];
  #waiting = 0;
  #blocked = false;
  #over = false;

  constructor(
    private readonly peer: Peer,
    private readonly owner: Owner,
  ) {}

  write(frames: readonly Uint8Array[]): void {
    this.writes += 1;
    this.#written.push(...frames);
    if (!this.#blocked) return;
    this.#waiting += frames.reduce((sum, frame) => sum + frame.length, 0);
    this.owner.handleWritable(false);
  }

  finish(code: number): void {
    this.closed ??= code;
  }

  abort(): void {
    this.closed ??= "abort";
    if (!this.lingers) this.lose();
  }

  waitingBytes(): number {
    return this.#waiting;
  }

  // What the test does

  /** What the client has written since the last call. */
  take(): Frame[] {
    const frames = framesIn(concat(...this.#written));
    this.#written = [];
    return frames;
  }

  /** The next frame, which must be this message. */
  one<D extends DescMessage>(desc: D): MessageShape<D> {
    const [first, ...rest] = this.take();
    this.#written = rest.map((frame) => concat(headerOf(frame), frame.payload));
    return read(desc, first);
  }

  /** What the client is sent. */
  async send(...data: Uint8Array[]): Promise<void> {
    if (!this.#over) this.owner.handleData(concat(...data));
    await this.peer.loop.settle();
  }

  /** The socket takes no more, or again. */
  async block(blocked: boolean): Promise<void> {
    this.#blocked = blocked;
    this.#waiting = 0;
    this.owner.handleWritable(!blocked);
    await this.peer.loop.settle();
  }

  /** The network fails. */
  async cut(): Promise<void> {
    this.lose("the cable is out");
    await this.peer.loop.settle();
  }

  private lose(why = ""): void {
    if (this.#over) return;
    this.#over = true;
    queueMicrotask(() => this.owner.handleLost(why));
  }
}

function headerOf(frame: Frame): Uint8Array {
  const { tag, payload, size } = frame;
  if (size === payload.length + 2) return Uint8Array.from([payload.length, tag]);
  const header = new Uint8Array(8);
  header[0] = 0xff;
  new DataView(header.buffer).setUint16(2, tag);
  new DataView(header.buffer).setUint32(4, payload.length);
  return header;
}

/** How a client of a test is made. */
export interface Making {
  readonly schema?: Schema;
  readonly reconnect?: boolean | Reconnect;
  readonly receive?: boolean;
  readonly token?: Token;
  readonly answer?: Uint8Array;
}

/** Comes back at once, without a lot drawn. */
export const QUICK: Reconnect = { firstDelay: 10, maxDelay: 20, jitter: 0 };

/** A server that leaves everything to the test. */
export class Peer {
  readonly loop = new VirtualLoop();
  /** Why nobody can connect. */
  refuses = "";
  /** The connections so far. */
  readonly links: Link[] = [];
  readonly target: Target = { address: new Address("peer", 7777), open: (opening) => this.#open(opening) };
  /** How often somebody tried. */
  attempts = 0;
  #open(opening: Opening): Promise<void> {
    this.attempts += 1;
    if (this.refuses) return Promise.reject(new ConnectError("peer:7777", this.refuses));
    const link = new Link(this, opening.owner);
    this.links.push(link);
    opening.owner.handleConnected(link);
    return Promise.resolve();
  }

  /** The newest connection. */
  get link(): Link {
    const link = this.links.at(-1);
    if (!link) throw new Error("nobody has connected");
    return link;
  }

  options(making: Making): WireOptions {
    const { schema = SCHEMA, reconnect = false, token = "" } = making;
    const policy = policyOf(reconnect);
    const credentials = { username: "player1", password: token ? "" : "welcome" };
    const session = new Session(schema, credentials, policy !== undefined);
    return { session, policy, token: sourceOf(token, credentials.password), loop: this.loop };
  }

  /** A client that has logged in. `data` comes right behind Welcome. */
  async client(making: Making = {}, ...data: Uint8Array[]): Promise<Client> {
    const client = new Client(this.options(making), making.receive ?? true);
    const opening = client.wire.open(this.target, 5000);
    await this.#welcome(making, data);
    await opening;
    return client;
  }

  /** The same for a game loop. */
  async syncClient(making: Making = {}, ...data: Uint8Array[]): Promise<SyncClient> {
    const client = new SyncClient(this.options(making));
    const opening = client.wire.open(this.target, 5000);
    await this.#welcome(making, data);
    await opening;
    client.begin();
    return client;
  }

  async #welcome(making: Making, data: readonly Uint8Array[]): Promise<void> {
    await this.loop.settle();
    this.link.one(PlayerLoginSchema);
    await this.link.send(making.answer ?? (making.reconnect ? resumable() : welcome()), ...data);
  }

  /** The next connection, on which the session goes on: the server has handled so many frames. */
  async back(handled: number, ...data: Uint8Array[]): Promise<Link> {
    const { link } = this;
    const login = link.one(PlayerLoginSchema);
    expect(login.resume?.token).to.deep.equal(TOKEN);
    await link.send(resumable({ resumed: true, framesReceived: BigInt(handled) }), ...data);
    return link;
  }
}

/** What a promise fails with. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

/** Collects what is written to the console while a test runs. */
export function recordConsole(): { readonly lines: string[]; restore: () => void } {
  const lines: string[] = [];
  const names = ["info", "warn", "error"] as const;
  const { info, warn, error } = console;
  for (const name of names) {
    console[name] = (...values: unknown[]) => void lines.push(`${name}: ${values.map(String).join(" ")}`);
  }
  return {
    lines,
    restore() {
      Object.assign(console, { info, warn, error });
    },
  };
}
