// SPDX-License-Identifier: MIT
// The way in and out of the admin page.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { LOOKS, startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld()));
after(() => world?.stop());

test('a wrong password is told, the right one leads to where one wanted to go, and it is kept nowhere', async () => {
  const page = await world.open({ signedIn: false, view: 'processes', path: '/admin' });
  const { tab } = page;
  page.allow(/status of 401.*api\/login/);
  const field = tab.getByLabel('Password', { exact: true });
  assert.ok(await field.evaluate((one) => one === document.activeElement), 'the field has the focus');
  await tab.keyboard.press('Enter');
  await tab.getByText('Enter the password.').waitFor();
  await field.fill('not the password');
  await tab.keyboard.press('Enter');
  await tab.getByText('That is not the password.').waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await field.fill(world.system.password);
  await tab.keyboard.press('Enter');
  await tab.getByRole('heading', { name: 'Processes' }).waitFor();
  const kept = await tab.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(world.system.password), 'the password is kept in the page');
  assert.equal(await tab.evaluate(() => document.cookie), '', 'scripts can read the session');
  await page.close();
});

test('signing out leads to the sign-in, and the way back is closed', async () => {
  const page = await world.open();
  const { tab } = page;
  await tab.getByRole('button', { name: 'Sign out' }).click();
  await tab.getByText('You are signed out.').waitFor();
  await tab.reload();
  await tab.locator('.gate-card').waitFor();
  assert.equal(await tab.getByText('You are signed out.').count(), 0);
  await page.close();
});

test('a session that ends leads to the sign-in and says so; signing in goes on where one was', async () => {
  const page = await world.open({ view: 'requests?model=a' });
  const { tab } = page;
  page.allow(/status of 401/);
  await page.context.clearCookies();
  await tab.getByLabel('Outcome').selectOption('ok');
  await tab.getByText('Your session is over.').waitFor();
  await tab.getByLabel('Password', { exact: true }).fill(world.system.password);
  await tab.keyboard.press('Enter');
  await tab.getByRole('heading', { name: 'Requests' }).waitFor();
  assert.match(tab.url(), /#\/requests\?model=a&outcome=ok$/);
  await page.close();
});

for (const look of LOOKS)
  test(`the sign-in, ${Object.values(look)}`, async () => {
    const page = await world.open({ ...look, signedIn: false });
    assert.equal(await page.tab.locator('html').getAttribute('lang'), look.language === 'zh' ? 'zh-CN' : 'en');
    await page.checkAccess();
    await page.checkWidth();
    await page.shot('sign_in');
    await page.close();
  });

test('language and theme are chosen by hand, at once, and kept', async () => {
  const page = await world.open({ signedIn: false });
  const { tab } = page;
  await tab.getByLabel('Language').selectOption('zh');
  await tab.getByRole('heading', { name: '登录' }).waitFor();
  await tab.getByLabel('主题').selectOption('dark');
  await tab.reload();
  await tab.getByRole('heading', { name: '登录' }).waitFor();
  const [theme, ground] = await tab.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]);
  assert.equal(theme, 'dark');
  assert.equal(ground, 'rgb(14, 17, 22)');
  await page.close();
});

test('a page of another origin can neither frame it nor act for whoever is signed in', async () => {
  const page = await world.open();
  const { tab } = page;
  page.allow(/Refused to frame|frame-ancestors|X-Frame-Options|status of 403|CORS|ERR_FAILED|ERR_BLOCKED_BY_RESPONSE/i);
  const { origin } = world.system;
  const foreign = createServer((req, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>foreign</title><link rel="icon" href="data:,">'));
  await new Promise((resolve) => foreign.listen(0, '127.0.0.1', resolve));
  try {
    // The same host on another port: the browser sends the cookie along, so it is we who must refuse.
    await tab.goto(`http://127.0.0.1:${foreign.address().port}/`);
    const framed = await tab.evaluate(async (target) => {
      const frame = document.createElement('iframe');
      const loaded = new Promise((resolve) => (frame.onload = resolve));
      frame.src = target;
      document.body.append(frame);
      await loaded;
      return frame.contentDocument !== null;
    }, `${origin}/`);
    assert.equal(framed, false, 'that of another origin cannot be read');
    const inside = tab.frames().find((frame) => frame !== tab.mainFrame());
    assert.equal(await inside.locator('#app').count(), 0, 'the page is shown in a frame');
    const answered = tab.waitForResponse(`${origin}/codebuddy/v1/credentials/toggle-rotation`);
    await tab.evaluate((url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }).catch(() => {}), `${origin}/codebuddy/v1/credentials/toggle-rotation`);
    assert.equal((await answered).status(), 403);
    const current = await (await world.system.fetch('/codebuddy/v1/credentials/current')).json();
    assert.equal(current.auto_rotation_enabled, true);
  } finally {
    foreign.close();
    foreign.closeAllConnections();
  }
  await page.close();
});
