// SPDX-License-Identifier: MIT
// First run: from an empty system to an answered completion, and to a client that works.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { LOOKS, startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld({ credentials: {} })));
after(() => world?.stop());

const step = (tab, title) => tab.getByRole('listitem').filter({ has: tab.getByRole('heading', { name: title }) });

for (const look of LOOKS)
  test(`an empty system, ${Object.values(look)}`, async () => {
    const page = await world.open(look);
    await page.tab.locator('.step-now .drop').waitFor();
    await page.settled();
    await page.checkAccess();
    await page.checkWidth();
    await page.shot('first_run');
    await page.close();
  });

test('the overview without a credential tells how to get one', async () => {
  for (const [language, leave, text] of [['en', 'Leave the guide', 'There is no credential yet'], ['zh', '离开向导', '还没有凭证']]) {
    const page = await world.open({ language });
    await page.tab.getByRole('button', { name: leave }).click();
    await page.tab.getByText(text).waitFor();
    await page.settled();
    await page.checkAccess('empty');
    await page.shot('overview_empty');
    await page.close();
  }
});

test('it appears by itself, can be left, and comes back while there is no credential', async () => {
  const page = await world.open();
  const { tab } = page;
  const guide = tab.getByRole('heading', { name: 'Set up', level: 1 });
  await guide.waitFor();
  await tab.getByRole('button', { name: 'Leave the guide' }).click();
  await tab.getByText('There is no credential yet').waitFor();
  assert.equal(await guide.count(), 0);
  await tab.getByRole('link', { name: 'Set up step by step' }).click();
  await guide.waitFor();
  await page.go('keys');
  await tab.getByText('No keys yet').waitFor();
  await page.go('overview');
  await tab.getByText('There is no credential yet').waitFor(); // going elsewhere is leaving
  await tab.reload();
  await guide.waitFor();
  await page.close();
});

test('sign in, log in, test, ask, and a client that works', async () => {
  const page = await world.open({ signedIn: false });
  const { tab } = page;
  page.allow(/status of (400.*auth\/poll|502|503)/);
  await world.system.upstream.control('account', { pending: 0, email: 'first@example.com' });
  await tab.getByLabel('Password', { exact: true }).fill(world.system.password);
  await tab.keyboard.press('Enter');
  await step(tab, 'Add a CodeBuddy credential').getByRole('button', { name: 'Log in with CodeBuddy' }).waitFor();
  await tab.clock.install();
  await step(tab, 'Add a CodeBuddy credential').getByRole('button', { name: 'Log in with CodeBuddy' }).click();
  await tab.getByRole('dialog').getByText('Waiting for your login').waitFor();
  await tab.clock.runFor(5000); // the interval of the polls
  await tab.getByRole('dialog').getByText('You are logged in').waitFor();
  await tab.getByRole('dialog').getByRole('button', { name: 'Done' }).click();

  await world.system.upstream.control('default', { scenario: 's:chunks?status=500&body=html' });
  const testing = step(tab, 'Test it');
  await testing.getByRole('button', { name: 'Test first_example.com.json' }).click();
  await testing.getByText('first_example.com.json does not work').waitFor();
  await page.checkAccess('first run, failed');
  await page.shot('first_run-failed');
  await world.system.upstream.control('default', { scenario: 's:say?gap_ms=10' });
  await testing.getByRole('button', { name: 'Test first_example.com.json' }).click();
  await testing.getByText('It works.').waitFor();

  const asking = step(tab, 'Get your first answer');
  await tab.waitForFunction(() => document.activeElement?.textContent === 'Get your first answer');
  await asking.getByRole('button', { name: 'Send' }).click();
  await step(tab, 'Connect your client').getByRole('button', { name: 'Create the key' }).waitFor();
  assert.match(await asking.locator('.first-answer').textContent(), /^Hello! I am the stand-in upstream/);
  await page.shot('first_run-answered');

  const client = step(tab, 'Connect your client');
  await client.getByLabel('Name').fill('');
  await client.getByRole('button', { name: 'Create the key' }).click();
  await client.getByText('Give it a name of 1 to 64 bytes.').waitFor();
  page.allow(/status of 422/);
  await client.getByLabel('Name').fill('shell');
  await client.getByRole('button', { name: 'Create the key' }).click();
  const code = await client.locator('.first-snippet').textContent();
  assert.match(code, /Bearer cb-[\w-]{43}'/);
  await page.checkAccess('first run, client');
  await page.checkWidth('first run, client');
  await page.shot('first_run-client');
  const ran = spawnSync('bash', ['-c', code], { encoding: 'utf8' }); // as a person would paste it
  assert.ok(ran.stdout.includes('"stand-in ') && ran.stdout.trim().endsWith('data: [DONE]'), ran.stdout + ran.stderr);

  await client.getByRole('link', { name: 'Finish' }).click();
  await tab.getByText('Everything works').waitFor();
  await page.close();
});
