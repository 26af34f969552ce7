import { create } from "@bufbuild/protobuf";

export class Schema {
  constructor(parts) {
    this.parts = parts;
  }
}

// Answers by itself, and tells what it was asked.
export class Service {
  constructor(asked) {
    this.asked = asked;
  }

  async request(requestDesc, replyDesc, request) {
    this.asked.push(create(requestDesc, request));
    return create(replyDesc);
  }
}
