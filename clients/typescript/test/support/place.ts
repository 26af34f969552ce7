/** Where tests run that do so in Node and in browsers. */

/** What is said to tests in a page. */
export interface Place {
  /** `127.0.0.1:port` of a real server. */
  readonly address: string;
  /** The same server, by connections that `cutConnections` cuts off. */
  readonly lossy: string;
  /** One that `stopServer` stops. */
  readonly mortal: string;
}

/** The real server of the tests in a page. */
export function placeOfPage(): Place {
  return (globalThis as unknown as { tagwireTests: Place }).tagwireTests;
}

declare global {
  /** Cuts off all connections of `Place.lossy`, as a network does that goes away. In pages only. */
  function cutConnections(): Promise<void>;
  /** Stops the server at `Place.mortal`, as an operator does. In pages only. */
  function stopServer(): Promise<void>;
}
