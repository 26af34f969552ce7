/** Where tests run that do so in Node and in browsers. */

/** What is said to tests in a page. */
export interface Place {
  /** `127.0.0.1:port` of a real server. */
  readonly address: string;
}

/** The real server of the tests in a page. */
export function placeOfPage(): Place {
  return (globalThis as unknown as { tagwireTests: Place }).tagwireTests;
}
