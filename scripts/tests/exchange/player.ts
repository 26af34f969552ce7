// The player of `player.py` in TypeScript, whatever it runs in: `node.ts` and `page.ts` bring lines and take them.

import { fromJson, toJson, type DescMessage, type JsonValue, type Message } from "@bufbuild/protobuf";
import { connect, Verdict } from "@tagwire/client";
import * as duel from "duel";

interface Order {
  send?: string;
  ask?: keyof duel.Smithy;
  of?: string;
  json: JsonValue;
}

/** A message of the game by its full name. */
function messageOf(name: string): DescMessage {
  for (const one of Object.values(duel)) {
    if ("kind" in one && one.kind === "message" && one.typeName === name) return one;
  }
  throw new Error(`no message ${name}`);
}

/** Plays until there are no more lines. */
export async function play(
  address: string,
  name: string,
  lines: AsyncIterable<string>,
  say: (what: unknown) => void,
): Promise<void> {
  const client = await connect(address, { username: name, password: "welcome", schema: duel.SCHEMA });
  say({ ready: name, verdict: Verdict[client.verdict], room: client.room });
  const listening = (async () => {
    for await (const [message, sender] of client.withSenders()) {
      const desc = messageOf(message.$typeName);
      say({ got: desc.typeName, by: sender?.name, json: toJson(desc, message) });
    }
  })();
  for await (const line of lines) {
    const { send, ask, of, json } = JSON.parse(line) as Order;
    const message = fromJson(messageOf(send ?? of ?? ""), json);
    if (ask === undefined) {
      await client.send(message);
    } else {
      // The test says which message the method takes.
      const reply: Message = await new duel.Smithy(client)[ask](message as never, { timeout: 30_000 });
      say({ reply: toJson(messageOf(reply.$typeName), reply) });
    }
  }
  await client.close();
  await listening;
}
