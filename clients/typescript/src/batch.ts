/**
 * Several requests in one frame, which the server runs one after the other.
 *
 *     const batch = client.batch({ stopOnError: true });
 *     const renamed = new Lobby(batch).rename({ name: "zoe" });
 *     const found = batch.request(UrlRequestSchema, UrlReplySchema, { of: "zoe" });
 *     await batch.send();
 *     console.log((await renamed).name, (await found).name);
 *
 * Each request keeps the type of its own reply, each is answered or fails for itself, and the methods of services
 * take part as they are.
 */

import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import type { Ask } from "./ask.js";
import { TagwireError } from "./errors.js";
import { Deferred } from "./loop.js";
import type { MessageInit } from "./schema.js";
import { BATCH_BYTES, BATCH_ENTRY_BYTES, MAX_BATCH_REQUESTS } from "./session.js";
import { requestArguments, type RequestOptions, type Wire } from "./wire.js";

/** How a client has a batch sent, and its answers settled. */
export type Post = (asks: readonly Ask[], stopOnError: boolean) => Promise<void>;

/** Requests that go out together with `send`. Made by `batch` of a client. */
export class Batch {
  readonly #asks: Ask[] = [];
  #bytes = BATCH_BYTES;
  #sent = false;

  /** For clients only. */
  constructor(
    private readonly wire: Wire,
    private readonly stopOnError: boolean,
    private readonly post: Post = (asks, stop) => wire.sender.post(asks, stop),
  ) {}

  /**
   * Adds a request; gives a promise of its reply, to be awaited after `send`. Where nobody awaits it, a failure is
   * seen by nobody.
   *
   * Its time runs from `send`: those before it in the batch count. Throws, or rejects, as `Client.request` does, and
   * with `RangeError` for more than 64 requests or than the server takes in one frame.
   */
  request<O extends DescMessage>(message: Message, reply: O, options?: RequestOptions): Promise<MessageShape<O>>;
  request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInit<I>,
    options?: RequestOptions,
  ): Promise<MessageShape<O>>;
  request<O extends DescMessage>(
    what: DescMessage | Message,
    reply: O,
    third?: unknown,
    fourth?: RequestOptions,
  ): Promise<MessageShape<O>> {
    const answer = new Deferred<MessageShape<O>>();
    this.#admit(
      this.wire.askOf(requestArguments(what, reply, third, fourth), (outcome) => {
        if (outcome instanceof TagwireError) answer.reject(outcome);
        else answer.resolve(outcome);
      }),
    );
    return answer.promise;
  }

  /** Sends them. Waits until they can be sent, not for their answers. Once only. */
  async send(): Promise<void> {
    if (this.#sent) throw new TypeError("this batch was sent already; call batch() again for another one");
    this.#sent = true;
    if (this.#asks.length > 0) await this.post(this.#asks, this.stopOnError);
  }

  #admit(ask: Ask): void {
    if (this.#sent) throw new TypeError("this batch was sent already; call batch() again for another one");
    if (this.#asks.length === MAX_BATCH_REQUESTS) {
      throw new RangeError(`a batch holds at most ${MAX_BATCH_REQUESTS} requests; make another one`);
    }
    const bytes = this.#bytes + BATCH_ENTRY_BYTES + ask.body.length;
    const limit = this.wire.session.maxFrameBytes;
    if (bytes > limit) {
      throw new RangeError(`a batch with this ${ask.name} takes ${bytes} bytes, limit ${limit}; make another one`);
    }
    this.#bytes = bytes;
    this.#asks.push(ask);
  }
}
