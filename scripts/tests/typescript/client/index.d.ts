// What printed code uses of the runtime, and no more of it.
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

export type MessageInit<D extends DescMessage> = MessageInitShape<D>;

export interface Rules {
  readonly tag: number;
  readonly from: "CLIENT" | "SERVER" | "BOTH";
  readonly to?: "HANDLER" | "ROOM" | "ROOM_ALL";
  readonly access?: "PLAYER" | "GUEST" | "OPERATOR";
  readonly delivery?: "ORDERED" | "LATEST" | "UNRELIABLE";
  readonly maxBytes?: number;
  readonly maxRate?: number;
  readonly request?: boolean;
}

export interface SchemaParts {
  readonly name: string;
  readonly fingerprint: string;
  readonly descriptors: string;
  readonly messages: readonly (readonly [DescMessage, Rules])[];
}

export declare class Schema {
  readonly parts: SchemaParts;
  constructor(parts: SchemaParts);
}

export interface RequestOptions {
  readonly timeout?: number;
}

export declare class Service {
  constructor(client: unknown);
  protected request<Q extends DescMessage, R extends DescMessage>(
    requestDesc: Q,
    replyDesc: R,
    request: MessageInit<Q>,
    options?: RequestOptions,
  ): Promise<MessageShape<R>>;
}
