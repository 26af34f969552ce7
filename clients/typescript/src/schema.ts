/**
 * What generated stubs say of a game: its messages, the rules beside them, and its fingerprint.
 *
 * `Schema` is a value, so several live in one process, even with messages of the same name.
 */

import { create, isMessage, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";

/** What may happen to a message on a slow connection. */
export type Delivery = "ORDERED" | "LATEST" | "UNRELIABLE";

/** What one message may do, as `(tagwire.v1.rules)` says it in the `.proto` file. */
export interface Rules {
  /** Number of the message on the wire, 1 to 65535. */
  readonly tag: number;
  /** Who may send it. */
  readonly from: "CLIENT" | "SERVER" | "BOTH";
  /** Where the server takes it: to code, to the others in the room, or to everyone in it. Default: HANDLER. */
  readonly to?: "HANDLER" | "ROOM" | "ROOM_ALL";
  /** What the session that sends it must be. Default: PLAYER. */
  readonly access?: "PLAYER" | "GUEST" | "OPERATOR";
  /** What may happen to it on a slow connection. Default: ORDERED. */
  readonly delivery?: Delivery;
  /** Largest payload in bytes. Default: the server's limit. */
  readonly maxBytes?: number;
  /** How many a session may send per second. Default: the server's limit. */
  readonly maxRate?: number;
  /** True: it is the input of a service's method, and only `request` sends it. */
  readonly request?: boolean;
}

/** A message that travels alone. */
export interface Entry {
  /** Its protobuf-es schema. */
  readonly desc: DescMessage;
  readonly rules: Rules;
}

/** A message of type `D`, or what `create` of protobuf-es makes one of. */
export type MessageInit<D extends DescMessage> = MessageInitShape<D>;

/** The messages of one game. Generated stubs hold one and name it `SCHEMA`. */
export class Schema {
  /** First part of the package's name, for example `arena`. */
  readonly name: string;
  /** 32 hexadecimal digits that are the same for schemas that are. Empty: none. */
  readonly fingerprint: string;
  readonly #descriptors: string;
  readonly #messages: readonly (readonly [DescMessage, Rules])[];
  #byTag: Map<number, Entry> | undefined;
  #byName: Map<string, Entry> | undefined;

  /**
   * Made by generated code only.
   *
   * @param parts `descriptors` is a `google.protobuf.FileDescriptorSet` in Base64, in order of dependency, without
   * `descriptor.proto`, `tagwire/v1/*.proto` and `buf/validate/validate.proto`; `messages` are those that travel
   * alone, by rising tag.
   */
  constructor(parts: {
    readonly name: string;
    readonly fingerprint: string;
    readonly descriptors: string;
    readonly messages: readonly (readonly [DescMessage, Rules])[];
  }) {
    this.name = parts.name;
    this.fingerprint = parts.fingerprint;
    this.#descriptors = parts.descriptors;
    this.#messages = parts.messages;
  }

  /** What is offered to a server that does not know the fingerprint. */
  get descriptors(): Uint8Array {
    return base64Decode(this.#descriptors);
  }

  /** Gives what is known of the message with this tag, if it is in the schema. */
  byTag(tag: number): Entry | undefined {
    this.#byTag ??= new Map(this.#messages.map(([desc, rules]) => [rules.tag, { desc, rules }]));
    return this.#byTag.get(tag);
  }

  /**
   * Gives what is known of a message, or of its protobuf-es schema.
   *
   * @throws TypeError, with what to do, when it is not of this schema or has no rules.
   */
  entryOf(message: Message | DescMessage): Entry {
    this.#byName ??= new Map(this.#messages.map(([desc, rules]) => [desc.typeName, { desc, rules }]));
    const name = isDesc(message) ? message.typeName : isMessage(message) ? message.$typeName : undefined;
    if (name === undefined) {
      const given = typeof message === "object" ? "an object" : `a ${typeof message}`;
      throw new TypeError(
        `${given} is not a message; make one with create(), or send its schema and its fields, of those generated for "${this.name}"`,
      );
    }
    const entry = this.#byName.get(name);
    if (!entry) {
      throw new TypeError(
        `${name} is not in the schema "${this.name}" of this client, or has no (tagwire.v1.rules) and never travels alone`,
      );
    }
    if (isDesc(message) && message !== entry.desc) {
      throw new TypeError(`this ${name} comes from other stubs than the schema "${this.name}" of this client`);
    }
    return entry;
  }
}

/** Whether something is the protobuf-es schema of a message. */
export function isDesc(value: unknown): value is DescMessage {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "message";
}

/** The message in the two ways to give one: itself, or its schema and its fields. */
export function messageOf<D extends DescMessage>(what: D | Message, init: MessageInit<D> | undefined): Message {
  if (!isDesc(what)) return what;
  return isMessage(init, what) ? init : create(what, init);
}
