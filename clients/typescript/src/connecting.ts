/** The ways to a client: `connect` and `connectSync`. */

import { platform } from "#platform";
import { parseAddress } from "./address.js";
import { Client } from "./client.js";
import { sourceOf, type Token } from "./credential.js";
import { realLoop } from "./loop.js";
import { SyncClient } from "./pump.js";
import { policyOf, type Reconnect } from "./reconnect.js";
import { Schema } from "./schema.js";
import { Session } from "./session.js";
import type { Target, Tls } from "./transport.js";
import type { WireOptions } from "./wire.js";

const CONNECT_TIMEOUT_MS = 5000;

/** How to connect, for both kinds of clients. */
export interface SyncOptions {
  /** The game's, `SCHEMA` of its generated stubs. */
  readonly schema: Schema;
  /** At most 32 characters. Empty: the server makes up a guest name, where it admits guests. */
  readonly username?: string;
  /** What proves the name. */
  readonly password?: string;
  /**
   * Instead of a password: a JWT or another credential, whose subject is then the name. A function is called before
   * each connection, and gives one that is fresh; what it throws for the first connection comes out of `connect`.
   */
  readonly token?: Token;
  /** In Node: whom to trust with `tagwires://` and `wss://` other than Node does, and this client's own certificate. */
  readonly tls?: Tls;
  /** Milliseconds for everything together: token, resolving, TCP, TLS, upgrade, login. Default: 5000. */
  readonly timeout?: number;
  /**
   * Whether a connection that is lost later on is made again; a `Reconnect` says how often and how long. False: its
   * loss ends the client. The first connection is tried once, whatever this says. Default: true.
   */
  readonly reconnect?: boolean | Reconnect;
}

/** How to connect. */
export interface ConnectOptions extends SyncOptions {
  /**
   * False for a client that only sends. Messages of the game are then counted and dropped, and iterating gives none;
   * requests, pings, members and room work all the same. Default: true.
   */
  readonly receive?: boolean;
}

/**
 * Connects and logs in.
 *
 * `address` is `host:port` or `tagwire://host:port`; `tagwires://` with TLS; `ws://` and `wss://` over WebSocket, with
 * a path where the server is behind one. The port is 7777 unless given. Every address of the host is tried. An address
 * with TLS is never served without it. Browsers speak WebSocket only, and there an address without a scheme is
 * `ws://`, or `wss://` in a page that came by https.
 *
 * Rejects with `AddressError`, `ConnectError` (no session came to be), `LoginRefused` (the server said why, and of
 * which `part` of the login) and of it `SchemaMismatch` (the schemas do not fit); `RangeError` and `TypeError` when
 * the options make no sense.
 */
export async function connect(address: string, options: ConnectOptions): Promise<Client> {
  const [target, wireOptions] = await prepare(address, options);
  const client = new Client(wireOptions, options.receive ?? true);
  await client.wire.open(target, options.timeout ?? CONNECT_TIMEOUT_MS);
  return client;
}

/** As `connect`, for a client whose game calls `sync` in each frame. */
export async function connectSync(address: string, options: SyncOptions): Promise<SyncClient> {
  const [target, wireOptions] = await prepare(address, options);
  const client = new SyncClient(wireOptions);
  await client.wire.open(target, options.timeout ?? CONNECT_TIMEOUT_MS);
  client.begin();
  return client;
}

async function prepare(address: string, options: SyncOptions): Promise<[Target, WireOptions]> {
  const { schema, username = "", password = "", token = "", tls, reconnect = true } = options;
  if (!(schema instanceof Schema)) throw new TypeError("schema must be the SCHEMA of generated stubs");
  const policy = policyOf(reconnect);
  const source = sourceOf(token, password);
  const credentials = { username, password, token: typeof token === "string" ? token : "" };
  const session = new Session(schema, credentials, policy !== undefined);
  const target = await platform.targetOf(parseAddress(address, platform.bareScheme()), tls);
  return [target, { session, policy, token: source, loop: realLoop }];
}
