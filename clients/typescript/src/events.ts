/**
 * What a session tells: its events, and the values in them. No behaviour.
 *
 * `Event` is what the state machine gives to the client; `MemberChanged`, `RoomEnded`, `Noticed` and `Pinged` go on
 * to the application. They are classes, because handlers are set for a class.
 */

import type { Message } from "@bufbuild/protobuf";
import type { Closed } from "./close.js";
import { Member_Event_Value } from "./gen/tagwire/v1/room_pb.js";
import { Reason_Value, Verdict_Value, type Response, type Welcome } from "./gen/tagwire/v1/session_pb.js";
import type { Delivery } from "./schema.js";

export {
  /** What happened to a member. */
  Member_Event_Value as MemberChange,
  /** Why the server dropped a message. */
  Reason_Value as NoticeReason,
  /**
   * How the client's schema compares to the server's: `SAME`; `COMPATIBLE`, they differ by additions and each side
   * reads what the other sends; `NOT_COMPARED`, nothing is known.
   */
  Verdict_Value as Verdict,
};

/** A player in the room. */
export interface Member {
  /** Number of the player, never reused by the server process. */
  readonly id: number;
  /** The player's name. Empty when the server has not told it. */
  readonly name: string;
  /** True: the player's connection is lost; it may come back. */
  readonly away: boolean;
}

/** The login succeeded, on the first connection or on a later one. */
export class Opened {
  constructor(
    /** The server's answer, without the resume token. */
    readonly welcome: Welcome,
    /** True: the session of the connection before goes on. False: this is a new one. */
    readonly resumed: boolean,
    /** How many counted frames were sent in the session before and not acknowledged. 0 where it goes on. */
    readonly lost: number,
  ) {}
}

/** The connection has ended, and another one is to be made. */
export class Lost {
  constructor(
    /** How it ended. */
    readonly closed: Closed,
    /** True: the session may go on. False: it has ended; the next login begins another one. */
    readonly resumable: boolean,
  ) {}
}

/** The session has ended. The last event. */
export class Ended {
  constructor(readonly closed: Closed) {}
}

/** A message of the game. */
export class Received {
  constructor(
    readonly message: Message,
    /** Who sent it. `undefined`: the server. */
    readonly sender: Member | undefined,
    readonly tag: number,
    /** Bytes of its frame on the wire. */
    readonly size: number,
    readonly delivery: Delivery,
  ) {}
}

/** The server asked for a sign of life, and was answered. */
export class Pinged {
  constructor(
    /** Milliseconds of the last round trip, as the server measured it. `undefined`: not measured yet. */
    readonly rtt: number | undefined,
    /** Milliseconds that round trips vary, smoothed as in RFC 3550 section 6.4.1. `undefined`: not measured yet. */
    readonly jitter: number | undefined,
    /** The server's clock when it asked, milliseconds since the Unix epoch. */
    readonly serverTime: number,
  ) {}
}

/** The members of the room changed. */
export class MemberChanged {
  constructor(
    readonly member: Member,
    readonly change: Member_Event_Value,
  ) {}
}

/** The room that this player was in has ended. The player is in none until it joins one. */
export class RoomEnded {
  constructor(
    /** Name of the room. */
    readonly room: string,
    /** Why, for people. */
    readonly reason: string,
  ) {}
}

/** The server dropped something that this client sent. */
export class Noticed {
  constructor(
    readonly reason: Reason_Value,
    readonly tag: number,
    /** Full name of the message with this tag. Empty: the schema has none. */
    readonly name: string,
    readonly text: string,
  ) {}
}

/** A request was answered. */
export class Responded {
  constructor(readonly response: Response) {}
}

/** What `Session.events` gives. `Ended` is always the last; after `Lost` comes nothing before `Session.start`. */
export type Event = Opened | Received | Pinged | MemberChanged | RoomEnded | Noticed | Responded | Lost | Ended;

/** How many frames were counted and thrown away, by reason. None of them ends a session. */
export interface Dropped {
  /** Their tag is not in the schema. */
  unknown: number;
  /** Their payload is not such a message. */
  undecodable: number;
  /** The schema lets the other side send them only, or they come at a time when they mean nothing. */
  misplaced: number;
  /**
   * LATEST and UNRELIABLE messages that a newer one replaced, or that had no place, because the application did not
   * take messages fast enough; and all messages of a client that does not receive.
   */
  behind: number;
  /** Messages that `run` or `sync` took and that have no handler. */
  unhandled: number;
}

/** Nothing was dropped yet. */
export function nothingDropped(): Dropped {
  return { unknown: 0, undecodable: 0, misplaced: 0, behind: 0, unhandled: 0 };
}
