// `node.mjs ADDRESS NAME`: lines from stdin, and to stdout.

import { createInterface } from "node:readline";

import { play } from "./player.js";

const [, , address = "", name = ""] = process.argv;
await play(address, name, createInterface({ input: process.stdin }), (what) => console.log(JSON.stringify(what)));
