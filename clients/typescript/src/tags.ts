/**
 * Tags of the stack's own messages, as `proto/tagwire/v1/*.proto` gives them: `test/tags.test.ts` compares the two.
 * The stubs carry no rules, so that no bundle carries the descriptors of options.
 */

/** The first frame of every connection. */
export const PLAYER_LOGIN = 1;
export const PING = 3;
export const WELCOME = 240;
export const DISCONNECT = 241;
export const REQUEST = 242;
export const RESPONSE = 243;
export const BATCH = 244;
export const NOTICE = 245;
export const RELAYED = 246;
export const MEMBER = 247;
export const JOIN_ROOM = 248;
export const ROOM_ENDED = 249;
export const SCHEMA_WANTED = 253;
export const SCHEMA_OFFER = 254;

/** Largest payload of a login. */
export const MAX_LOGIN_BYTES = 8192;
/** Largest payload of a SchemaOffer. */
export const MAX_OFFER_BYTES = 262144;

/** Tags of the frames that have no place in the count; all others have one, known or not. */
export function isCounted(tag: number): boolean {
  switch (tag) {
    case PLAYER_LOGIN:
    case PING:
    case WELCOME:
    case DISCONNECT:
    case SCHEMA_WANTED:
    case SCHEMA_OFFER:
      return false;
    default:
      return true;
  }
}
