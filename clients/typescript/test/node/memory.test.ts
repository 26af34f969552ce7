/** What is kept in memory, and what is not. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import { ChatSchema, SCHEMA, type Chat } from "../../gen/arena/index.js";
import { Backlog } from "../../src/backlog.js";
import { Received } from "../../src/events.js";
import { Session } from "../../src/session.js";
import { Clock, concat, only, relayed, welcome } from "../support/messages.js";

/** Fills it and takes it all, in a frame of its own, so that no item is on the stack. */
function filled(backlog: Backlog<object>): WeakRef<object>[] {
  const found = Array.from({ length: 5 }, (_, number) => {
    const item = { number };
    backlog.push(item, 1, "LATEST", 1, number > 2);
    return new WeakRef(item);
  });
  while (backlog.pop());
  return found;
}

/** Reads what it is to forget, in a frame of its own. */
function readOnce(session: Session): { ref: WeakRef<object>; received: Received } {
  const clock = new Clock();
  session.start(clock.now());
  const data = concat(welcome(), relayed(3, ChatSchema, { text: "kept" }));
  session.receiveData(data, clock.now());
  return { ref: new WeakRef(data), received: only(session.events().slice(1), Received) };
}

async function collected(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  await new Promise<void>((resolve) => void setImmediate(resolve)); // a WeakRef lasts as long as its turn
  collect();
}

describe("a session", () => {
  it("keeps nothing of what it has read, nor does a message", async () => {
    const session = new Session(SCHEMA);
    const { ref, received } = readOnce(session);
    await collected();
    expect([ref.deref(), (received.message as Chat).text, session.state]).to.deep.equal([undefined, "kept", "open"]);
  });
});

describe("a backlog", () => {
  it("keeps nothing of what was taken or replaced", async () => {
    const backlog = new Backlog<object>({ maxItems: 10, maxBytes: 10 });
    const found = filled(backlog);
    await collected();
    expect(found.map((ref) => ref.deref())).to.deep.equal(Array.from({ length: 5 }, () => undefined));
    expect(backlog.length).to.equal(0);
  });
});
