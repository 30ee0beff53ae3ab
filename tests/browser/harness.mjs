// SPDX-License-Identifier: MIT
// A real Chromium looking at a real system. `const world = await startWorld({…})` starts both; `world.open({…})` gives a
// Page, signed in unless told otherwise. Whatever a page complains about (console, scripts, Content-Security-Policy,
// answers that failed) fails its test, unless the test said with allow() that it is what it provokes.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { PATIENCE_MS } from '../e2e/process.mjs';
import { BIN_DIR, credential, startSystem } from '../e2e/harness.mjs';
import { CREDENTIAL_IDS, writeHistory } from './history.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const SHOTS = join(here, 'screenshots');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const WEB_DIR = process.env.CODEBUDDY_WEB_DIR ?? resolve(BIN_DIR, '../web');

const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--disable-dev-shm-usage', '--force-color-profile=srgb', '--font-render-hinting=none',
];
const HEIGHTS = { 390: 844, 1280: 860, 2560: 1300 };

// Each test file has one: a system, a browser, and the pages it opened. Options: startSystem's; `history`: the ledger has
// thirty days of requests (history.mjs), of the credentials work, team and spare.
export async function startWorld({ history = false, ...options } = {}) {
  const past = history && {
    credentials: Object.fromEntries(Object.keys(CREDENTIAL_IDS).map((name) => [name, credential(name)])),
    prepare: (system) => writeHistory(system.dataDir),
  };
  const system = await startSystem({ ...past, ...options, env: { CODEBUDDY_WEB_DIR: WEB_DIR, ...options.env } });
  const browser = await chromium.launch({ executablePath: process.env.CB_CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ARGUMENTS });
  return new World(system, browser);
}

class World {
  constructor(system, browser) {
    Object.assign(this, { system, browser, cookie: null });
  }

  // The session cookie of one sign-in, used by all pages of this world (sign-ins are limited per minute only when wrong).
  async session() {
    if (this.cookie) return this.cookie;
    const response = await fetch(`${this.system.origin}/api/login`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ password: this.system.password }),
    });
    assert.equal(response.status, 200);
    const [, name, value] = /^(\w+)=([^;]+)/.exec(response.headers.get('set-cookie'));
    this.cookie = { name, value, url: this.system.origin };
    return this.cookie;
  }

  // `view`: what stands behind #/, e.g. 'requests?model=x'. theme: 'light' | 'dark'; language: 'en' | 'zh'.
  async open({ view = 'overview', language = 'en', theme = 'light', width = 1280, height = HEIGHTS[width] ?? 860, signedIn = true, path = '/' } = {}) {
    const context = await this.browser.newContext({
      viewport: { width, height }, locale: language === 'zh' ? 'zh-CN' : 'en-US', colorScheme: theme, reducedMotion: 'reduce',
    });
    context.setDefaultTimeout(PATIENCE_MS);
    if (signedIn) await context.addCookies([await this.session()]);
    const page = new Page(this, context, await context.newPage(), { language, theme, width });
    await page.tab.goto(`${this.system.origin}${path}#/${view}`);
    if (signedIn) await page.tab.locator('#main').waitFor();
    else await page.tab.locator('.gate-card').waitFor();
    return page;
  }

  async stop() {
    await this.browser.close();
    await this.system.stop();
  }
}

class Page {
  constructor(world, context, tab, look) {
    Object.assign(this, { world, context, tab, look, complaints: [], allowed: [] });
    tab.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(`console: ${message.text()} ${message.location().url}`);
    });
    tab.on('pageerror', (error) => this.complaints.push(`script: ${error.stack}`));
    tab.on('dialog', (dialog) => {
      this.complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
  }

  // Complaints that match are what this test is about.
  allow(pattern) {
    this.allowed.push(pattern);
  }

  // To another view, by its address.
  async go(view) {
    await this.tab.evaluate((hash) => (location.hash = hash), `#/${view}`);
  }

  // Until nothing is loading: no skeleton, nothing that says it is busy.
  async settled() {
    await this.tab.waitForFunction(() => !document.querySelector('.skeleton, [aria-busy="true"]') && document.fonts.status === 'loaded');
  }

  // Into screenshots/NAME-WIDTH-THEME-LANGUAGE.png: the whole page, to be looked at by people.
  async shot(name) {
    const { width, theme, language } = this.look;
    mkdirSync(SHOTS, { recursive: true });
    await this.tab.screenshot({ path: join(SHOTS, `${name}-${width}-${theme}-${language}.png`), fullPage: true });
  }

  // Nothing of weight that hinders people who cannot see, or use no mouse.
  async checkAccess(where = this.tab.url()) {
    await this.tab.evaluate(AXE);
    const { violations } = await this.tab.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const heavy = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    const told = heavy.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.slice(0, 4).map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`);
    assert.equal(told.join('\n'), '', `axe, ${where} ${JSON.stringify(this.look)}`);
  }

  // Nothing is wider than the window, and nothing is cut off by what it is in. Names may end in an ellipsis, code may be scrolled.
  async checkWidth(where = this.tab.url()) {
    const [have, want] = await this.tab.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(have <= want, `${where} is ${have} px wide in a window of ${want} px ${JSON.stringify(this.look)}`);
    const cut = await this.tab.evaluate(() =>
      [...document.querySelectorAll('main *, .side *, .top *')]
        .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1 && getComputedStyle(one).overflowX !== 'visible' && getComputedStyle(one).textOverflow !== 'ellipsis' && !one.matches('input, textarea, select, pre, .sr-only'))
        .map((one) => `${one.className}: ${one.scrollWidth} px in ${one.clientWidth}`));
    assert.deepEqual(cut, [], `${where} ${JSON.stringify(this.look)}`);
  }

  // The end of a test: fails if the page complained.
  async close() {
    await this.context.close();
    const left = this.complaints.filter((text) => !this.allowed.some((pattern) => pattern.test(text)));
    assert.deepEqual(left, []);
  }
}

// Each of `look`s: every language, theme and width once in a pairing that covers all pairs, and the two main ones in full.
export const LOOKS = [
  { language: 'en', theme: 'light', width: 1280 },
  { language: 'zh', theme: 'dark', width: 1280 },
  { language: 'en', theme: 'dark', width: 390 },
  { language: 'zh', theme: 'light', width: 390 },
];
