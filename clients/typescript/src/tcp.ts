/** A stream of bytes over TCP, with TLS or without. For Node. */

import type { Socket } from "node:net";
import { WRITE_BUFFER_BYTES, type Owner, type Transport } from "./transport.js";
import { whyBroken } from "./tls.js";

/** One socket that carries frames one after the other. It stands when this is made. */
export class TcpTransport implements Transport {
  #error = "";
  #lost = false;
  #takesMore = true;

  constructor(
    private readonly owner: Owner,
    private readonly socket: Socket,
  ) {
    socket.on("data", (data) => {
      if (!this.#lost) owner.handleData(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    });
    socket.on("end", () => {
      if (!this.#lost) owner.handleEof();
    });
    socket.on("error", (error) => {
      // At once: what else the socket tells of its end says less.
      this.#error = whyBroken(error);
      socket.destroy();
      this.#handleLost();
    });
    socket.on("close", () => this.#handleLost());
    socket.on("drain", () => this.#look());
    owner.handleConnected(this);
  }

  write(frames: readonly Uint8Array[]): void {
    if (!this.socket.writable) return;
    const [only] = frames;
    this.socket.write(only && frames.length === 1 ? only : Buffer.concat(frames));
    this.#look();
  }

  finish(_code: number): void {
    if (this.socket.writable) this.socket.end();
  }

  abort(): void {
    this.socket.destroy();
  }

  waitingBytes(): number {
    return this.socket.writableLength;
  }

  #look(): void {
    const takesMore = this.socket.writableLength <= (this.#takesMore ? WRITE_BUFFER_BYTES : 0);
    if (this.#lost || takesMore === this.#takesMore) return;
    this.#takesMore = takesMore;
    this.owner.handleWritable(takesMore);
  }

  #handleLost(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.owner.handleLost(this.#error);
  }
}
