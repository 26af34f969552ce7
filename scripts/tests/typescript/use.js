// Loads the printed packages that are named, and takes each message of theirs to bytes and back. Prints how many
// there were, and checks what a schema says of itself and how a service asks.
import { strict as assert } from "node:assert";
import { create, equals, fromBinary, toBinary, isMessage } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const counts = {};
function walk(module, count) {
  for (const value of Object.values(module)) {
    if (value?.[Symbol.toStringTag] === "Module") {
      walk(value, count);
    } else if (value?.kind === "message") {
      count.messages.add(value);
      const message = create(value);
      // What proto2 requires is absent here.
      if (value.fields.some((field) => field.proto.label === 2)) continue;
      assert(equals(value, fromBinary(value, toBinary(value, message)), message), value.typeName);
    } else if (value?.kind === "enum") {
      count.enums.add(value);
    } else if (value?.kind === "extension") {
      count.extensions.add(value);
    } else if (typeof value === "function") {
      count.services.add(value);
    }
  }
}

for (const name of process.argv.slice(2)) {
  const module = await import(`./out/printed/${name}/index.js`);
  const count = { messages: new Set(), enums: new Set(), extensions: new Set(), services: new Set() };
  walk(module, count);
  const { messages, descriptors, fingerprint } = module.SCHEMA.parts;
  assert.match(fingerprint, /^[0-9a-f]{32}$/);
  const files = fromBinary(FileDescriptorSetSchema, base64Decode(descriptors)).file;
  for (const [desc, rules] of messages) {
    assert(count.messages.has(desc), `${desc.typeName} is exported`);
    assert(files.some((file) => file.name === desc.file.proto.name), `the file of ${desc.typeName} travels`);
    assert(rules.tag > 0);
  }
  for (const service of count.services) {
    const asked = [];
    const methods = Object.getOwnPropertyNames(service.prototype).filter((method) => method !== "constructor");
    for (const method of methods) assert(isMessage(await new service(asked)[method]({})), method);
    assert.equal(asked.length, methods.length);
  }
  counts[name] = Object.fromEntries(Object.entries(count).map(([kind, all]) => [kind, all.size]));
  counts[name].tags = messages.length;
}
console.log(JSON.stringify(counts));
