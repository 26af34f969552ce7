/** What is kept in memory, and what is not. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import { Backlog } from "../../src/backlog.js";

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

describe("a backlog", () => {
  it("keeps nothing of what was taken or replaced", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const backlog = new Backlog<object>({ maxItems: 10, maxBytes: 10 });
    const found = filled(backlog);
    await new Promise<void>((resolve) => void setImmediate(resolve)); // a WeakRef lasts as long as its turn
    collect();
    expect(found.map((ref) => ref.deref())).to.deep.equal(Array.from({ length: 5 }, () => undefined));
    expect(backlog.length).to.equal(0);
  });
});
