/**
 * The client's side of the conversation as a state machine: no I/O, no clock, no promises.
 *
 *     bytes, EOF and the time go in         events, bytes to send and a deadline come out
 *
 *     receiveData, receiveEof,              events, dataToSend,
 *     handleTimer, start, send, ...  -->    nextDeadline
 *
 * It lasts over any number of connections, one after the other, each begun with `start`:
 *
 *     new -> login -> open -> closing -> closed
 *              ^        |
 *              +- away <+      the connection was lost; the session goes on if the server has kept it
 *
 * The time is a `Now`, read by the caller. `docs/PROTOCOL.md` says what is sent when; `test/session.test.ts` and
 * `test/resume.test.ts` hold this file to it, rule by rule.
 */

import {
  clone,
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { ServerClock } from "./clock.js";
import { CloseCode, closedWith, isRetryable, type Closed, type LoginPart } from "./close.js";
import {
  Ended,
  Lost,
  MemberChange,
  MemberChanged,
  Noticed,
  Opened,
  Pinged,
  Received,
  Responded,
  RoomEnded,
  nothingDropped,
  type Dropped,
  type Event,
  type Member,
} from "./events.js";
import { Decoder, FrameError, FrameTooLarge, encode, type Frame } from "./frame.js";
import { JoinRoomReplySchema, MemberSchema, RoomEndedSchema } from "./gen/tagwire/v1/room_pb.js";
import {
  BatchSchema,
  DisconnectSchema,
  LoginPart_Value,
  NoticeSchema,
  PingSchema,
  PlayerLoginSchema,
  RequestSchema,
  ResponseSchema,
  ResumeSchema,
  SchemaOfferSchema,
  Status_Value,
  WelcomeSchema,
  type PlayerLogin,
  type Welcome,
} from "./gen/tagwire/v1/session_pb.js";
import { Outbox } from "./outbox.js";
import { RelayedReader, type Relayed } from "./relayed.js";
import type { Schema } from "./schema.js";
import * as tags from "./tags.js";
import { VERSION } from "./version.js";

export const PROTOCOL = 1;
export const SDK = "tagwire-typescript";

const ACK_FRAMES = 256;
const ACK_BYTES = 64 * 1024;
export const SILENCE_MS = 10_000;
export const CLOSE_MS = 1000;
export const DEFAULT_FRAME_BYTES = 64 * 1024;
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** What Relayed and Response add to a message of the largest size: at most 22 bytes, rounded up. */
export const WRAPPER_BYTES = 64;
export const MAX_BATCH_REQUESTS = 64;
/** What a Batch adds to its entries, at most: `stop_on_error`. */
export const BATCH_BYTES = 2;
/** What a Batch adds to the body of each entry, at most: two lengths, the tag, the largest key. */
export const BATCH_ENTRY_BYTES = 25;

/** The time, read once by the caller for everything that happens at it. */
export interface Now {
  /** Milliseconds on a clock that never jumps. */
  readonly monotonic: number;
  /** Milliseconds since the Unix epoch, on a clock that may jump. */
  readonly unix: number;
}

/**
 * Where a session is.
 *
 * - `new`: nothing was sent.
 * - `login`: PlayerLogin was sent, Welcome has not come.
 * - `open`: messages go both ways.
 * - `away`: the connection has ended; `start` is awaited on another one.
 * - `closing`: our Disconnect was sent; what still comes is ignored.
 * - `closed`: nothing is sent any more, on no connection.
 */
export type State = "new" | "login" | "open" | "away" | "closing" | "closed";

/** Who logs in. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly token?: string;
}

/**
 * What a client and its server say to each other, from login to the end.
 *
 * With `reconnect` it is `away` after a connection that was lost, and after an end by the server that advises to try
 * again. Without, it ends there.
 */
export class Session {
  state: State = "new";
  /** How it ended. */
  closed: Closed | undefined;
  /** The server's answer to the last login, without the resume token. */
  welcome: Welcome | undefined;
  playerId = 0;
  /** Number of the session in the server process. */
  sessionId = 0n;
  name: string;
  /** Name of the room the player is in. Empty: in none. */
  room = "";
  /** The others in the room, by number of the player. */
  readonly members = new Map<number, Member>();
  /** Milliseconds of the last round trip, and that they vary. */
  rtt: number | undefined;
  jitter: number | undefined;
  /** Counted frames of the server that were handled, over all connections of this session. */
  framesReceived = 0;
  /** The counted frames of this side. */
  readonly outbox = new Outbox();
  /** Largest payload that the server takes. */
  maxFrameBytes = DEFAULT_FRAME_BYTES;
  /** What our Disconnect says. */
  farewellCode = 0;
  /** Whether the server has asked for the descriptors, which it does once a connection at most. */
  schemaWanted = false;
  readonly dropped: Dropped = nothingDropped();

  readonly #login: PlayerLogin;
  #decoder = new Decoder(DEFAULT_FRAME_BYTES);
  readonly #relayed = new RelayedReader();
  #resumeToken: Uint8Array = new Uint8Array(0); // a secret, never shown
  #connections = 0; // of this session
  #resuming = false;
  #again: Closed | undefined;
  // Uncounted frames: these go before the counted ones, and the farewell behind them. None is sent again.
  #urgent: Uint8Array[] = [];
  #farewell: Uint8Array[] = [];
  #events: Event[] = [];
  #key = 0;
  #heard = 0;
  #closeBy = 0;
  #unackedFrames = 0;
  #unackedBytes = 0;
  #clock = new ServerClock();

  /** @throws RangeError when the credentials do not fit into a login. */
  constructor(
    readonly schema: Schema,
    credentials: Credentials = {},
    /** Whether there may be another connection after this one. */
    readonly reconnect = false,
  ) {
    this.name = credentials.username ?? "";
    this.#login = create(PlayerLoginSchema, {
      username: this.name,
      password: credentials.password ?? "",
      client: { protocol: PROTOCOL, fingerprint: bytesOf(schema.fingerprint), sdk: SDK, version: VERSION },
    });
    this.setToken(credentials.token ?? "");
  }

  // Input

  /**
   * Logs in with this token from the next `start` on.
   *
   * @throws RangeError for one that does not fit; never with the token in its text.
   */
  setToken(token: string): void {
    this.#login.token = token;
    const size = toBinary(PlayerLoginSchema, this.#login).length;
    if (size > tags.MAX_LOGIN_BYTES) {
      throw new RangeError(`a login of ${size} bytes, limit ${tags.MAX_LOGIN_BYTES}`);
    }
  }

  /** A connection stands: logs in, and asks for the session that was lost with the one before. */
  start(now: Now): void {
    if (this.state !== "new" && this.state !== "away") return;
    this.state = "login";
    this.schemaWanted = false;
    this.#decoder = new Decoder(DEFAULT_FRAME_BYTES);
    this.#heard = now.monotonic;
    this.#unackedFrames = this.#unackedBytes = 0;
    this.#connections += 1;
    let login = toBinary(PlayerLoginSchema, this.#login);
    this.#resuming = false;
    if (this.#resumeToken.length > 0) {
      const resume = {
        token: this.#resumeToken,
        framesReceived: BigInt(this.framesReceived),
        connection: this.#connections,
      };
      const asking = clone(PlayerLoginSchema, this.#login);
      asking.resume = create(ResumeSchema, resume);
      const resuming = toBinary(PlayerLoginSchema, asking);
      // Credentials that alone are almost as large leave no room for it.
      if (resuming.length <= tags.MAX_LOGIN_BYTES) {
        login = resuming;
        this.#resuming = true;
      }
    }
    this.#urgent = [encode(tags.PLAYER_LOGIN, login)];
    this.#farewell = [];
  }

  /** Takes bytes from the server, cut anyhow. After the end of the connection they are ignored. */
  receiveData(data: Uint8Array, now: Now): void {
    if (!this.#listening()) return;
    this.#heard = now.monotonic;
    const decoder = this.#decoder;
    decoder.feed(data);
    try {
      for (let frame; (frame = decoder.next());) {
        this.#frame(frame, now);
        if (!this.#listening()) return;
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      const code = error instanceof FrameTooLarge ? CloseCode.TOO_LARGE : CloseCode.MALFORMED;
      this.close(code, `the server sent ${error.message}`, now);
    } finally {
      this.#relayed.forget();
    }
  }

  /** Something has come from the server that is no message yet. */
  hear(now: Now): void {
    this.#heard = now.monotonic;
  }

  /** Takes a message from the server, where the transport has such: whole frames, so that none spans two. */
  receiveMessage(data: Uint8Array, now: Now): void {
    this.receiveData(data, now);
    if (this.#listening() && this.#decoder.pendingBytes > 0) {
      const reason = `the server sent a message that ends ${this.#decoder.pendingBytes} bytes into a frame`;
      this.close(CloseCode.MALFORMED, reason, now);
    }
  }

  /** The server ends the connection with a code, where the transport has such: one of ours is like a Disconnect. */
  receiveClose(code: number, reason: string): void {
    if (this.#listening() && code >= 3000) {
      this.#dismissed(closedWith(code, reason, { byPeer: true }));
      return;
    }
    const told = reason ? `, ${reason}` : "";
    this.receiveEof(`the connection was closed with code ${code} of WebSocket${told}, without a Disconnect`);
  }

  /** The server sends nothing more, or the connection broke: `why`. */
  receiveEof(why = ""): void {
    if (this.state === "closing") {
      this.#closingDone();
    } else if (this.state === "new" || this.#listening()) {
      let reason = why;
      if (!reason) {
        reason = "the connection ended without a Disconnect";
        if (this.#decoder.pendingBytes > 0) reason += `, ${this.#decoder.pendingBytes} bytes into a frame`;
      }
      this.#lose(closedWith(CloseCode.TIMEOUT, reason, { byPeer: true }));
    }
  }

  /** Does what is due at `nextDeadline`. Harmless when called early. */
  handleTimer(now: Now): void {
    if (this.#listening() && now.monotonic >= this.#heard + SILENCE_MS) {
      // No Disconnect: it would end the session, which may outlive a silent connection.
      const reason = `nothing was heard from the server for ${SILENCE_MS / 1000} seconds`;
      this.#lose(closedWith(CloseCode.TIMEOUT, reason, { byPeer: true }));
    } else if (this.state === "closing" && now.monotonic >= this.#closeBy) {
      this.#closingDone();
    }
  }

  /** Ends it from this side, for good. Does nothing when it has ended already. */
  close(code: number, reason: string, now: Now): void {
    const closed = closedWith(code, reason);
    if (this.state === "open") {
      this.#bidFarewell(code, reason, now);
      this.#end(closed, "closing");
    } else if (this.state === "closing" && this.#again) {
      this.#again = undefined; // it is told VIOLATION already
      this.#end(closed, "closing");
    } else if (this.state === "new" || this.state === "login" || this.state === "away") {
      // Before Welcome nothing is sent but the login.
      this.#end(closed, "closed");
    }
  }

  /** No further connection is to be made: ends it, with TIMEOUT. Does nothing unless it is away. */
  giveUp(reason: string): void {
    if (this.state === "away") this.#end(closedWith(CloseCode.TIMEOUT, reason, { byPeer: true }), "closed");
  }

  /** Commits one frame: a message of the game, or what `draft` gave. The state must be open. */
  send(tag: number, payload: Uint8Array): void {
    if (this.state !== "open") throw new Error(`the session is ${this.state}, not open`);
    this.outbox.append(encode(tag, payload));
  }

  /**
   * Writes one request. Gives the payload of a Request to `send`, in the order of the drafts, and the key that its
   * `Responded` will carry.
   */
  draftOne({ tag, body }: { tag: number; body: Uint8Array }): { payload: Uint8Array; key: number } {
    this.#key += 1;
    const request = create(RequestSchema, { key: BigInt(this.#key), tag, body });
    return { payload: toBinary(RequestSchema, request), key: this.#key };
  }

  /**
   * Writes one request, a tag and a body, or a Batch of several where `stopOnError` is said. Gives what to `send`, in
   * the order of the drafts, and the keys that their `Responded` will carry.
   */
  draft(requests: readonly { tag: number; body: Uint8Array }[], stopOnError?: boolean): Draft {
    const [first] = requests;
    if (stopOnError === undefined) {
      if (!first || requests.length !== 1) throw new Error(`${requests.length} requests are no single one`);
      const { payload, key } = this.draftOne(first);
      return { tag: tags.REQUEST, payload, keys: [key] };
    }
    const entries = requests.map(({ tag, body }) => {
      this.#key += 1;
      return create(RequestSchema, { key: BigInt(this.#key), tag, body });
    });
    const keys = entries.map((entry) => Number(entry.key));
    const batch = create(BatchSchema, { requests: entries, stopOnError });
    return { tag: tags.BATCH, payload: toBinary(BatchSchema, batch), keys };
  }

  // Output

  /** Gives what has happened since the last call, oldest first. */
  events(): Event[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Gives the frames to write since the last call, in order. */
  dataToSend(): Uint8Array[] {
    // Before Welcome nothing is sent but the login, and afterwards nothing new before what is sent again.
    const counted = this.state === "open" || this.state === "closing" ? this.outbox.take() : [];
    const frames = [...this.#urgent, ...counted, ...this.#farewell];
    this.#urgent = [];
    this.#farewell = [];
    return frames;
  }

  /** When to call `handleTimer`, on the monotonic clock; received bytes move it on. `undefined`: never. */
  nextDeadline(): number | undefined {
    if (this.#listening()) return this.#heard + SILENCE_MS;
    return this.state === "closing" ? this.#closeBy : undefined;
  }

  /** The server's clock, milliseconds since the Unix epoch. `undefined` before Welcome. */
  serverTime(now: Now): number | undefined {
    return this.#clock.at(now.monotonic);
  }

  /** Largest payload that is taken from the server by now. */
  get maxReceiveBytes(): number {
    return this.#decoder.maxBytes;
  }

  /** This player. */
  get me(): Member {
    return { id: this.playerId, name: this.name, away: false };
  }

  // Frames

  #listening(): boolean {
    return this.state === "login" || this.state === "open";
  }

  #frame(frame: Frame, now: Now): void {
    const { tag } = frame;
    const early = tag === tags.WELCOME || tag === tags.DISCONNECT || tag === tags.SCHEMA_WANTED;
    if (this.state === "login" && !early) {
      this.dropped.misplaced += 1;
      return;
    }
    if (tags.isCounted(tag)) {
      this.framesReceived += 1;
      this.#unackedFrames += 1;
      this.#unackedBytes += frame.size;
    }
    this.#handle(frame, now);
    const due = this.#unackedFrames >= ACK_FRAMES || this.#unackedBytes >= ACK_BYTES;
    if (due && this.state === "open") this.#putPing({});
  }

  #handle(frame: Frame, now: Now): void {
    switch (frame.tag) {
      case tags.PING:
        return this.#onPing(frame.payload, now);
      case tags.WELCOME:
        return this.#onWelcome(frame.payload, now);
      case tags.DISCONNECT:
        return this.#onDisconnect(frame.payload);
      case tags.SCHEMA_WANTED:
        return this.#onSchemaWanted(now);
      case tags.RESPONSE:
        return this.#onResponse(frame.payload);
      case tags.NOTICE:
        return this.#onNotice(frame.payload);
      case tags.RELAYED:
        return this.#onRelayed(frame);
      case tags.MEMBER:
        return this.#onMember(frame.payload);
      case tags.ROOM_ENDED:
        return this.#onRoomEnded(frame.payload);
      default:
        return this.#message(frame.tag, frame.payload, frame.size, undefined);
    }
  }

  #onWelcome(payload: Uint8Array, now: Now): void {
    if (this.state !== "login") {
      this.dropped.misplaced += 1;
      return;
    }
    const welcome = this.#decode(WelcomeSchema, payload);
    if (!welcome) {
      this.close(CloseCode.MALFORMED, "the server's Welcome cannot be read", now);
      return;
    }
    if (welcome.protocol !== PROTOCOL) {
      const reason = `the server speaks protocol ${welcome.protocol}, this client ${PROTOCOL}`;
      this.close(CloseCode.VERSION, reason, now);
      return;
    }
    const resumed = welcome.resumed && this.#resuming;
    const handled = Number(welcome.framesReceived);
    if (resumed && !this.outbox.resume(handled)) {
      const { forgotten, written } = this.outbox;
      const reason = `the server handled ${handled} frames of this client, which can go on behind ${forgotten} to ${written}`;
      this.#again = closedWith(CloseCode.VIOLATION, reason);
      this.#forgetToken();
      this.#bidFarewell(CloseCode.VIOLATION, reason, now);
      this.state = "closing";
      return;
    }
    this.state = "open";
    if (welcome.resumeWindowMs > 0 && welcome.resumeToken.length > 0) {
      if (this.reconnect) this.#resumeToken = welcome.resumeToken;
      else this.#forgetToken();
    } else if (!resumed) {
      this.#forgetToken();
    }
    welcome.resumeToken = new Uint8Array(0); // which nobody else needs, and nothing can print then
    this.welcome = welcome;
    this.sessionId = welcome.sessionId;
    this.playerId = welcome.playerId;
    this.name = welcome.name;
    this.maxFrameBytes = welcome.limits?.maxFrameBytes || DEFAULT_FRAME_BYTES;
    // A frame that the server takes may come back to us in a wrapper.
    const largest = Math.max(this.maxFrameBytes, DEFAULT_FRAME_BYTES) + WRAPPER_BYTES;
    this.#decoder.maxBytes = Math.min(largest, MAX_FRAME_BYTES);
    let lost = 0;
    if (!resumed) {
      // Where it is resumed, the frames that are sent again tell what has changed.
      lost = this.outbox.reset();
      this.room = welcome.room;
      this.members.clear();
      this.framesReceived = 0;
      this.#connections = 1;
      this.rtt = this.jitter = undefined;
      this.#clock = new ServerClock();
    }
    this.outbox.keeping = this.#resumeToken.length > 0;
    this.#unackedFrames = this.#unackedBytes = 0;
    this.#clock.sample(Number(welcome.serverTimeUs) / 1000, 0, now.monotonic);
    this.#events.push(new Opened(welcome, resumed, lost));
  }

  #onDisconnect(payload: Uint8Array): void {
    const told = this.#decode(DisconnectSchema, payload);
    if (!told) {
      const reason = "the server's Disconnect cannot be read";
      this.#dismissed(closedWith(CloseCode.MALFORMED, reason, { byPeer: true }));
      return;
    }
    this.#dismissed(
      closedWith(told.code, told.reason, {
        byPeer: true,
        retryAfter: told.retryAfterMs,
        findings: told.findings,
        part: partOf(told.refused),
      }),
    );
  }

  /** The server ends the connection, and says why. */
  #dismissed(closed: Closed): void {
    const refused = closed.code === CloseCode.RESUME_REFUSED && this.#resuming;
    if (refused || (this.state === "open" && closed.code !== CloseCode.TIMEOUT)) {
      this.#forgetToken(); // that session is no more
    }
    // The network was too slow for a login that was let in before; it may be better the next time.
    const late = closed.code === CloseCode.LOGIN_TIMEOUT && this.state === "login";
    if (refused || late || isRetryable(closed.code)) this.#lose(closed);
    else this.#end(closed, "closed");
  }

  #onSchemaWanted(now: Now): void {
    if (this.state !== "login" || this.schemaWanted) {
      this.dropped.misplaced += 1;
      return;
    }
    this.schemaWanted = true;
    const offer = toBinary(SchemaOfferSchema, create(SchemaOfferSchema, { descriptors: this.schema.descriptors }));
    if (offer.length > tags.MAX_OFFER_BYTES) {
      const reason =
        `the server does not know the schema "${this.schema.name}" of this client and wants to compare it, but ` +
        `offering it takes ${offer.length} bytes, limit ${tags.MAX_OFFER_BYTES}; run \`scripts/gen\` ` +
        "(`tagwire gen`) with the server's schema, which needs no offer";
      this.close(CloseCode.TOO_LARGE, reason, now);
      return;
    }
    this.#urgent.push(encode(tags.SCHEMA_OFFER, offer));
  }

  #onPing(payload: Uint8Array, now: Now): void {
    const ping = this.#decode(PingSchema, payload);
    if (!ping) return;
    if (!this.outbox.acknowledge(Number(ping.framesReceived))) {
      const text = `the server acknowledged ${ping.framesReceived} frames, ${this.outbox.written} were sent`;
      this.close(CloseCode.VIOLATION, text, now);
      return;
    }
    if (ping.rttUs) {
      this.rtt = ping.rttUs / 1000;
      this.jitter = ping.jitterUs / 1000;
    }
    if (ping.sentEpoch && !ping.bounceEpoch) {
      const serverTime = Number(ping.sentEpoch) / 1000;
      this.#clock.sample(serverTime, ping.rttUs / 1000, now.monotonic);
      this.#putPing({ sentEpoch: ping.sentEpoch, bounceEpoch: BigInt(Math.round(now.unix * 1000)) });
      this.#events.push(new Pinged(this.rtt, this.jitter, serverTime));
    }
  }

  #onResponse(payload: Uint8Array): void {
    const response = this.#decode(ResponseSchema, payload);
    if (!response) return;
    if (response.tag === tags.JOIN_ROOM && response.status === Status_Value.OK) {
      const reply = this.#decode(JoinRoomReplySchema, response.body);
      // What comes after this frame belongs to the new room. In the room that it was in already nothing changes, and
      // nobody is told again.
      if (reply?.room !== this.room) this.members.clear();
      if (reply) this.room = reply.room;
    }
    this.#events.push(new Responded(response));
  }

  #onNotice(payload: Uint8Array): void {
    const notice = this.#decode(NoticeSchema, payload);
    if (!notice) return;
    const name = this.schema.byTag(notice.tag)?.desc.typeName ?? "";
    this.#events.push(new Noticed(notice.reason, notice.tag, name, notice.text));
  }

  #onMember(payload: Uint8Array): void {
    const told = this.#decode(MemberSchema, payload);
    if (!told) return;
    const known = this.members.get(told.player);
    const member = {
      id: told.player,
      name: told.name || (known?.name ?? ""),
      away: told.event === MemberChange.AWAY || (told.event === MemberChange.LEFT && (known?.away ?? false)),
    };
    switch (told.event) {
      case MemberChange.LEFT:
        this.members.delete(told.player);
        break;
      case MemberChange.AWAY:
      case MemberChange.PRESENT:
      case MemberChange.JOINED:
      case MemberChange.BACK:
        this.members.set(told.player, member);
        break;
      default:
        this.dropped.unknown += 1;
        return;
    }
    this.#events.push(new MemberChanged(member, told.event));
  }

  #onRoomEnded(payload: Uint8Array): void {
    const told = this.#decode(RoomEndedSchema, payload);
    if (!told) return;
    this.room = "";
    this.members.clear();
    this.#events.push(new RoomEnded(told.room, told.reason));
  }

  #onRelayed(frame: Frame): void {
    let relayed: Relayed;
    try {
      relayed = this.#relayed.read(frame);
    } catch {
      this.dropped.undecodable += 1;
      return;
    }
    const { player, tag, body } = relayed;
    this.#message(tag, body, frame.size, this.members.get(player) ?? this.#stranger(player));
  }

  /** Who is no member of the room that the server has told of. */
  #stranger(player: number): Member {
    return player === this.playerId ? this.me : { id: player, name: "", away: false };
  }

  #message(tag: number, body: Uint8Array, size: number, sender: Member | undefined): void {
    const entry = this.schema.byTag(tag);
    if (!entry) {
      this.dropped.unknown += 1;
      return;
    }
    const { desc, rules } = entry;
    if (rules.from === (sender ? "SERVER" : "CLIENT")) {
      this.dropped.misplaced += 1;
      return;
    }
    const message = this.#decode(desc, body);
    if (message) this.#events.push(new Received(message, sender, tag, size, rules.delivery ?? "ORDERED"));
  }

  // Helpers

  #decode<D extends DescMessage>(desc: D, payload: Uint8Array): MessageShape<D> | undefined {
    try {
      return fromBinary(desc, payload);
    } catch {
      this.dropped.undecodable += 1;
      return undefined;
    }
  }

  #putPing(ping: MessageInitShape<typeof PingSchema>): void {
    this.#unackedFrames = this.#unackedBytes = 0;
    const message = create(PingSchema, ping);
    message.framesReceived = BigInt(this.framesReceived);
    this.#urgent.push(encode(tags.PING, toBinary(PingSchema, message)));
  }

  #bidFarewell(code: number, reason: string, now: Now): void {
    const disconnect = create(DisconnectSchema, { code, reason });
    this.#farewell.push(encode(tags.DISCONNECT, toBinary(DisconnectSchema, disconnect)));
    this.#closeBy = now.monotonic + CLOSE_MS;
    this.farewellCode = code;
  }

  /** This connection is over. Where nobody makes another one, so is all. */
  #lose(closed: Closed): void {
    if (!this.reconnect || !this.welcome) {
      this.#end(closed, "closed");
      return;
    }
    this.state = "away";
    this.#urgent = [];
    this.#farewell = [];
    this.#events.push(new Lost(closed, this.#resumeToken.length > 0));
  }

  #closingDone(): void {
    const again = this.#again;
    this.#again = undefined;
    if (again) this.#lose(again);
    else this.state = "closed";
  }

  #end(closed: Closed, state: State): void {
    this.state = state;
    this.closed = closed;
    this.#forgetToken();
    this.#events.push(new Ended(closed));
  }

  #forgetToken(): void {
    this.#resumeToken = new Uint8Array(0);
  }
}

/** What `Session.draft` gives. */
export interface Draft {
  readonly tag: number;
  readonly payload: Uint8Array;
  readonly keys: readonly number[];
}

function partOf(refused: LoginPart_Value): LoginPart | undefined {
  switch (refused) {
    case LoginPart_Value.NAME:
      return "name";
    case LoginPart_Value.PASSWORD:
      return "password";
    case LoginPart_Value.TOKEN:
      return "token";
    default:
      return undefined;
  }
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}
