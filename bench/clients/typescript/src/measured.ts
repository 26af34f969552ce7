/**
 * Measures one client once, in a process of its own: `tagwire` or the one by hand, beside the far end whose port is
 * given. Prints one line of JSON: messages, seconds, and the CPU time of this process in nanoseconds.
 *
 *     measured.ts WHO MEASURE PORT MESSAGES WARM_UP
 *
 * With `tagwire` as with the other the same lines below are what the game does.
 */

import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { connect } from "@tagwire/client";
import { SCHEMA } from "../gen/bench/index.js";
import { AskReplySchema, AskRequestSchema, CastSchema } from "../gen/bench/bench/v1/bench_pb.js";
import { connect as connectByHand } from "./by_hand.js";

/** How many messages a game sends in one turn of the loop; the far end sends as many by one write. */
const BURST = 64;

/** What both clients are used by. */
interface Client {
  on<D extends DescMessage>(schema: D, handler: (message: MessageShape<D>) => unknown): unknown;
  run(): Promise<void>;
  send<D extends DescMessage>(schema: D, fields: MessageInitShape<D>): Promise<void>;
  request<I extends DescMessage, O extends DescMessage>(
    schema: I,
    reply: O,
    fields: MessageInitShape<I>,
  ): Promise<MessageShape<O>>;
  close(): Promise<void>;
}

/** The time and the CPU time between two moments. */
class Meter {
  #milliseconds = 0;
  #cpu = process.cpuUsage();

  /** From here on it counts. */
  begin(): void {
    this.#milliseconds = performance.now();
    this.#cpu = process.cpuUsage();
  }

  /** Prints what came of it. */
  end(messages: number): void {
    const { user, system } = process.cpuUsage(this.#cpu);
    const seconds = (performance.now() - this.#milliseconds) / 1000;
    console.log(JSON.stringify({ messages, seconds, cpu_ns: (user + system) * 1000 }));
  }
}

/** Sends 64 messages in each turn of the loop. */
async function send(client: Client, messages: number): Promise<void> {
  for (let number = 0; number < messages; number += BURST) {
    for (let at = 0; at < BURST; at += 1) {
      await client.send(CastSchema, { sentNs: 123456789n, number, kind: 1 });
    }
    await new Promise(setImmediate);
  }
}

async function measureSend(client: Client, messages: number, warmUp: number): Promise<void> {
  const meter = new Meter();
  await send(client, warmUp);
  meter.begin();
  await send(client, messages);
  meter.end(messages);
}

async function measureReceive(client: Client, messages: number, warmUp: number): Promise<void> {
  const meter = new Meter();
  let received = 0;
  let total = 0;
  await new Promise<void>((resolve) => {
    client.on(CastSchema, (message) => {
      received += 1;
      total += message.kind;
      if (received === warmUp) meter.begin();
      if (received !== warmUp + messages) return;
      meter.end(messages);
      resolve();
    });
    void client.run();
    void client.send(CastSchema, {}); // the far end begins
  });
  if (total !== received) throw new Error(`of ${received} messages only ${total} were read right`);
}

/** Asks one time after the other. */
async function ask(client: Client, messages: number): Promise<void> {
  for (let number = 0; number < messages; number += 1) {
    const reply = await client.request(AskRequestSchema, AskReplySchema, { sentNs: 123456789n, number, kind: 1 });
    if (reply.number !== number) throw new Error(`${number} was answered with ${reply.number}`);
  }
}

async function measureRequest(client: Client, messages: number, warmUp: number, window: number): Promise<void> {
  const all = (count: number) => Promise.all(Array.from({ length: window }, () => ask(client, count)));
  const meter = new Meter();
  await all(Math.floor(warmUp / window));
  meter.begin();
  await all(Math.floor(messages / window));
  meter.end(Math.floor(messages / window) * window);
}

const [who, measure = "", ...numbers] = process.argv.slice(2);
const [port = 0, messages = 0, warmUp = 0] = numbers.map(Number);
const client: Client =
  who === "tagwire"
    ? await connect(`127.0.0.1:${port}`, { username: "p1", password: "welcome", schema: SCHEMA })
    : await connectByHand(port);
if (measure === "send") await measureSend(client, messages, warmUp);
else if (measure.startsWith("receive")) await measureReceive(client, messages, warmUp);
else await measureRequest(client, messages, warmUp, Number(measure.replace("request, window ", "")));
await client.close();
