// `node.mjs ADDRESS NAME`: lines from stdin, and to stdout.

import { createInterface } from "node:readline";

import { play } from "./player.js";

// What the client tells people, for one that the schemas differ, is no line of ours.
console.info = console.error;
const [, , address = "", name = ""] = process.argv;
await play(address, name, createInterface({ input: process.stdin }), (what) => console.log(JSON.stringify(what)));
