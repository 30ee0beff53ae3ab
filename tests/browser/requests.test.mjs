// SPDX-License-Identifier: MIT
// The list of requests: filters, pages, details.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { user } from '../e2e/harness.mjs';
import { startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld({ history: true })));
after(() => world?.stop());

const column = (page, name) => page.tab.locator(`tbody td[data-label="${name}"]`).allInnerTexts();

test('filters narrow the list, stay in the address, and are cleared', async () => {
  const page = await world.open({ view: 'requests' });
  const { tab } = page;
  await page.settled();
  assert.equal(await tab.locator('tbody tr').count(), 50);
  await tab.getByLabel('Outcome').selectOption('Rate limited');
  await page.settled();
  await tab.waitForFunction(() => [...document.querySelectorAll('tbody td[data-label=Outcome]')].every((cell) => cell.innerText.includes('Rate limited')));
  const limited = await tab.locator('tbody tr').count();
  assert.ok(limited > 0 && limited < 50);
  await tab.reload();
  await page.settled();
  assert.equal(await tab.getByLabel('Outcome').inputValue(), 'rate_limited');
  assert.equal(await tab.locator('tbody tr').count(), limited);
  await tab.getByLabel('Status').selectOption('200');
  await tab.getByText('Nothing matches').waitFor();
  await page.checkAccess('nothing matches');
  await page.shot('requests_none');
  await tab.getByRole('main').getByRole('button', { name: 'Clear filters' }).last().click();
  await tab.waitForFunction(() => document.querySelectorAll('tbody tr').length === 50);
  await page.close();
});

for (const width of [390, 720, 900, 1024, 1280])
  test(`the widest rows fit into ${width} px`, async () => {
    const page = await world.open({ view: 'requests?status=504', width });
    await page.settled();
    assert.equal(await page.tab.locator('tbody tr').count(), 9);
    await page.checkWidth();
    await page.shot('requests_widest');
    await page.close();
  });

test('pages go back through all of them without a gap or a repeat', async () => {
  const page = await world.open({ view: 'requests?model=o4-mini' });
  const { tab } = page;
  await page.settled();
  const all = [];
  for (;;) {
    all.push(...(await tab.locator('tbody time').evaluateAll((times) => times.map((one) => one.title))));
    const older = tab.getByRole('button', { name: 'Older' });
    if (!(await older.count()) || (await older.isDisabled())) break;
    const first = all.length;
    await older.click();
    await tab.getByText(`Page ${Math.ceil(first / 50) + 1}`).waitFor();
    await page.settled();
  }
  const { series } = await (await world.system.fetch(`/api/usage?by=model&from=${Math.floor(Date.now() / 1000) - 31 * 86400}&step=86400`)).json();
  assert.equal(all.length, series.find(({ name }) => name === 'o4-mini').totals.requests);
  assert.ok(all.length > 50, 'there is more than a page');
  await tab.getByRole('button', { name: 'Newest' }).click();
  await tab.getByText('Page 1').waitFor();
  await page.close();
});

test('a request opens by mouse and by keyboard, shows all that is kept of it, and no more', async () => {
  const secret = 'a prompt that nobody keeps';
  assert.equal((await world.system.chat({ model: 's:chunks', messages: [user(secret)] })).status, 200);
  const page = await world.open({ view: 'requests?model=s%3Achunks' });
  const { tab } = page;
  const row = tab.locator('tbody tr').first();
  await row.waitFor();
  await row.getByText('Answered').click(); // anywhere
  const dialog = tab.getByRole('dialog');
  for (const label of ['Request id', 'Credential', 'Prompt tokens', 'First event', 'Mode']) await dialog.getByText(label, { exact: true }).waitFor();
  await page.checkAccess('a request');
  await page.shot('requests_details');
  assert.ok(!(await tab.content()).includes(secret));
  await tab.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  const button = row.getByRole('button');
  await button.focus();
  await tab.keyboard.press('Enter');
  await dialog.waitFor();
  await dialog.getByRole('button', { name: 'Close' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.ok(await button.evaluate((one) => one === document.activeElement), 'the focus is back where it was');
  await page.close();
});

test('everything is reached with the keyboard alone', async () => {
  const page = await world.open({ view: 'overview' });
  const { tab } = page;
  await page.settled();
  await tab.keyboard.press('Tab');
  assert.equal(await tab.evaluate(() => document.activeElement.className), 'skip');
  await tab.keyboard.press('Enter');
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'main');
  const link = tab.locator('.side-fixed').getByRole('link', { name: 'Requests' });
  await link.focus();
  await tab.keyboard.press('Enter');
  await tab.waitForFunction(() => document.activeElement.id === 'view-title' && document.activeElement.innerText === 'Requests');
  // Whatever has the focus shows it.
  await page.settled();
  for (let i = 0; i < 12; i++) {
    await tab.keyboard.press('Tab');
    const shown = await tab.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body) return true;
      const styles = [one, one.parentElement, one.nextElementSibling].filter(Boolean).map((each) => getComputedStyle(each));
      return styles.some((style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0);
    });
    assert.ok(shown, await tab.evaluate(() => document.activeElement.outerHTML));
  }
  await page.close();
});

test('on a narrow screen the navigation opens, leads, and closes', async () => {
  const page = await world.open({ view: 'overview', width: 390 });
  const { tab } = page;
  await tab.getByRole('button', { name: 'Open the menu' }).click();
  const drawer = tab.getByRole('dialog');
  await drawer.waitFor();
  await page.checkAccess('the menu');
  await page.shot('menu');
  await tab.keyboard.press('Escape');
  await drawer.waitFor({ state: 'detached' });
  await tab.getByRole('button', { name: 'Open the menu' }).click();
  await drawer.getByRole('link', { name: 'Processes' }).click();
  await drawer.waitFor({ state: 'detached' });
  await tab.getByRole('heading', { name: 'Processes' }).waitFor();
  await page.close();
});

test('an address that names nothing says so', async () => {
  const page = await world.open({ view: 'nothing' });
  await page.tab.getByText('There is no such page').waitFor();
  await page.checkAccess('no such page');
  await page.tab.getByRole('link', { name: 'To the overview' }).click();
  await page.tab.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.close();
});
