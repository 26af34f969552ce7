/** Drives this client as conformance/README.md says: commands on stdin, reports on stdout. */

import { Console } from "node:console";
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { fromJson, toJson, type DescMessage, type JsonValue, type Message } from "@bufbuild/protobuf";
import * as stubs from "../gen/conformance/index.js";
import {
  ConnectError,
  ConnectionClosed,
  LoginRefused,
  MemberChange,
  MemberChanged,
  Noticed,
  Reconnected,
  Reconnecting,
  RequestFailed,
  RequestTimeout,
  RoomEnded,
  Status,
  VERSION,
  Verdict,
  connect,
  type Client,
  type ConnectOptions,
} from "../../src/index.js";

interface Question {
  readonly id: number;
  readonly type: string;
  readonly message: JsonValue;
  readonly reply: string;
  readonly timeout_ms?: number;
}

interface Command extends Question {
  readonly do: string;
  readonly address: string;
  readonly username?: string;
  readonly password?: string;
  readonly token?: string;
  readonly reconnect?: boolean | { first_delay_ms: number; max_delay_ms: number; give_up_after_ms: number };
  readonly requests: readonly Question[];
  readonly stop_on_error?: boolean;
  readonly room: string;
  readonly code?: number;
  readonly reason?: string;
}

const KINDS = new Map<string, DescMessage>();
for (const stub of Object.values(stubs) as { kind?: string; typeName?: string }[]) {
  if (stub.kind === "message" && stub.typeName) KINDS.set(stub.typeName, stub as DescMessage);
}

function kindOf(name: string): DescMessage {
  const kind = KINDS.get(name);
  if (!kind) throw new TypeError(`no such message: ${name}`);
  return kind;
}

function messageOf(question: Question): Message {
  return fromJson(kindOf(question.type), question.message);
}

function report(kind: string, fields: object = {}): void {
  let rest = Buffer.from(`${JSON.stringify({ report: kind, ...fields })}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      // Who reads it is slow.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

function problem(about: string, error: unknown): void {
  report("error", { about, text: String(error) });
}

let current: Client | undefined;

async function begin(command: Command): Promise<void> {
  const { reconnect } = command;
  const options: ConnectOptions = {
    schema: stubs.SCHEMA,
    username: command.username ?? "",
    password: command.password ?? "",
    token: command.token ?? "",
    timeout: command.timeout_ms ?? 5000,
    reconnect:
      typeof reconnect === "object"
        ? {
            firstDelay: reconnect.first_delay_ms,
            maxDelay: reconnect.max_delay_ms,
            giveUpAfter: reconnect.give_up_after_ms,
          }
        : (reconnect ?? true),
  };
  let client: Client;
  try {
    client = await connect(command.address, options);
  } catch (error) {
    if (error instanceof LoginRefused) {
      const { code, closed, part, findings, retryAfter } = error;
      const told = { code, reason: closed.reason, part: part ?? null, findings, retry_after_ms: retryAfter };
      report("refused", told);
    } else if (error instanceof ConnectError) {
      report("failed", { reason: error.reason });
    } else {
      throw error;
    }
    return;
  }
  current = client;
  report("connected", {
    player: client.playerId,
    session: Number(client.sessionId),
    name: client.name,
    room: client.room,
    verdict: Verdict[client.verdict],
  });
  client.on(MemberChanged, ({ member, change }) => {
    report("member", { change: MemberChange[change], player: member.id, name: member.name, away: member.away });
  });
  client.on(RoomEnded, ({ room, reason }) => report("room_ended", { room, reason }));
  client.on(Noticed, ({ reason, tag, text }) => report("notice", { reason, tag, text }));
  client.on(Reconnecting, ({ attempt, delay, reason }) => {
    report("reconnecting", { attempt, delay_ms: Math.round(delay), reason });
  });
  client.on(Reconnected, ({ resumed, attempts, lost }) => report("reconnected", { resumed, attempts, lost }));
  receive(client).catch((error: unknown) => problem("receive", error));
}

async function receive(client: Client): Promise<void> {
  try {
    for await (const [message, sender] of client.withSenders()) {
      report("message", {
        type: message.$typeName,
        message: toJson(kindOf(message.$typeName), message),
        player: sender?.id ?? 0,
        name: sender?.name ?? "",
      });
    }
  } catch (error) {
    if (!(error instanceof ConnectionClosed)) throw error;
  }
  const { closed } = client;
  if (!closed) throw new Error("iterating has ended, and the client has not");
  const { code, reason, byPeer, retryAfter } = closed;
  report("closed", { code, reason, by_peer: byPeer, retry_after_ms: retryAfter });
}

/** Reports what comes of a request. */
function answer(id: number, asked: Promise<JsonValue>): void {
  asked.then(
    (message) => report("response", { id, message }),
    (error: unknown) => {
      if (error instanceof RequestFailed) {
        report("response", {
          id,
          status: Status[error.status],
          code: error.code,
          text: error.reason,
          retry_after_ms: error.retryAfter,
          may_have_run: error.mayHaveRun,
          by_peer: error instanceof RequestTimeout ? error.byPeer : true,
        });
      } else if (error instanceof ConnectionClosed) {
        report("response", { id, closed: error.code, may_have_run: error.mayHaveRun });
      } else {
        report("response", { id, error: String(error) });
      }
    },
  );
}

/** Asks with whatever can be asked with: a client, or a batch. */
function ask(of: Pick<Client, "request">, question: Question): void {
  const reply = kindOf(question.reply);
  const asked = of.request(messageOf(question), reply, { timeout: question.timeout_ms ?? 2000 });
  answer(
    question.id,
    asked.then((message) => toJson(reply, message)),
  );
}

function state(client: Client): void {
  const { unknown, undecodable, misplaced } = client.dropped;
  const members = [...client.members.values()].sort((one, other) => one.id - other.id);
  report("state", {
    player: client.playerId,
    room: client.room,
    members: members.map(({ id, name, away }) => ({ player: id, name, away })),
    rtt_us: Math.round((client.rtt ?? 0) * 1000),
    jitter_us: Math.round((client.jitter ?? 0) * 1000),
    server_time_ms: Math.round(client.serverTime()),
    dropped: { unknown, undecodable, misplaced },
  });
}

async function carryOut(command: Command): Promise<void> {
  if (command.do === "connect") return begin(command);
  const client = current;
  if (!client) throw new TypeError(`${command.do} without a client`);
  switch (command.do) {
    case "send":
      client.send(messageOf(command)).catch((error: unknown) => problem("send", error));
      return;
    case "request":
      return ask(client, command);
    case "batch": {
      const batch = client.batch({ stopOnError: command.stop_on_error ?? false });
      for (const question of command.requests) ask(batch, question);
      return batch.send();
    }
    case "join":
      return answer(
        command.id,
        client.join(command.room).then((room) => ({ room })),
      );
    case "state":
      return state(client);
    case "close":
      client.close(command.code ?? 0, command.reason ?? "").catch((error: unknown) => problem("close", error));
      return;
    default:
      throw new TypeError(`no such command: ${command.do}`);
  }
}

// stdout is for reports.
globalThis.console = new Console(process.stderr);
report("ready", { client: `tagwire-typescript ${VERSION}`, language: "TypeScript" });
const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
let turn = Promise.resolve();
lines.on("line", (line) => {
  const command = JSON.parse(line) as Command;
  turn = turn.then(() => carryOut(command)).catch((error: unknown) => problem(command.do, error));
});
// The runner is done; whatever goes on here ends.
lines.on("close", () => process.exit(0));
