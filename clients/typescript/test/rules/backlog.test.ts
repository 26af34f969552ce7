import { expect } from "chai";
import { Backlog } from "../../src/backlog.js";
import type { Delivery } from "../../src/schema.js";
import { seeded } from "../support/messages.js";

function all<T>(backlog: Backlog<T>): T[] {
  const items = [];
  for (let item; (item = backlog.pop()) !== undefined;) items.push(item);
  return items;
}

function small(): Backlog<string> {
  return new Backlog({ maxItems: 3, maxBytes: 10 });
}

describe("backlog", () => {
  it("gives everything out in order while the taker keeps up", () => {
    const backlog = small();
    backlog.push("a", 1, "LATEST", 1, false);
    backlog.push("b", 1, "LATEST", 1, false);
    backlog.push("c", 1, "UNRELIABLE", 1, false);
    expect([backlog.length, backlog.bytes, backlog.dropped]).to.deep.equal([3, 3, 0]);
    expect(all(backlog)).to.deep.equal(["a", "b", "c"]);
    expect([backlog.length, backlog.bytes]).to.deep.equal([0, 0]);
  });

  it("replaces a latest one by a newer of the same key, at the end, when behind", () => {
    const backlog = small();
    backlog.push("old", 1, "LATEST", 1, true);
    backlog.push("other", 1, "LATEST", 2, true);
    backlog.push("new", 1, "LATEST", 1, true);
    expect(backlog.dropped).to.equal(1);
    expect(all(backlog)).to.deep.equal(["other", "new"]);
  });

  it("drops an unreliable one when behind", () => {
    const backlog = small();
    expect(backlog.push("a", 1, "UNRELIABLE", 1, true)).to.equal(true);
    expect([backlog.length, backlog.dropped]).to.deep.equal([0, 1]);
  });

  it("does not replace what has been taken", () => {
    const backlog = small();
    backlog.push("a", 1, "LATEST", 1, true);
    expect(backlog.pop()).to.equal("a");
    backlog.push("b", 1, "LATEST", 1, true);
    expect([backlog.dropped, backlog.length, backlog.bytes]).to.deep.equal([0, 1, 1]);
  });

  it("refuses what has no room, and nothing changes", () => {
    const backlog = small();
    for (const item of ["a", "b", "c"]) backlog.push(item, 1, "ORDERED", 1, true);
    expect(backlog.push("d", 1, "ORDERED", 1, true)).to.equal(false);
    expect(backlog.push("e", 1, "LATEST", 9, true)).to.equal(false);
    expect([backlog.dropped, backlog.bytes]).to.deep.equal([0, 3]);
    expect(all(backlog)).to.deep.equal(["a", "b", "c"]);
  });

  it("limits bytes, but takes one item of any size", () => {
    const backlog = small();
    expect(backlog.push("large", 100, "ORDERED", 1, true)).to.equal(true);
    expect(backlog.push("a", 1, "ORDERED", 1, true)).to.equal(false);
    backlog.pop();
    expect(backlog.push("a", 6, "LATEST", 1, true)).to.equal(true);
    expect(backlog.push("b", 5, "ORDERED", 2, true)).to.equal(false);
    expect(backlog.push("c", 9, "LATEST", 1, true)).to.equal(true); // in the place of the first
    expect(backlog.bytes).to.equal(9);
  });

  it("takes out one item, this very one", () => {
    const backlog = new Backlog<{ at: number }>({ maxItems: 9, maxBytes: 99 });
    const items = [{ at: 1 }, { at: 1 }, { at: 1 }];
    for (const item of items) backlog.push(item, 2, "ORDERED", 1, false);
    backlog.remove(items[1] as { at: number });
    backlog.remove({ at: 1 });
    expect([backlog.length, backlog.bytes]).to.deep.equal([2, 4]);
    expect(backlog.pop()).to.equal(items[0]);
    expect(backlog.pop()).to.equal(items[2]);
  });

  it("forgets all when cleared", () => {
    const backlog = small();
    backlog.push("a", 1, "LATEST", 1, true);
    backlog.clear();
    backlog.push("b", 1, "LATEST", 1, true);
    expect([backlog.length, backlog.bytes, backlog.dropped]).to.deep.equal([1, 1, 0]);
    expect(all(backlog)).to.deep.equal(["b"]);
  });

  it("does what a simple model does", () => {
    for (let seed = 0; seed < 30; seed += 1) {
      const random = seeded(seed);
      const backlog = new Backlog<number>({ maxItems: 100, maxBytes: 1000 });
      let model: { item: number; size: number; key: number; delivery: Delivery }[] = [];
      for (let item = 1; item < 2000; item += 1) {
        if (random() < 0.3) {
          expect(backlog.pop(), `seed ${seed}`).to.equal(model.shift()?.item);
          continue;
        }
        const size = Math.floor(random() * 30);
        const key = Math.floor(random() * 5);
        const delivery = (["ORDERED", "LATEST", "UNRELIABLE"] as const)[Math.floor(random() * 3)] ?? "ORDERED";
        const behind = random() < 0.8;
        const pushed = backlog.push(item, size, delivery, key, behind);
        if (delivery === "UNRELIABLE" && behind) {
          expect(pushed).to.equal(true);
          continue;
        }
        const older = model.findLast((one) => one.delivery === "LATEST" && one.key === key);
        const rest = delivery === "LATEST" && behind ? model.filter((one) => one !== older) : model;
        const full = rest.length >= 100 || rest.reduce((sum, one) => sum + one.size, size) > 1000;
        expect(pushed, `seed ${seed}`).to.equal(rest.length === 0 || !full);
        if (pushed) model = [...rest, { item, size, key, delivery }];
        expect(backlog.length).to.equal(model.length);
        expect(backlog.bytes).to.equal(model.reduce((sum, one) => sum + one.size, 0));
      }
      expect(all(backlog), `seed ${seed}`).to.deep.equal(model.map((one) => one.item));
    }
  });
});
