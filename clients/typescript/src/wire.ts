/**
 * What both clients have of a session: logging in, sending, requests, the end. What is done with what arrives is each
 * client's own.
 */

import { fromBinary, toBinary, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";
import { REQUEST_TIMEOUT_MS, joinOf, type Ask } from "./ask.js";
import { CloseCode, closeCodeName, closedWith, type Closed } from "./close.js";
import type { TokenSource } from "./credential.js";
import {
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  RequestFailed,
  RequestTimeout,
  SchemaMismatch,
  Status,
  TagwireError,
} from "./errors.js";
import { Ended, Lost, Opened, Received, Responded, Verdict, type Event } from "./events.js";
import { JoinRoomReplySchema } from "./gen/tagwire/v1/room_pb.js";
import type { Response } from "./gen/tagwire/v1/session_pb.js";
import { Deferred, type Loop, type Timer } from "./loop.js";
import { Reconnected, Reconnecting, type Policy } from "./reconnect.js";
import { Line } from "./reconnecting.js";
import { messageOf, isDesc, type Entry, type MessageInit, type Schema } from "./schema.js";
import { Sender } from "./sending.js";
import { WRAPPER_BYTES, type Session } from "./session.js";
import type { Target } from "./transport.js";

const MAX_REASON = 1000;

/** How a request is made. */
export interface RequestOptions {
  /** Milliseconds until it fails with `RequestTimeout`. Default: 2000. */
  readonly timeout?: number;
}

/** What happens to a session that its client has to do something with. */
export type Happening = Exclude<Event, Opened | Responded | Lost | Ended> | Reconnecting | Reconnected;

/** A client, as its wire sees it. */
export interface User {
  /** Something has happened. */
  onHappening(event: Happening): void;
  /** A request was answered; before who asked is told. */
  onResponse(response: Response): void;
  /** It has ended for good. */
  onEnded(closed: Closed): void;
}

/** What a wire is made of. */
export interface WireOptions {
  readonly session: Session;
  readonly policy: Policy | undefined;
  readonly token: TokenSource | undefined;
  readonly loop: Loop;
}

/** One session, over all its connections. */
export class Wire {
  readonly session: Session;
  readonly loop: Loop;
  readonly line: Line;
  readonly sender: Sender;
  closedByUser = false;
  readonly #opened = new Deferred<void>();

  constructor(
    options: WireOptions,
    private readonly user: User,
  ) {
    this.session = options.session;
    this.loop = options.loop;
    this.line = new Line(this.session, options.policy, options.token, this.loop, {
      onEvent: (event) => this.#handleEvent(event),
      onWritable: (writable) => {
        if (writable) this.sender.drain();
      },
    });
    this.sender = new Sender(this.line, this.loop, (closed, mayHaveRun) => this.closedError(closed, mayHaveRun));
  }

  /** The schema of the game. */
  get schema(): Schema {
    return this.session.schema;
  }

  /** How it ended for good. */
  get closed(): Closed | undefined {
    return this.sender.ended;
  }

  /** What is thrown once it has ended. */
  closedError(closed: Closed | undefined, mayHaveRun = false): ConnectionClosed {
    const how = closed ?? this.closed ?? closedWith(CloseCode.TIMEOUT, "the connection was never made");
    return new ConnectionClosed(how, { mayHaveRun, cause: this.line.failure ?? this.line.connection.failure });
  }

  // Opening and closing

  /** Connects and logs in. Rejects with what `connect` rejects with. Nothing stays open then. */
  async open(target: Target, timeout: number): Promise<void> {
    const deadline = this.loop.monotonic() + timeout;
    let timer: Timer | undefined;
    let open = false;
    try {
      await this.line.open(target, timeout);
      timer = this.loop.later(deadline - this.loop.monotonic(), () => {
        let why = `the login was not answered within ${timeout / 1000} s`;
        if (this.session.schemaWanted) {
          why += "; the server asked for the schema of this client and may still be comparing it";
        }
        this.#opened.reject(this.#noSession(target, why));
      });
      await this.#opened.promise;
      open = true; // and maybe lost again already, which is the line's to see to
    } catch (error) {
      if (!(error instanceof ConnectionClosed)) throw error;
      const { closed } = error;
      if (!closed.byPeer || closed.code === CloseCode.TIMEOUT)
        throw this.#noSession(target, closed.reason, error.cause);
      throw closed.code === CloseCode.SCHEMA_MISMATCH ? new SchemaMismatch(closed) : new LoginRefused(closed);
    } finally {
      timer?.cancel();
      if (!open) this.line.abort();
    }
  }

  /** Ends the session: tells the server, sends what waits, closes the socket. Takes a second at most. */
  async close(code: number, reason: string): Promise<void> {
    if (code !== CloseCode.NORMAL && !(code >= 4000 && code <= 4999)) {
      throw new RangeError(`close code ${code}; it must be 0, or 4000 to 4999 for an application's own`);
    }
    if (!this.closed && !this.closedByUser) {
      this.closedByUser = true;
      if (this.session.state === "open") this.sender.flush();
      this.line.close(code, reason.slice(0, MAX_REASON));
    }
    await this.line.over.promise;
  }

  #noSession(target: Target, why: string, cause?: unknown): ConnectError {
    // Only a tagwire server asks for a schema.
    let doubt = this.session.schemaWanted ? "" : ". Is it a tagwire server?";
    if (doubt && !target.address.secure) doubt += ` It may want TLS: ${target.address.scheme}s://`;
    return new ConnectError(String(target.address), `connected, but ${why}${doubt}`, { cause });
  }

  // Sending

  /**
   * Encodes a message.
   *
   * @throws TypeError for one that is not in the schema, has no rules, is for the other call or only the server's;
   * RangeError for one that is too large, or has a value that its field cannot hold.
   */
  encode<D extends DescMessage>(
    what: D | Message,
    init: MessageInit<D> | undefined,
    request = false,
  ): Entry & { payload: Uint8Array } {
    const { desc, rules } = this.schema.entryOf(what);
    const name = desc.typeName;
    if (rules.from === "SERVER") throw new TypeError(`${name} is sent by the server only (from: SERVER)`);
    if (rules.request && !request) {
      throw new TypeError(`${name} is a request of a service; use client.request() or the service's class`);
    }
    if (request && !rules.request) throw new TypeError(`${name} is not a request of a service; use client.send()`);
    let payload: Uint8Array;
    try {
      payload = toBinary(desc, messageOf(what, init) as MessageShape<DescMessage>);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new RangeError(`${name} cannot be encoded: ${why}`, { cause: error });
    }
    const server = this.session.maxFrameBytes - (request ? WRAPPER_BYTES : 0);
    const limit = Math.min(server, rules.maxBytes || server);
    if (payload.length > limit) throw new RangeError(`${name} of ${payload.length} bytes, limit ${limit}`);
    return { desc, rules, payload };
  }

  /** The request of a service, to be posted. `settle` is told the reply, or why there is none. */
  askOf<O extends DescMessage>(
    given: RequestArguments<O>,
    settle: (outcome: MessageShape<O> | TagwireError) => void,
  ): Ask {
    const { what, reply, init, options } = given;
    if (!isDesc(reply)) throw new TypeError("the schema of the reply is needed, say RenameReplySchema");
    const { desc, rules, payload } = this.encode(what, init, true);
    return {
      tag: rules.tag,
      body: payload,
      name: desc.typeName,
      timeout: options.timeout ?? REQUEST_TIMEOUT_MS,
      settle: (outcome) => settle(this.#replyIn(outcome, desc.typeName, reply)),
    };
  }

  /** The request to be moved to another room. */
  askToJoin(room: string, options: RequestOptions, settle: (outcome: string | TagwireError) => void): Ask {
    const ask = joinOf(room);
    return {
      ...ask,
      timeout: options.timeout ?? REQUEST_TIMEOUT_MS,
      settle: (outcome) => {
        const reply = this.#replyIn(outcome, ask.name, JoinRoomReplySchema);
        settle(reply instanceof TagwireError ? reply : reply.room);
      },
    };
  }

  #replyIn<O extends DescMessage>(
    outcome: Response | TagwireError,
    name: string,
    reply: O,
  ): MessageShape<O> | TagwireError {
    if (outcome instanceof TagwireError) return outcome;
    if (outcome.status === Status.TIMEOUT) return new RequestTimeout(name, outcome);
    if (outcome.status !== Status.OK) return new RequestFailed(name, outcome);
    try {
      return fromBinary(reply, outcome.body);
    } catch (error) {
      this.session.dropped.undecodable += 1;
      const text = `the answer to ${name} cannot be read as ${reply.typeName}; generate the stubs again from the server's schema`;
      return new TagwireError(text, { cause: error });
    }
  }

  // Receiving

  #handleEvent(event: Event | Reconnecting): void {
    if (event instanceof Received) {
      this.user.onHappening(event);
    } else if (event instanceof Responded) {
      this.user.onResponse(event.response);
      if (!this.sender.answered(event.response)) {
        this.session.dropped.misplaced += 1; // too late, twice, or nobody asked
      }
    } else if (event instanceof Opened) {
      this.#handleOpened(event);
    } else if (event instanceof Lost) {
      if (!event.resumable) {
        const said = event.closed.reason || closeCodeName(event.closed.code);
        const reason = `${said}; the session cannot be resumed`;
        this.sender.failRequests({ ...event.closed, reason }, false);
      }
      this.sender.drain();
    } else if (event instanceof Ended) {
      this.sender.end(event.closed);
      this.#opened.reject(this.closedError(event.closed));
      this.user.onEnded(event.closed);
    } else {
      this.user.onHappening(event);
    }
  }

  #handleOpened(event: Opened): void {
    if (!event.resumed && event.welcome.verdict === Verdict.COMPATIBLE) {
      console.info("tagwire: the server's schema differs by additions; each side reads what the other sends");
    } else if (!event.resumed && event.welcome.verdict === Verdict.BREAKING) {
      console.warn("tagwire: the server's schema contradicts the stubs of this client; generate them again");
    }
    if (!this.#opened.settled) {
      this.#opened.resolve();
      return;
    }
    let { lost } = event;
    if (!event.resumed) {
      const why = "the session could not be resumed, and another one has begun";
      this.sender.failRequests(closedWith(CloseCode.TIMEOUT, why, { byPeer: true }), true);
      lost += this.sender.reset();
    }
    this.user.onHappening(new Reconnected(event.resumed, this.line.attempts, lost));
  }
}

/** The arguments of `request`, in one of its two forms. */
export interface RequestArguments<O extends DescMessage> {
  readonly what: DescMessage | Message;
  readonly reply: O;
  readonly init: MessageInit<DescMessage> | undefined;
  readonly options: RequestOptions;
}

/** Sorts the arguments of `request(message, reply, options)` and `request(schema, reply, fields, options)`. */
export function requestArguments<O extends DescMessage>(
  what: DescMessage | Message,
  reply: O,
  third: unknown,
  fourth: RequestOptions | undefined,
): RequestArguments<O> {
  if (isDesc(what)) return { what, reply, init: (third ?? {}) as MessageInit<DescMessage>, options: fourth ?? {} };
  return { what, reply, init: undefined, options: (third as RequestOptions | undefined) ?? {} };
}
