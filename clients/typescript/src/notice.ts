/** A notice of the server as a warning: something that this client sent was dropped. */

import { nameOf } from "./close.js";
import { NoticeReason, type Noticed } from "./events.js";

/** Characters of the server's text that are shown. */
const MAX_TEXT = 200;

/** What a notice means, and what to do. */
export function describeNotice(notice: Noticed): string {
  const what = notice.name || `a message with tag ${notice.tag}`;
  const why = notice.text ? `, ${notice.text.slice(0, MAX_TEXT)}` : "";
  const hint = hintOf(notice.reason);
  return `the server dropped ${what}: ${nameOf(NoticeReason, notice.reason)}${why}${hint ? `; ${hint}` : ""}`;
}

function hintOf(reason: NoticeReason): string {
  switch (reason) {
    case NoticeReason.UNKNOWN:
      return "generate the stubs again from the server's schema, or update the server";
    case NoticeReason.UNHANDLED:
      return "give the server code that takes it, or its rules another `to`";
    case NoticeReason.INVALID:
      return "it breaks a rule of the schema; correct it before sending";
    case NoticeReason.RATE_LIMITED:
      return "send it less often, or raise its `max_rate` or the server's limit";
    case NoticeReason.TOO_LARGE:
      return "make it smaller, or raise its `max_bytes`";
    case NoticeReason.ROOMLESS:
      return "join a room first, and again after RoomEnded";
    default:
      return "";
  }
}
