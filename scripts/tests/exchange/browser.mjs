// `browser.mjs ADDRESS NAME BUNDLE`: a player in a page of a headless Chromium, with lines from stdin and to stdout.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [, , address, name, bundle] = process.argv;
const { chromium } = createRequire(bundle)("playwright-core");

const script = await readFile(bundle, "utf8");
const http = createServer((request, response) => {
  const [type, text] = request.url === "/player.js"
    ? ["text/javascript", script]
    : ["text/html", '<!doctype html><meta charset="utf-8"><script src="/player.js"></script>'];
  response.writeHead(200, { "content-type": `${type}; charset=utf-8` });
  response.end(text);
});
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));

const profile = await mkdtemp(join(tmpdir(), "tagwire-exchange-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error("in the page:", error.stack));
  page.on("console", (message) => console.error("in the page:", message.text()));
  await page.exposeFunction("said", (line) => void process.stdout.write(`${line}\n`));
  await page.goto(`http://127.0.0.1:${http.address().port}/`);
  const played = page.evaluate(([address, name]) => begin(address, name), [address, name]);
  played.catch(() => undefined); // it is awaited below
  for await (const line of createInterface({ input: process.stdin })) {
    await page.evaluate((line) => hear(line), line);
  }
  await page.evaluate(() => hear(null));
  await played;
} finally {
  await browser.close();
  http.close();
  await rm(profile, { recursive: true, force: true });
}
