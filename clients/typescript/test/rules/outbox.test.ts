import { expect } from "chai";
import { MAX_KEPT_BYTES, Outbox } from "../../src/outbox.js";
import { bytes, seeded } from "../support/messages.js";

function keeping(): Outbox {
  const outbox = new Outbox();
  outbox.keeping = true;
  return outbox;
}

function text(frames: readonly Uint8Array[]): string[] {
  return frames.map((frame) => new TextDecoder().decode(frame));
}

function filled(count: number): Outbox {
  const outbox = keeping();
  for (let number = 1; number <= count; number += 1) outbox.append(bytes(String(number)));
  outbox.take();
  return outbox;
}

describe("outbox", () => {
  it("gives frames their place when they are appended, and gives them out once", () => {
    const outbox = keeping();
    outbox.append(bytes("a"));
    outbox.append(bytes("b"));
    expect([outbox.committed, outbox.written]).to.deep.equal([2, 0]);
    expect(text(outbox.take())).to.deep.equal(["a", "b"]);
    expect([outbox.committed, outbox.written, outbox.keptBytes]).to.deep.equal([2, 2, 2]);
    expect(outbox.take()).to.deep.equal([]);
  });

  it("sends all behind the server's count again, before anything new", () => {
    const outbox = filled(4);
    outbox.append(bytes("new"));
    expect(outbox.resume(2)).to.equal(true);
    expect([outbox.written, outbox.acknowledged, outbox.committed]).to.deep.equal([2, 2, 5]);
    expect(text(outbox.take())).to.deep.equal(["3", "4", "new"]);
  });

  it("gives the same for the same resume twice", () => {
    const outbox = filled(4);
    for (let round = 0; round < 2; round += 1) {
      expect(outbox.resume(1)).to.equal(true);
      expect(text(outbox.take())).to.deep.equal(["2", "3", "4"]);
    }
  });

  it("forgets what was acknowledged", () => {
    const outbox = filled(4);
    expect(outbox.acknowledge(3)).to.equal(true);
    expect(outbox.acknowledge(1)).to.equal(true); // an old one, which says nothing
    expect([outbox.acknowledged, outbox.forgotten, outbox.keptBytes]).to.deep.equal([3, 3, 1]);
    expect(outbox.resume(2)).to.equal(false);
    expect(outbox.resume(3)).to.equal(true);
    expect(text(outbox.take())).to.deep.equal(["4"]);
  });

  it("takes no acknowledgement of what was not written", () => {
    const outbox = filled(2);
    outbox.append(bytes("c"));
    expect(outbox.acknowledge(3)).to.equal(false);
    expect(outbox.acknowledged).to.equal(0);
    expect(outbox.resume(3)).to.equal(false);
    expect(text(outbox.take())).to.deep.equal(["c"]);
  });

  it("keeps nothing of a session that cannot be resumed", () => {
    const outbox = new Outbox();
    outbox.append(bytes("a"));
    outbox.take();
    expect([outbox.keptBytes, outbox.forgotten]).to.deep.equal([0, 1]);
    expect(outbox.resume(0)).to.equal(false);
    expect(outbox.resume(1)).to.equal(true);
  });

  it("forgets the oldest over 256 KiB", () => {
    const outbox = keeping();
    const size = MAX_KEPT_BYTES / 4;
    for (let number = 0; number < 4; number += 1) outbox.append(new Uint8Array(size));
    outbox.take();
    expect([outbox.forgotten, outbox.keptBytes]).to.deep.equal([0, MAX_KEPT_BYTES]);
    outbox.append(new Uint8Array(1));
    outbox.take();
    expect([outbox.forgotten, outbox.keptBytes]).to.deep.equal([1, 3 * size + 1]);
    expect(outbox.resume(0)).to.equal(false);
    expect(outbox.resume(1)).to.equal(true);
  });

  it("forgets at once what is larger than all that is kept", () => {
    const outbox = keeping();
    outbox.append(bytes("a"));
    outbox.append(new Uint8Array(MAX_KEPT_BYTES + 1));
    outbox.take();
    expect([outbox.forgotten, outbox.keptBytes]).to.deep.equal([2, 0]);
  });

  it("counts a new session from 0, and tells what was not acknowledged", () => {
    const outbox = filled(5);
    outbox.acknowledge(2);
    outbox.append(bytes("x"));
    expect(outbox.reset()).to.equal(4);
    expect([outbox.committed, outbox.written, outbox.acknowledged, outbox.keptBytes]).to.deep.equal([0, 0, 0, 0]);
    expect(outbox.take()).to.deep.equal([]);
  });

  it("gets every frame to the server in order, whatever happens", () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const random = seeded(seed);
      const outbox = keeping();
      const handled: number[] = [];
      let way: Uint8Array[] = [];
      let made = 0;
      for (let step = 0; step < 300; step += 1) {
        const choice = random();
        if (choice < 0.4) outbox.append(bytes(String((made += 1))));
        else if (choice < 0.7) way.push(...outbox.take());
        else if (choice < 0.85) {
          for (const frame of way.splice(0, Math.floor(random() * 5))) handled.push(Number(text([frame])[0]));
        } else if (choice < 0.95) expect(outbox.acknowledge(handled.length)).to.equal(true);
        else {
          way = []; // the connection is cut
          expect(outbox.resume(handled.length), `seed ${seed}`).to.equal(true);
        }
      }
      expect(handled, `seed ${seed}`).to.deep.equal(Array.from({ length: handled.length }, (_, at) => at + 1));
      expect(outbox.committed).to.equal(made);
    }
  });
});
