// SPDX-License-Identifier: MIT
// Settings: changed and in effect at once, refused and nothing changed, unset, and never lost by accident.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld()));
after(() => world?.stop());

const settings = async () => (await (await world.system.fetch('/api/settings')).json()).settings;
const values = async () => Object.fromEntries(Object.entries(await settings()).map(([name, { value, source }]) => [name, [value, source]]));
const models = async () => (await (await world.system.fetch('/v1/models')).json()).data.map(({ id }) => id);
const row = (tab, name) => tab.locator(`#setting-CODEBUDDY_${name}`);
const save = (tab) => tab.getByRole('button', { name: 'Save', exact: true }).click();
const told = (tab, text) => tab.locator('.toasts').getByText(text).waitFor();

test('every setting is there, in a group, with its meaning; what needs a restart says how and cannot be edited', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  const all = await settings();
  await page.settled();
  assert.equal(await tab.locator('.setting').count(), Object.keys(all).length);
  assert.equal(await tab.getByRole('heading', { name: 'Others' }).count(), 0, 'a setting stands in no group');
  const places = await tab.locator('.setting').evaluateAll((list) => list.map((one) => [one.id, one.innerText, one.querySelector('.setting-edit :is(input, select, textarea, .row-add)') === null]));
  const shown = new Map(places.map(([id, ...rest]) => [id, rest]));
  for (const [name, { label, needs_restart: isFixed }] of Object.entries(all)) {
    const [text, isShownFixed] = shown.get(`setting-${name}`);
    assert.ok(text.includes(label.en), name);
    assert.equal(isShownFixed, isFixed, name);
  }
  await row(tab, 'PORT').getByText('How to change it').click();
  await row(tab, 'PORT').getByText('Then restart codebuddy2api.').waitFor();
  await row(tab, 'CA_FILE').getByText('How to change it').click();
  await row(tab, 'CA_FILE').getByText('codebuddy2api reload').waitFor();
  await row(tab, 'PASSWORD').getByText('Never shown').waitFor();
  assert.ok(!(await tab.content()).includes(world.system.password));
  await page.close();
});

test('search and filter find them by name and by meaning', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  await page.settled();
  const search = tab.getByLabel('Search settings');
  await search.fill('next credential');
  assert.deepEqual(await tab.locator('.setting-name').allInnerTexts(), ['CODEBUDDY_ROTATION_COUNT']);
  await search.fill('keepalive_s');
  assert.deepEqual(await tab.locator('.setting-name').allInnerTexts(), ['CODEBUDDY_KEEPALIVE_S']);
  await search.fill('no such thing');
  await tab.getByText('No such setting').waitFor();
  await tab.getByRole('button', { name: 'Show all' }).click();
  await tab.getByRole('radio', { name: 'Editable' }).check({ force: true });
  const live = Object.values(await settings()).filter((one) => !one.needs_restart);
  assert.equal(await tab.locator('.setting').count(), live.length);
  await page.close();
});

test('a list, text with lines, replacements, a number, a switch and a choice: saved together, in effect for the next request', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  const list = row(tab, 'MODELS');
  await list.getByRole('button', { name: 'Remove gpt-5', exact: true }).click();
  await list.getByLabel('Add a name').fill('s:chunks, <b>bold</b>');
  await tab.keyboard.press('Enter');
  await list.getByRole('button', { name: 'Move claude-3.7 up' }).click();
  await row(tab, 'SYSTEM_MESSAGE').getByRole('textbox').fill('Be brief.\nBe kind to Rivals.');
  const rules = row(tab, 'REPLACEMENTS');
  await rules.getByRole('button', { name: 'Add a replacement' }).click();
  await rules.getByLabel('Replace 1').fill('Rivals');
  await rules.getByLabel('With 1').fill('"friends"');
  await row(tab, 'ROTATION_COUNT').getByRole('textbox').fill('7');
  await row(tab, 'ACCESS_LOG').getByRole('switch').click({ force: true });
  await row(tab, 'LOG_LEVEL').getByRole('combobox').selectOption('DEBUG');
  await tab.getByText('6 changes are not saved').waitFor();
  await page.checkAccess('settings, edited');
  await page.shot('settings-edited');
  await save(tab);
  await told(tab, '6 saved. They hold from now on.');
  assert.equal(await tab.locator('.save-bar').count(), 0);
  const offered = await models();
  assert.equal(offered[0], 'claude-3.7');
  assert.ok(offered.includes('<b>bold</b>') && offered.includes('s:chunks') && !offered.includes('gpt-5'));
  const ask = async (...messages) => {
    assert.equal((await world.system.chat({ model: 's:chunks', messages: [...messages, { role: 'user', content: 'hi' }] })).status, 200);
    const { requests } = await world.system.upstream.control('requests?kind=chat&limit=1');
    return JSON.parse(requests[0].body).messages[0].content;
  };
  assert.equal(await ask(), 'Be brief.\nBe kind to Rivals.');
  assert.equal(await ask({ role: 'system', content: 'We are Rivals.' }), 'We are "friends".');
  const now = await settings();
  assert.deepEqual([now.CODEBUDDY_ROTATION_COUNT.value, now.CODEBUDDY_ACCESS_LOG.value, now.CODEBUDDY_LOG_LEVEL.value], [7, false, 'DEBUG']);
  await row(tab, 'ROTATION_COUNT').getByText(/by the admin page/).waitFor();
  await tab.reload();
  assert.equal(await row(tab, 'ROTATION_COUNT').getByRole('textbox').inputValue(), '7');
  await rules.getByLabel('With 1').waitFor();
  await page.shot('settings-set');
  await page.close();
});

test('unset: what the environment or the default says holds again', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  for (const name of ['MODELS', 'SYSTEM_MESSAGE', 'REPLACEMENTS', 'ROTATION_COUNT', 'ACCESS_LOG', 'LOG_LEVEL']) await row(tab, name).getByRole('button', { name: 'Unset' }).click();
  await row(tab, 'MODELS').getByText('Will be unset').waitFor();
  await page.shot('settings-unset');
  await row(tab, 'LOG_LEVEL').getByRole('button', { name: 'Keep it' }).click();
  await tab.getByText('5 changes are not saved').waitFor();
  await save(tab);
  await told(tab, '5 saved.');
  const now = await settings();
  assert.deepEqual(Object.keys(now).filter((name) => now[name].source === 'run time'), ['CODEBUDDY_LOG_LEVEL']);
  assert.equal((await models())[0], 'claude-4.0');
  assert.equal(await row(tab, 'ROTATION_COUNT').getByRole('textbox').inputValue(), '10');
  await page.close();
});

test('what is not valid is said at its field, and nothing is saved: by the page, and by the server', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  page.allow(/status of 422/);
  const before = await values();
  await row(tab, 'KEEPALIVE_S').getByRole('textbox').fill('30');
  await row(tab, 'ROTATION_COUNT').getByRole('textbox').fill('2.5');
  await row(tab, 'REPLACEMENTS').getByRole('button', { name: 'Add a replacement' }).click();
  await tab.getByLabel('Search settings').fill('keepalive_s'); // what is wrong is shown, wherever it was hidden
  await save(tab);
  await row(tab, 'ROTATION_COUNT').getByText('A whole number from 0 to 1,000,000.').waitFor();
  await row(tab, 'REPLACEMENTS').getByText('Say what is to be replaced.').waitFor();
  await tab.getByText('2 are not valid; nothing was saved').waitFor();
  await page.checkAccess('settings, wrong');
  await page.shot('settings-wrong');
  assert.deepEqual(await values(), before);
  await row(tab, 'REPLACEMENTS').getByRole('button', { name: 'Remove replacement 1' }).click();
  await row(tab, 'ROTATION_COUNT').getByRole('textbox').fill('5');

  // The page believes it; the server does not.
  await tab.route('**/api/settings', (route) =>
    route.request().method() === 'POST' ? route.continue({ postData: JSON.stringify({ settings: { CODEBUDDY_KEEPALIVE_S: 30, CODEBUDDY_ROTATION_COUNT: -1 } }) }) : route.continue());
  await save(tab);
  await row(tab, 'ROTATION_COUNT').getByText('The server refused it, and nothing was saved').waitFor();
  await tab.waitForFunction(() => document.activeElement?.id === 'input-CODEBUDDY_ROTATION_COUNT');
  assert.deepEqual(await values(), before);
  await tab.unroute('**/api/settings');
  await row(tab, 'ROTATION_COUNT').getByRole('button', { name: 'Revert' }).click();
  await save(tab);
  await told(tab, 'Saved. It holds from now on.');
  assert.deepEqual(await values(), { ...before, CODEBUDDY_KEEPALIVE_S: [30, 'run time'] });
  await page.close();
});

test('who sets what somebody else has set meanwhile is told, and may insist', async () => {
  const set = async (value) => assert.equal((await world.system.fetch('/api/settings', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ settings: value }) })).status, 200);
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  page.allow(/status of 409/);
  const [count, streams] = ['ROTATION_COUNT', 'MAX_STREAMS'].map((name) => row(tab, name).getByRole('textbox'));
  await count.fill('21');
  await streams.fill('77');
  await set({ CODEBUDDY_ROTATION_COUNT: 20 });
  await save(tab);
  await row(tab, 'ROTATION_COUNT').getByText('Somebody else has set it meanwhile, to: 20. Nothing was saved.').waitFor();
  assert.deepEqual([await count.inputValue(), await streams.inputValue()], ['21', '77']);
  let now = await settings();
  assert.deepEqual([now.CODEBUDDY_ROTATION_COUNT.value, now.CODEBUDDY_MAX_STREAMS.source], [20, 'default']);
  await page.checkAccess('settings, changed by another');
  await page.shot('settings-changed');
  await save(tab);
  await told(tab, '2 saved. They hold from now on.');
  now = await settings();
  assert.deepEqual([now.CODEBUDDY_ROTATION_COUNT.value, now.CODEBUDDY_MAX_STREAMS.value], [21, 77]);
  await count.fill('22'); // and who wants what it is now already has it
  await set({ CODEBUDDY_ROTATION_COUNT: 22 });
  await save(tab);
  await tab.locator('.save-bar').waitFor({ state: 'detached' });
  assert.equal((await settings()).CODEBUDDY_ROTATION_COUNT.set_by, 'password');
  await set({ CODEBUDDY_ROTATION_COUNT: null, CODEBUDDY_MAX_STREAMS: null });
  await page.close();
});

test('what is not saved outlives a lost connection and the end of a session, and leaving asks first', async () => {
  const page = await world.open({ view: 'settings' });
  const { tab } = page;
  page.allow(/net::ERR|status of 401|dialog:/);
  const field = row(tab, 'MAX_STREAMS').getByRole('textbox');
  await field.fill('1234');
  await page.context.setOffline(true);
  await tab.getByText('The connection to the gateway is lost.').waitFor();
  await save(tab);
  await told(tab, 'Nothing was saved: The gateway cannot be reached.');
  await page.context.setOffline(false);
  await tab.getByText('Connected again.').waitFor();
  assert.equal(await field.inputValue(), '1234');
  await page.go('keys');
  await tab.getByRole('dialog', { name: 'Leave without saving?' }).getByRole('button', { name: 'Cancel' }).click();
  await tab.waitForFunction(() => location.hash === '#/settings');
  assert.equal(await field.inputValue(), '1234');
  const asked = tab.waitForEvent('dialog');
  await tab.close({ runBeforeUnload: true });
  assert.equal((await asked).type(), 'beforeunload');
  await page.context.clearCookies();
  await save(tab);
  await tab.getByText('Your session is over.').waitFor();
  await tab.getByLabel('Password', { exact: true }).fill(world.system.password);
  await tab.keyboard.press('Enter');
  assert.equal(await field.inputValue(), '1234');
  await page.go('keys');
  await tab.getByRole('button', { name: 'Discard and leave' }).click();
  await tab.getByRole('heading', { name: 'Keys', level: 1 }).waitFor();
  await page.go('settings');
  assert.equal(await field.inputValue(), '10000');
  await page.close();
});

test('a system that does not answer is told, and asked again by itself', async () => {
  const page = await world.open({ view: 'overview' });
  page.allow(/net::ERR/);
  await page.settled();
  await page.context.setOffline(true);
  await page.go('settings');
  await page.tab.getByText('The gateway cannot be reached.').waitFor();
  await page.context.setOffline(false);
  await row(page.tab, 'MODELS').waitFor();
  await page.close();
});
