/** What browsers and Node do differently: the `imports` of package.json pick one of `platform_*.ts`. */

import type { Address, Scheme } from "./address.js";
import type { Target, Tls } from "./transport.js";

/** Where this library runs. */
export interface Platform {
  /** What an address is that names no scheme. */
  bareScheme(): Scheme;
  /** Calls something when what has arrived has had its turn. */
  soon(call: () => void): void;
  /** Everything that is needed to connect to an address, read from files once. Rejects with `ConnectError`. */
  targetOf(address: Address, tls: Tls | undefined): Promise<Target>;
}
