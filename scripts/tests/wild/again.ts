// Reads lines `TAG HEX`, and answers each with a line of JSON: the message as JSON, and the hex of it encoded again from
// that JSON. Bundled by esbuild and run in Node by `test_wild.py`.

import { createInterface } from "node:readline";

import { createRegistry, fromBinary, fromJson, toBinary, toJson, type DescMessage } from "@bufbuild/protobuf";
import { SCHEMA } from "wild";

const decode = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));
const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

// What an `Any` may hold: all that travels alone.
const kinds: DescMessage[] = [];
for (let tag = 1; tag < 65536; tag++) {
  const entry = SCHEMA.byTag(tag);
  if (entry) kinds.push(entry.desc);
}
const registry = createRegistry(...kinds);

for await (const line of createInterface({ input: process.stdin })) {
  const [tag = "", hex = ""] = line.split(" ");
  try {
    const desc = SCHEMA.byTag(Number(tag))?.desc;
    if (!desc) throw new Error(`no message with the tag ${tag}`);
    const message = fromBinary(desc, decode(hex));
    const json = toJson(desc, message, { registry });
    const read = fromJson(desc, json, { registry });
    console.log(JSON.stringify({ json, bytes: encode(toBinary(desc, message)), read: encode(toBinary(desc, read)) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
