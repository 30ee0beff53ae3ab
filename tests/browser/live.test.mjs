// SPDX-License-Identifier: MIT
// What happens while somebody looks: requests arrive, the gateway dies and comes back, names are hostile.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { credential, user } from '../e2e/harness.mjs';
import { startWorld } from './harness.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>';
let world;
before(async () => (world = await startWorld({ credentials: { one: credential('one'), [HOSTILE]: credential('two') } })));
after(() => world?.stop());

const chat = async (model) => assert.equal((await world.system.chat({ model, messages: [user()] })).status, 200);

test('a request appears by itself, in the list and in the numbers', async () => {
  const list = await world.open({ view: 'requests' });
  const numbers = await world.open({ view: 'overview' });
  await list.settled();
  await numbers.settled();
  await chat('s:chunks?key=seen');
  await list.tab.getByRole('row', { name: /s:chunks\?key=seen/ }).waitFor();
  await numbers.tab.getByRole('link', { name: 's:chunks?key=seen' }).waitFor();
  await list.close();
  await numbers.close();
});

test('names that look like markup are names', async () => {
  await chat(HOSTILE);
  const page = await world.open({ view: 'overview' });
  const { tab } = page;
  await tab.getByRole('link', { name: HOSTILE }).waitFor();
  await tab.getByRole('radio', { name: 'Credential' }).check({ force: true });
  await tab.getByRole('rowheader').first().waitFor();
  await page.go('requests');
  await tab.getByRole('row', { name: new RegExp(HOSTILE.replace(/[()]/g, '\\$&')) }).first().waitFor();
  await tab.getByLabel('Credential').selectOption({ label: `${HOSTILE}.json` });
  await page.settled();
  assert.equal(await tab.locator('main img').count(), 0);
  await page.checkAccess('hostile names');
  await page.close();
});

test('the gateway dies: the page says so, and comes back by itself, where it was and signed in', async () => {
  const page = await world.open({ view: 'processes' });
  const { tab } = page;
  page.allow(/net::ERR|status of 503/);
  await page.settled();
  const { processes } = await world.system.status();
  const { pid } = processes.find(({ name }) => name === 'gateway-0' || name === 'gateway');
  process.kill(pid, 'SIGSTOP'); // so that it is away for as long as it takes to be seen
  process.kill(pid, 'SIGKILL');
  await tab.getByText('Connected again.').waitFor();
  await tab.getByRole('heading', { name: 'Processes' }).waitFor();
  assert.equal(await tab.locator('.connection-lost').count(), 0);
  assert.equal(await tab.locator('.gate-card').count(), 0, 'the session is lost');
  await page.close();
});

test('while it is away the page says that too, and shows what it knew', async () => {
  const page = await world.open({ view: 'processes' });
  const { tab } = page;
  page.allow(/net::ERR/);
  await page.settled();
  const before = await tab.getByRole('row').count();
  await page.context.setOffline(true);
  await tab.getByText('The connection to the gateway is lost.').waitFor();
  await tab.locator('.side-fixed .pill', { hasText: 'Connection lost' }).waitFor();
  assert.equal(await tab.getByRole('row').count(), before);
  await page.go('requests');
  await tab.getByText('The gateway cannot be reached.').first().waitFor();
  await page.shot('offline');
  await page.context.setOffline(false);
  await tab.getByText('Connected again.').waitFor();
  await tab.getByRole('button', { name: 'Try again' }).click();
  await tab.getByRole('table').waitFor();
  await page.close();
});
