/** Runs the rules and the tests of pages in a real, headless Chromium, with a real server beside it. */

import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { connect as connectTcp, createServer as createTcp, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import type { Place } from "../support/place.js";
import { Server } from "../support/server.js";

/** Ends a run that hangs. */
const MAX_MS = 120_000;
/** Debian's, which sandboxes nothing for root. */
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const dist = fileURLToPath(new URL("../../", import.meta.url));
const modules = fileURLToPath(new URL("../../../node_modules/", import.meta.url));

interface Report {
  passed: string[];
  failed: { title: string; error: string }[];
  skipped: number;
  declared: number;
}

async function bundled(): Promise<string> {
  const found: string[] = [];
  for (const folder of ["test/rules", "test/browser"]) {
    for (const name of (await readdir(join(dist, folder))).sort()) {
      if (name.endsWith(".test.js")) found.push(`import "./${folder}/${name}";`);
    }
  }
  const result = await build({
    stdin: { contents: found.join("\n"), resolveDir: dist },
    bundle: true,
    ignoreAnnotations: true, // these modules are there for their side effects
    format: "iife",
    platform: "browser",
    sourcemap: "inline",
    write: false,
    logLevel: "warning",
  });
  return result.outputFiles[0]?.text ?? "";
}

const RUN = `
  const report = { passed: [], failed: [], skipped: 0, declared: 0 };
  const runner = mocha.run(() => reported(report));
  report.declared = runner.total;
  runner.on("pass", (test) => report.passed.push(test.fullTitle()));
  runner.on("pending", () => { report.skipped += 1; });
  runner.on("fail", (test, error) => report.failed.push({ title: test.fullTitle(), error: String(error.stack ?? error) }));
`;

async function main(): Promise<number> {
  const script = await bundled();
  const mocha = await readFile(join(modules, "mocha/mocha.js"), "utf8");
  const pages = new Map([
    ["/", ["text/html", '<!doctype html><meta charset="utf-8"><title>tests</title><div id="mocha"></div>']],
    ["/mocha.js", ["text/javascript", mocha]],
    ["/tests.js", ["text/javascript", script]],
  ]);
  const http = createServer((request, response) => {
    const [type, content] = pages.get(request.url ?? "") ?? ["text/plain", undefined];
    response.writeHead(content === undefined ? 404 : 200, { "content-type": `${type}; charset=utf-8` });
    response.end(content);
  });
  await new Promise<void>((resolve) => void http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as { port: number };
  const server = await Server.start();
  const mortal = await Server.start();
  const links = new Set<Socket>();
  const proxy = createTcp((near) => {
    const far = connectTcp(server.port, "127.0.0.1");
    const end = () => [near, far].forEach((link) => link.destroy());
    for (const link of [near, far]) links.add(link.on("error", end).on("close", end));
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => void proxy.listen(0, "127.0.0.1", resolve));
  const lossy = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const cutConnections = () => {
    for (const link of links) link.resetAndDestroy();
    links.clear();
  };
  const profile = await mkdtemp(join(tmpdir(), "tagwire-chromium-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
  });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error("in the page:", error.stack));
    const report = await new Promise<Report>((resolve, reject) => {
      setTimeout(() => reject(new Error(`the page did not end within ${MAX_MS / 1000} s`)), MAX_MS).unref();
      void (async () => {
        await page.exposeFunction("reported", resolve);
        await page.exposeFunction("cutConnections", cutConnections);
        await page.exposeFunction("stopServer", () => mortal.terminate());
        await page.goto(`http://127.0.0.1:${port}/`);
        const place: Place = { address: server.address, lossy, mortal: mortal.address };
        await page.evaluate(`globalThis.tagwireTests = ${JSON.stringify(place)}`);
        await page.addScriptTag({ url: "/mocha.js" });
        await page.evaluate('mocha.setup({ ui: "bdd", timeout: 20000, reporter: function () {} })');
        await page.addScriptTag({ url: "/tests.js" });
        await page.evaluate(RUN);
      })().catch(reject);
    });
    for (const title of report.passed) console.log(`  ok ${title}`);
    for (const { title, error } of report.failed) console.error(`  FAILED ${title}\n${error}`);
    console.log(
      `${report.passed.length} of ${report.declared} tests passed in ${browser.browser()?.version() ?? "Chromium"}`,
    );
    return report.declared > 0 && report.passed.length === report.declared ? 0 : 1;
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
    http.close();
    proxy.close();
    cutConnections();
    await Promise.all([server.stop(), mortal.stop()]);
  }
}

process.exitCode = await main();
