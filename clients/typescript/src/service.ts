/**
 * What the printed classes of services are made of.
 *
 *     const lobby = new Lobby(client);      // of `connect` or `connectSync`, or a batch of one
 *     const reply = await lobby.rename({ name: "zoe" }, { timeout: 2000 });
 */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { MessageInit } from "./schema.js";
import type { RequestOptions } from "./wire.js";

/** What requests are made with: a client, or a batch of one. */
export interface Requester {
  request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInit<I>,
    options?: RequestOptions,
  ): Promise<MessageShape<O>>;
}

/**
 * A service as a client sees it. The printed classes derive from this one; their methods give what `request` gives
 * and reject with what it rejects with.
 *
 * It keeps nothing but the client: make one anywhere, at any time, as often as you like.
 */
export class Service {
  constructor(private readonly client: Requester) {}

  /** For the printed classes. */
  protected request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInit<I>,
    options?: RequestOptions,
  ): Promise<MessageShape<O>> {
    return this.client.request(schema, reply, fields, options);
  }
}
