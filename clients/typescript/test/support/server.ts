/** Real servers, each for one test, on a free port. For Node. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const START_MS = 10_000;
const STOP_MS = 12_000;

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));

/** A server that runs. */
export class Server {
  /** `127.0.0.1:port`. */
  readonly address: string;

  private constructor(
    private readonly process: ChildProcess,
    private readonly lines: string[],
    address: string,
  ) {
    this.address = address;
  }

  /** Starts one. `program` is the variable that says where its binary is. */
  static async start(args: readonly string[] = [], program = "TAGWIRE_SERVER"): Promise<Server> {
    const binary = process.env[program] ?? "";
    if (!existsSync(binary)) throw new Error(`there is no ${binary || "program"} (${program}); run scripts/test`);
    // The caller's settings are not the test's.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TAGWIRE_")));
    const child = spawn(binary, ["--listen", "127.0.0.1:0", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    const lines: string[] = [];
    const address = await new Promise<string>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`the server ${why}:\n${lines.join("")}`));
      const timer = setTimeout(() => fail("did not come up"), START_MS);
      const take = (data: Buffer) => {
        lines.push(String(data));
        const found = /server up on (127\.0\.0\.1:\d+)/.exec(lines.join(""));
        if (!found?.[1]) return;
        clearTimeout(timer);
        resolve(found[1]);
      };
      child.stdout.on("data", take);
      child.stderr.on("data", take);
      child.on("exit", () => fail("ended"));
    });
    return new Server(child, lines, address);
  }

  get port(): number {
    return Number(this.address.split(":")[1]);
  }

  /** What it has printed so far. */
  get log(): string {
    return this.lines.join("");
  }

  /** Asks it to stop, as an operator does. */
  terminate(): void {
    this.process.kill("SIGTERM");
  }

  /** Ends it, and looks whether it came through well. */
  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => this.process.once("exit", resolve));
      this.terminate();
      const timer = setTimeout(() => this.process.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
    }
    if (this.process.exitCode !== 0 || this.log.includes("panicked")) {
      throw new Error(`the server ended with ${this.process.exitCode ?? this.process.signalCode}:\n${this.log}`);
    }
  }
}
