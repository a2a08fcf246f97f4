// Opens the page at /login as a person would, without any script of a page's, and tells what came of it.
//
// Reads from standard input, as JSON: `url`, the page with its parameters; `host`, where the sign-in is; `certificate` and `key`
// for that; `unknown` and `known`, addresses; `shots`, a folder for pictures. Writes to standard output what was seen.

import chromium from '@sparticuz/chromium';
import axe from 'axe-core';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import puppeteer from 'puppeteer-core';

const setting = JSON.parse(readFileSync(0, 'utf8'));
const seen = { arrived: [], complaints: [], violations: [], widths: [] };

// Cognito's hosted sign-in, as far as a browser can tell.
const server = createServer({ cert: setting.certificate, key: setting.key }, (request, response) => {
  if (!request.url.startsWith('/favicon')) {
    seen.arrived.push({ method: request.method, url: request.url, referer: request.headers.referer ?? '', origin: request.headers.origin ?? '' });
  }
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><html lang="en"><title>The hosted sign-in</title><h1>Hello</h1></html>');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await puppeteer.launch({
  executablePath: await chromium.executablePath(),
  args: [
    ...chromium.args,
    '--ignore-certificate-errors',
    `--host-resolver-rules=MAP ${setting.host} 127.0.0.1:${server.address().port}`,
  ],
  headless: 'shell',
  protocolTimeout: 60_000,
});

try {
  seen.version = await browser.version();
  const page = await browser.newPage();
  await page.setJavaScriptEnabled(false);
  page.on('console', (message) => seen.complaints.push(message.text()));
  page.on('pageerror', (error) => seen.complaints.push(String(error)));

  // What has the focus, as somebody hears it who does not see the page.
  const focused = async () => {
    const tree = await page.accessibility.snapshot({ interestingOnly: false });
    const find = (node) => (node.focused && node.role !== 'RootWebArea' ? node : (node.children ?? []).map(find).find(Boolean));
    const { role, name, description, invalid, value, required } = find(tree) ?? {};
    // The page's own, of which its colours are chosen; a browser's would be there without it.
    const outline = await page.evaluate('getComputedStyle(document.activeElement).outline');
    return { role, name, description, invalid, value, required, outline };
  };
  // axe needs scripts to run, and comes by the debugger, past the page's policy.
  const look = async (what) => {
    await page.screenshot({ path: `${setting.shots}/${what}.png` });
    await page.setJavaScriptEnabled(true);
    await page.evaluate(axe.source);
    const found = await page.evaluate(async () => {
      const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
      const found = await axe.run(document, { runOnly });
      const told = (it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.html).join(' ')}`;
      return { passes: found.passes.length, violations: found.violations.map(told) };
    });
    await page.setJavaScriptEnabled(false);
    seen.violations.push(...found.violations.map((it) => `${what}: ${it}`));
    seen[`rules_${what}`] = found.passes;
  };
  const schemes = async (what) => {
    for (const scheme of ['light', 'dark']) {
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await look(`${what}-${scheme}`);
    }
  };

  await page.goto(setting.url);
  seen.title = await page.title();
  seen.focus = await focused();
  await schemes('page');

  // By the keyboard alone.
  await page.keyboard.type(setting.unknown);
  await page.keyboard.press('Tab');
  seen.next = await focused();
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  seen.error_title = await page.title();
  seen.error_focus = await focused();
  await schemes('error');

  // A small telephone, or a page at 400 % (WCAG 1.4.10).
  await page.setViewport({ width: 320, height: 480 });
  seen.widths.push(await page.evaluate('document.documentElement.scrollWidth'));
  await look('small');

  await page.keyboard.down('Control');
  await page.keyboard.press('KeyA');
  await page.keyboard.up('Control');
  await page.keyboard.type(setting.known);
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  seen.place = page.url();
  seen.last_title = await page.title();
} finally {
  await browser.close();
  server.close();
}
process.stdout.write(JSON.stringify(seen));
