/** Why a connection ended: the code, what it advises, and the record that is kept of it. */

import { CloseCode_Value } from "./gen/tagwire/v1/session_pb.js";

/**
 * Why a connection ended: the one table of the protocol, generated. Codes from 4000 on are the application's; they
 * and those of newer servers are numbers without a name here.
 */
export { CloseCode_Value as CloseCode };

/** What of a login was refused. */
export type LoginPart = "name" | "password" | "token" | "version" | "schema";

/** How a connection ended. */
export interface Closed {
  /** Why. TIMEOUT also when the connection broke without a word. */
  readonly code: CloseCode_Value;
  /** For people. Empty: nothing was said. */
  readonly reason: string;
  /** True: the server ended it, or the network. False: this side did. */
  readonly byPeer: boolean;
  /** Milliseconds that the server asks to wait before trying again. 0: the usual back-off. */
  readonly retryAfter: number;
  /** With SCHEMA_MISMATCH: what differs between the two schemas, a line each. */
  readonly findings: readonly string[];
  /** With LOGIN_REFUSED, VERSION and SCHEMA_MISMATCH: what of the login was refused. `undefined`: not told. */
  readonly part: LoginPart | undefined;
}

/** Writes a record of an end. What is left out is as in most ends. */
export function closedWith(code: number, reason = "", more: Partial<Closed> = {}): Closed {
  return {
    code,
    reason,
    byPeer: more.byPeer ?? false,
    retryAfter: more.retryAfter ?? 0,
    findings: more.findings ?? [],
    part: more.part ?? partOf(code),
  };
}

/** Whether a code advises to try again, with back-off: 3000 to 3499 and 4000 to 4499. */
export function isRetryable(code: number): boolean {
  return (code >= 3000 && code < 3500) || (code >= 4000 && code < 4500);
}

/** The name of a close code, or the number as text when the table has none for it. */
export function closeCodeName(code: number): string {
  return nameOf(CloseCode_Value, code);
}

/** The name of a number in a generated enum, or the number as text. */
export function nameOf(table: Record<number, string | undefined>, number: number): string {
  return table[number] ?? String(number);
}

/** The record as a sentence. */
export function describeClosed(closed: Closed): string {
  const who = closed.byPeer ? "the server" : "this client";
  const name = closeCodeName(closed.code);
  const code = name === String(closed.code) ? name : `${name} (${closed.code})`;
  return `closed by ${who}: ${code}${closed.reason ? `, ${closed.reason}` : ""}`;
}

function partOf(code: number): LoginPart | undefined {
  if (code === CloseCode_Value.VERSION) return "version";
  return code === CloseCode_Value.SCHEMA_MISMATCH ? "schema" : undefined;
}
