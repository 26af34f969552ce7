// The player in a page: `browser.mjs` calls `begin`, brings lines through `hear`, and is told by `said`.

import { play } from "./player.js";

declare global {
  function said(line: string): Promise<void>;
  function begin(address: string, name: string): Promise<void>;
  function hear(line: string | null): void;
}

const waiting: (string | null)[] = [];
let wake = (): void => undefined;

async function* lines(): AsyncGenerator<string> {
  for (;;) {
    const line = waiting.shift();
    if (line === null) return;
    if (line !== undefined) yield line;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

globalThis.hear = (line) => {
  waiting.push(line);
  wake();
};
// One after the other: a call of `said` waits for no other by itself.
let last = Promise.resolve();
globalThis.begin = (address, name) =>
  play(address, name, lines(), (what) => (last = last.then(() => said(JSON.stringify(what))))).then(() => last);
