/**
 * What can go wrong, as classes. Each has `code` and `reason`, and says what to do where that helps.
 *
 *     TagwireError
 *     ├── ConnectError          no session came to be, and no server said why
 *     │   └── AddressError      the address is none, or of an unknown kind
 *     ├── LoginRefused          the server answered the login with a refusal
 *     │   └── SchemaMismatch    because the schemas of the two sides do not fit
 *     ├── ConnectionClosed      the session has ended
 *     ├── BufferFull            `sendSoon` found no room
 *     └── RequestFailed         the answer to a request is not OK
 *         └── RequestTimeout    the answer did not come in time
 *
 * Mistakes of the caller, such as a message that only the server may send, are `TypeError` and `RangeError`.
 */

import { CloseCode, closeCodeName, describeClosed, isRetryable, nameOf, type Closed, type LoginPart } from "./close.js";
import { Status_Value, type Response } from "./gen/tagwire/v1/session_pb.js";

export {
  /** How a request went. */
  Status_Value as Status,
};

const DEV_PASSWORD = "the dev password is 'welcome' unless the server was told otherwise";

/** What all failures of this library have in common. */
export class TagwireError extends Error {
  override name = "TagwireError";
  /** A number for programs; each subclass says which. 0: none. */
  readonly code: number;
  /** The bare reason, without the advice that `message` adds. */
  readonly reason: string;

  constructor(text: string, more: { code?: number; reason?: string; cause?: unknown } = {}) {
    super(text, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = more.code ?? 0;
    this.reason = more.reason ?? text;
  }
}

/** No session came to be, and no server said why. `code` is 0. */
export class ConnectError extends TagwireError {
  override name = "ConnectError";
  /** The address as it was understood. */
  readonly address: string;
  /** The resolved addresses that were tried, each with what went wrong. */
  readonly attempts: readonly (readonly [address: string, why: string])[];

  constructor(
    address: string,
    reason: string,
    more: { attempts?: readonly (readonly [string, string])[]; cause?: unknown } = {},
  ) {
    super(`cannot connect to ${address}: ${reason}`, { reason, cause: more.cause });
    this.address = address;
    this.attempts = more.attempts ?? [];
  }
}

/** The address cannot be understood, is of a kind that is not to be had here, or does not go with `tls`. */
export class AddressError extends ConnectError {
  override name = "AddressError";
}

/**
 * The server answered the login with a refusal. `code` is a `CloseCode`.
 *
 * `part` says what of the login it was, for programs: `"name"`, `"password"` (or the name; which of the two, servers
 * tell nobody), `"token"`, `"version"` of the protocol, `"schema"`; `undefined` where it was none of these or is not
 * told.
 */
export class LoginRefused extends TagwireError {
  override name = "LoginRefused";
  declare readonly code: CloseCode;
  /** What the server said. */
  readonly closed: Closed;
  /** What of the login was refused. */
  readonly part: LoginPart | undefined;
  /** What differs between the two schemas, a line each. Empty unless it is a `SchemaMismatch`. */
  readonly findings: readonly string[];
  /** Milliseconds that the server asks to wait before trying again. 0: the usual back-off. */
  readonly retryAfter: number;

  constructor(closed: Closed, defaultReason = "") {
    const reason = closed.reason || defaultReason;
    const hint = hintOf(closed);
    const text = [`login refused: ${closeCodeName(closed.code)} (${closed.code})`];
    if (reason) text.push(`, ${reason}`);
    if (hint) text.push(`; ${hint}`);
    text.push(...closed.findings.map((finding) => `\n  ${finding}`));
    super(text.join(""), { code: closed.code, reason: reason || closeCodeName(closed.code) });
    this.closed = closed;
    this.part = closed.part;
    this.findings = closed.findings;
    this.retryAfter = closed.retryAfter;
  }

  /** Whether trying again may help. */
  get retryable(): boolean {
    return isRetryable(this.code);
  }
}

/**
 * The server compared this client's schema with its own, and they do not fit: `findings` says field by field what
 * differs. `code` is `CloseCode.SCHEMA_MISMATCH`.
 *
 * Its text begins with what to do; the findings follow, one a line.
 */
export class SchemaMismatch extends LoginRefused {
  override name = "SchemaMismatch";

  constructor(closed: Closed) {
    super(closed, "the schema of this client and the server's contradict each other");
  }
}

/** The session has ended. `code` is a `CloseCode`. */
export class ConnectionClosed extends TagwireError {
  override name = "ConnectionClosed";
  declare readonly code: CloseCode;
  /** How it ended. */
  readonly closed: Closed;
  /** True: the server ended it, or the network. False: this side did. */
  readonly byPeer: boolean;
  /** Milliseconds that the server asks to wait before trying again. 0: the usual back-off. */
  readonly retryAfter: number;
  /** True: it is of a request that was sent, and the server may have done what was asked. */
  readonly mayHaveRun: boolean;

  constructor(closed: Closed, more: { mayHaveRun?: boolean; cause?: unknown } = {}) {
    const hint = closed.byPeer ? hintOf(closed) : "";
    let text = `the connection was ${describeClosed(closed)}${hint ? `; ${hint}` : ""}`;
    if (more.mayHaveRun) text += "; what was asked for may have run all the same";
    super(text, { code: closed.code, reason: closed.reason || closeCodeName(closed.code), cause: more.cause });
    this.closed = closed;
    this.byPeer = closed.byPeer;
    this.retryAfter = closed.retryAfter;
    this.mayHaveRun = more.mayHaveRun ?? false;
  }

  /** Whether connecting again may help. */
  get retryable(): boolean {
    return isRetryable(this.code);
  }
}

/** `sendSoon` found no room: the server takes messages slower than they are sent. `code` is 0. */
export class BufferFull extends TagwireError {
  override name = "BufferFull";
}

/** What of a Response a failure is made of. */
export type Refusal = Pick<Response, "status" | "message" | "code" | "retryAfterMs" | "mayHaveRun">;

/**
 * The answer to a request is not OK. `code` is the application's own number, 0 where it gave none.
 *
 * `status` says how it went:
 *
 * - `INVALID`: the request breaks a rule of the schema; `reason` names field and rule.
 * - `ILLEGAL`: the game's rules say no; `code` and `reason` are the game's.
 * - `DENIED`: this session may not ask it.
 * - `UNKNOWN`: nothing there answers it.
 * - `UNAVAILABLE`: over a limit; may be asked again after `retryAfter`. See `mayHaveRun`.
 * - `TIMEOUT`: a `RequestTimeout`.
 * - `INTERNAL`: a fault of the server.
 */
export class RequestFailed extends TagwireError {
  override name = "RequestFailed";
  /** How it went; never OK. */
  readonly status: Status_Value;
  /** With UNAVAILABLE: milliseconds to wait before asking again. 0: not said. */
  readonly retryAfter: number;
  /** True: the server may have done what was asked all the same. */
  readonly mayHaveRun: boolean;

  /** @param text that of a time-out on this side, to which no response came. */
  constructor(request: string, response: Refusal, text = "") {
    const status = nameOf(Status_Value, response.status);
    // A method that was cut short or failed has begun, whatever the server says of it.
    const begun = response.status === Status_Value.TIMEOUT || response.status === Status_Value.INTERNAL;
    const mayHaveRun = response.mayHaveRun || (!text && begun);
    const number = response.code ? `, code ${response.code}` : "";
    const why = response.message ? `: ${response.message}` : "";
    const hint = requestHintOf(response, mayHaveRun);
    super(text || `${request} was answered with ${status}${number}${why}${hint ? `; ${hint}` : ""}`, {
      code: response.code,
      reason: response.message || status,
    });
    this.status = response.status;
    this.retryAfter = response.retryAfterMs;
    this.mayHaveRun = mayHaveRun;
  }
}

/**
 * No answer came in time: within the `timeout` of the call, or within the server's own. `status` is `TIMEOUT`;
 * `mayHaveRun` is false only if it could not be sent at all.
 */
export class RequestTimeout extends RequestFailed {
  override name = "RequestTimeout";
  /** True: the server gave up on it. False: this side did. */
  readonly byPeer: boolean;

  constructor(request: string, response: Refusal, text = "") {
    super(request, response, text);
    this.byPeer = !text;
  }
}

/** What to do about an end. Empty: nothing comes to mind. */
function hintOf(closed: Closed): string {
  switch (closed.code) {
    case CloseCode.LOGIN_REFUSED:
      return loginHintOf(closed);
    case CloseCode.SCHEMA_MISMATCH:
      return "run `scripts/gen` (`tagwire gen`) with the server's schema, or update the server";
    case CloseCode.VERSION:
      return "use a client and a server of the same protocol version";
    case CloseCode.OVERLOAD:
      return "the server is full; try again later";
    case CloseCode.SHUTDOWN:
      return "the server is stopping; try again later";
    case CloseCode.REPLACED:
      return "the same name logged in again elsewhere";
    default:
      return "";
  }
}

function loginHintOf(closed: Closed): string {
  switch (closed.part) {
    case "name":
      return "log in with another name";
    case "password":
      return `one of the two is wrong; ${DEV_PASSWORD}`;
    case "token":
      return "get a new one where this one came from; connect() takes a function as `token`, which gives one for each connection";
    default:
      // Without a part it may be anything, say a connection without TLS; older servers name it in words.
      return closed.reason && !closed.reason.includes("password") ? "" : DEV_PASSWORD;
  }
}

function requestHintOf(response: Refusal, mayHaveRun: boolean): string {
  switch (response.status) {
    case Status_Value.INVALID:
      return "the request breaks a rule of the schema; correct it before asking again";
    case Status_Value.DENIED:
      return "log in as a player with the access that its rules in the schema ask for";
    case Status_Value.UNKNOWN:
      return "the server, or the player's room, has no service that takes it";
    case Status_Value.INTERNAL:
      return "this is a fault of the server, whose log says more; it may have run in part";
    case Status_Value.TIMEOUT:
      return "the server has stopped it, maybe halfway; a longer `timeout` does not help";
    case Status_Value.UNAVAILABLE: {
      const again = response.retryAfterMs ? `ask again in ${response.retryAfterMs} ms` : "ask again later";
      return mayHaveRun ? `${again}, but only if twice does no harm: it may have run` : again;
    }
    default:
      return "";
  }
}
