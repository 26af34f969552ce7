/** A request on its way: what is asked, and what it fails with when its time is over. */

import { create, toBinary } from "@bufbuild/protobuf";
import { RequestTimeout, Status, type Refusal, type TagwireError } from "./errors.js";
import { JoinRoomSchema } from "./gen/tagwire/v1/room_pb.js";
import type { Response } from "./gen/tagwire/v1/session_pb.js";
import { JOIN_ROOM } from "./tags.js";

/** How long a request may take, unless it is said. */
export const REQUEST_TIMEOUT_MS = 2000;

/** A request to be sent. */
export interface Ask {
  readonly tag: number;
  readonly body: Uint8Array;
  /** How its failures call it. */
  readonly name: string;
  /** Milliseconds, from when it is handed over to be sent. */
  readonly timeout: number;
  /** Called once, with the answer or with why there is none. */
  readonly settle: (outcome: Response | TagwireError) => void;
}

/** The request to be moved to another room. */
export function joinOf(room: string): Pick<Ask, "tag" | "body" | "name"> {
  const body = toBinary(JoinRoomSchema, create(JoinRoomSchema, { room }));
  return { tag: JOIN_ROOM, body, name: `join(${JSON.stringify(room)})` };
}

/** What a request fails with that found no way to the server within its time. `away`: for want of a connection. */
export function notSent(ask: Ask, waited: number, away: boolean): RequestTimeout {
  const why = away ? "the connection is lost" : "the server takes messages slower than they are sent";
  const text = `${ask.name} could not be sent within ${waited / 1000} s, so it has not run; ${why}`;
  return new RequestTimeout(ask.name, timedOut(text, false), text);
}

/** What a request fails with that was sent and not answered within its time. */
export function notAnswered(ask: Ask): RequestTimeout {
  const why = `no answer within ${ask.timeout / 1000} s`;
  const text = `${ask.name} was not answered within ${ask.timeout / 1000} s; it may have run, or still run, all the same`;
  return new RequestTimeout(ask.name, timedOut(why, true), text);
}

function timedOut(message: string, mayHaveRun: boolean): Refusal {
  return { status: Status.TIMEOUT, message, code: 0, retryAfterMs: 0, mayHaveRun };
}
