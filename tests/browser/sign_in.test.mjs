// SPDX-License-Identifier: MIT
// The way in and out of the admin page.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
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
