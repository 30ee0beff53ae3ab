// SPDX-License-Identifier: MIT
// Keys: made with limits, shown once, used by a client, revoked.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { LOOKS, startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld()));
after(() => world?.stop());

const complete = (key, model) =>
  fetch(`${world.system.origin}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
  });

test('a key is made with limits, shown once, works, and is revoked', async () => {
  const page = await world.open({ view: 'keys' });
  const { tab } = page;
  await tab.getByText('No keys yet').waitFor();
  await tab.getByRole('button', { name: 'New key' }).first().click();
  const form = tab.getByRole('dialog', { name: 'New key' });
  await form.getByLabel('Name').fill('<img src=x onerror=alert(1)>');
  await form.getByLabel('Requests per minute').fill('60');
  await form.getByLabel('Requests at a time').fill('3');
  await form.getByLabel('gpt-5', { exact: true }).check();
  await page.checkAccess('keys, new');
  await page.shot('keys-new');
  await form.getByRole('button', { name: 'Create the key' }).click();

  const made = tab.getByRole('dialog', { name: 'The key of' });
  const key = await made.locator('code').first().textContent();
  assert.match(key, /^cb-[\w-]{43}$/);
  await page.checkAccess('keys, made');
  await page.shot('keys-made');
  await made.getByRole('button', { name: 'I have copied it' }).click();
  const row = tab.getByRole('row', { name: '<img src=x onerror=alert(1)>' });
  await row.getByText('60 per minute').waitFor();
  await row.getByText('3 at a time').waitFor();
  await row.getByText('gpt-5', { exact: true }).waitFor();
  assert.ok(!(await tab.content()).includes(key), 'the key is still in the page');

  assert.equal((await complete(key, 'gpt-5')).status, 200);
  assert.equal((await complete(key, 'gpt-5-mini')).status, 404);
  await tab.reload();
  await row.getByText(/ago|now/).first().waitFor();
  assert.ok(!(await tab.content()).includes(key), 'the key came back');

  await row.getByRole('button', { name: 'Revoke' }).click();
  await tab.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await complete(key, 'gpt-5')).status, 200, 'cancelled, so not revoked');
  await row.getByRole('button', { name: 'Revoke' }).click();
  await tab.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await tab.getByText('No keys yet').waitFor();
  assert.equal((await complete(key, 'gpt-5')).status, 401);
  await page.close();
});

test('what is not valid is said at its field, and nothing is made', async () => {
  const page = await world.open({ view: 'keys?new=1' });
  const { tab } = page;
  const form = tab.getByRole('dialog', { name: 'New key' });
  const submit = form.getByRole('button', { name: 'Create the key' });
  await submit.click();
  await form.getByText('Give it a name of 1 to 64 bytes.').waitFor();
  await form.getByLabel('Name').fill('n'.repeat(65));
  await form.getByLabel('Requests per minute').fill('0');
  await form.getByLabel('Requests at a time').fill('2.5');
  await form.getByLabel('Expires on').fill('2020-01-01');
  await submit.click();
  await form.getByText('A whole number, at least 1.').nth(1).waitFor();
  await form.getByText('A day in the future.').waitFor();
  await form.getByText('Give it a name of 1 to 64 bytes.').waitFor();
  await tab.keyboard.press('Escape');
  await tab.getByText('No keys yet').waitFor();
  assert.deepEqual((await world.system.fetch('/api/keys').then((answer) => answer.json())).keys, []);
  await page.close();
});

for (const look of LOOKS)
  test(`a list of keys, ${Object.values(look)}`, async () => {
    const page = await world.open({ ...look, view: 'keys' });
    await page.settled();
    await page.checkAccess();
    await page.checkWidth();
    await page.shot('keys-list');
    await page.close();
  });
