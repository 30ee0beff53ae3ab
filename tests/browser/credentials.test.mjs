// SPDX-License-Identifier: MIT
// Credentials: every act, a login with all its ways to end, files that are dropped, and names that mean harm.
import { test, before, after, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credential } from '../e2e/harness.mjs';
import { until } from '../e2e/process.mjs';
import { LOOKS, startWorld } from './harness.mjs';

const EVIL = '<img src=x onerror=alert(1)>';
const ALPHA = credential('alpha');
let world;
before(async () => {
  world = await startWorld({ credentials: {
    alpha: ALPHA,
    beta: { ...credential('beta'), email: 'beta@example.com', user_info: { name: EVIL, email: `${EVIL}@example.com` } },
    broken: { user_id: 'no token here' },
  } });
});
after(() => world?.stop());
beforeEach(() => world.system.upstream.control('reset', {}));

const list = async () => (await world.system.fetch('/codebuddy/v1/credentials').then((answer) => answer.json())).credentials;
const row = (tab, name) => tab.getByRole('row').filter({ has: tab.getByText(name, { exact: true }) });
async function pick(tab, name, act) {
  await row(tab, name).getByRole('button', { name: `Actions for ${name}` }).click();
  await tab.getByRole('menuitem', { name: act }).click();
}
const told = (tab, text) => tab.locator('.toasts').getByText(text).first().waitFor();

test('each is shown with its state, and what cannot be used with the reason; names are only names', async () => {
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  await row(tab, 'alpha.json').getByText('Ready').waitFor();
  await row(tab, 'broken.json').getByText('Cannot be used').waitFor();
  await row(tab, 'broken.json').getByText(/bearer_token/).waitFor();
  assert.ok((await row(tab, 'beta.json').textContent()).includes(EVIL));
  await page.close();
});

test('test, pin, end of the pin, rotation', async () => {
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  await pick(tab, 'beta.json', 'Test');
  await told(tab, /beta\.json works\. It answered in/);
  await row(tab, 'beta.json').getByText('1,249.25 of 1,500 credits left').waitFor(); // asked for by the test
  await pick(tab, 'beta.json', 'Pin');
  await told(tab, 'beta.json is pinned.');
  await row(tab, 'beta.json').getByText('Pinned', { exact: true }).waitFor();
  await tab.getByText('Pinned to beta.json').waitFor();
  assert.equal((await world.system.fetch('/codebuddy/v1/credentials/current').then((answer) => answer.json())).status, 'manual_selected');
  await tab.getByRole('button', { name: 'End the pin' }).click();
  await told(tab, 'The pin is over.');
  const rotation = tab.getByRole('switch', { name: 'Rotation' });
  await rotation.click();
  await told(tab, 'Rotation is off.');
  await tab.getByText('Rotation is off: one credential serves until it cannot.').waitFor();
  await rotation.click();
  await told(tab, 'Rotation is on.');
  await page.close();
});

test('one that the upstream refuses is told so', async () => {
  const page = await world.open({ view: 'credentials' });
  page.allow(/status of (4|5)\d\d/);
  await world.system.upstream.control('rule', { token: ALPHA.bearer_token, scenario: 's:403-11140' });
  await pick(page.tab, 'alpha.json', 'Test');
  await told(page.tab, /alpha\.json does not work: /);
  await row(page.tab, 'alpha.json').getByText('Disabled', { exact: true }).waitFor();
  await world.system.upstream.control('reset', {});
  await pick(page.tab, 'alpha.json', 'Enable');
  await row(page.tab, 'alpha.json').getByText('Ready').waitFor();
  await page.close();
});

test('disable and enable, refresh', async () => {
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  await pick(tab, 'alpha.json', 'Disable');
  await row(tab, 'alpha.json').getByText('Disabled', { exact: true }).waitFor();
  await pick(tab, 'alpha.json', 'Enable');
  await row(tab, 'alpha.json').getByText('Ready').waitFor();
  writeFileSync(join(world.system.credsDir, 'fresh.json'), JSON.stringify({ ...credential('fresh'), refresh_token: 'again' }), { mode: 0o600 });
  await row(tab, 'fresh.json').getByText('renews itself').waitFor();
  await pick(tab, 'fresh.json', 'Refresh the token');
  await told(tab, 'fresh.json has a new token.');
  await page.close();
});

test('a deletion can be undone for a moment, and then is one', async () => {
  writeFileSync(join(world.system.credsDir, 'gamma.json'), JSON.stringify(credential('gamma')), { mode: 0o600 });
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  await row(tab, 'gamma.json').waitFor();
  await pick(tab, 'gamma.json', 'Delete');
  await row(tab, 'gamma.json').waitFor({ state: 'detached' });
  await tab.getByRole('button', { name: 'Undo' }).click();
  await row(tab, 'gamma.json').waitFor();
  assert.ok((await list()).some(({ filename }) => filename === 'gamma.json'));
  await pick(tab, 'gamma.json', 'Delete');
  await row(tab, 'gamma.json').waitFor({ state: 'detached' });
  await tab.locator('.toasts').getByRole('button', { name: 'Dismiss' }).last().click();
  await told(tab, 'gamma.json is deleted.');
  assert.ok(!(await list()).some(({ filename }) => filename === 'gamma.json'));
  await page.close();
});

test('who leaves the page meant the deletion', async () => {
  writeFileSync(join(world.system.credsDir, 'delta.json'), JSON.stringify(credential('delta')), { mode: 0o600 });
  const page = await world.open({ view: 'credentials' });
  await row(page.tab, 'delta.json').waitFor();
  await pick(page.tab, 'delta.json', 'Delete');
  await row(page.tab, 'delta.json').waitFor({ state: 'detached' });
  await page.tab.goto('about:blank');
  const again = await world.open({ view: 'credentials' });
  await row(again.tab, 'alpha.json').waitFor();
  await row(again.tab, 'delta.json').waitFor({ state: 'detached' });
  await page.close();
  await again.close();
});

test('files are added as they are, and each bad one is named', async () => {
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  page.allow(/status of 422/);
  await tab.getByRole('button', { name: 'Add', exact: true }).click();
  const dialog = tab.getByRole('dialog', { name: 'Add a credential' });
  const file = (name, content) => ({ name, mimeType: 'application/json', buffer: Buffer.from(content) });
  await dialog.getByLabel('Files', { exact: true }).setInputFiles([
    file('desk.json', JSON.stringify({ auth: { accessToken: 'desktop-token-of-a-person' }, account: { uid: '7' } })),
    file('not.json', 'not JSON'),
    file('list.json', '[]'),
    file(`${EVIL}.json`, JSON.stringify({ bearer_token: 5 })),
    file('large.json', `{"x":"${'y'.repeat(128 * 1024)}"}`),
  ]);
  const results = dialog.getByLabel('Files added');
  await results.getByText('added as desk.json').waitFor();
  await results.getByText('is larger than 128 KiB').waitFor();
  assert.equal(await results.getByText('is not a JSON object').count(), 2);
  await results.getByText(EVIL).waitFor();
  await page.checkAccess('credentials, add');
  await page.shot('credentials-add');
  await tab.keyboard.press('Escape');
  await row(tab, 'desk.json').getByText('Ready').waitFor();
  await page.close();
});

test('a file that is dropped on the view is added', async () => {
  const page = await world.open({ view: 'credentials' });
  const { tab } = page;
  await row(tab, 'alpha.json').waitFor();
  await tab.evaluate(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([JSON.stringify({ bearer_token: 'dropped-token-of-a-person' })], 'dropped.json', { type: 'application/json' }));
    document.querySelector('.drop-view').dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
  });
  await tab.getByText('added as dropped.json').waitFor();
  await tab.keyboard.press('Escape');
  await row(tab, 'dropped.json').waitFor();
  await page.close();
});

test('a token is added by hand; what is wrong is said at its field', async () => {
  const page = await world.open({ view: 'credentials?act=add' });
  const { tab } = page;
  page.allow(/status of 422/);
  const dialog = tab.getByRole('dialog', { name: 'Add a credential' });
  const submit = dialog.getByRole('button', { name: 'Add the token' });
  await submit.click();
  await dialog.getByText('Paste the token.').waitFor();
  await dialog.getByLabel('Access token').fill('a b');
  await dialog.getByLabel('Valid for days').fill('soon');
  await submit.click();
  await dialog.getByText('A number of days, at least 1.').waitFor();
  await dialog.getByLabel('Valid for days').fill('30');
  await submit.click();
  await dialog.getByText(/bearer_token/).waitFor();
  await dialog.getByLabel('Access token').fill('a-token-typed-by-a-person');
  await dialog.getByLabel('User').fill('typed');
  await dialog.getByLabel('Site').selectOption('intl');
  await submit.click();
  await told(tab, 'Added as typed.json.');
  await row(tab, 'typed.json').getByText('Site intl').waitFor();
  assert.ok(!(await tab.content()).includes('a-token-typed-by-a-person'));
  await page.close();
});

// ---- login ----

const INTERVAL_MS = 5000; // as credd says it to the page

const login = async (page) => {
  await page.tab.getByRole('button', { name: 'Log in with CodeBuddy' }).first().click();
  return page.tab.getByRole('dialog', { name: 'Log in with CodeBuddy' });
};
// From here on the page's clock is ours: it goes on by itself, and as much further as we say. Resolves to a function that
// has one interval pass after the other until `shown` is there, and then tells how the polls were answered.
async function fastClock({ tab }) {
  const statuses = [];
  tab.on('response', (response) => /auth\/poll/.test(response.url()) && statuses.push(response.status()));
  await tab.clock.install();
  await tab.evaluate(() => {
    const real = window.fetch;
    window.asked = [];
    window.fetch = (url, ...rest) => (/auth\/(start|poll)/.test(url) && window.asked.push({ url, at: Date.now() }), real(url, ...rest));
  });
  return async (shown) => {
    await until(async () => {
      await tab.clock.runFor(INTERVAL_MS);
      return shown.isVisible();
    }, 'the end of the login');
    const asked = await tab.evaluate(() => window.asked);
    const gaps = asked.flatMap(({ url, at }, i) => (url.endsWith('poll') ? [at - asked[i - 1].at] : []));
    assert.ok(gaps.every((gap) => gap >= INTERVAL_MS), `it asks more often than it may: ${gaps}`);
    return statuses;
  };
}

test('a login waits, is done, and its credential serves', async () => {
  const page = await world.open({ view: 'credentials' });
  page.allow(/status of 400.*auth\/poll/);
  await world.system.upstream.control('account', { pending: 2, email: 'person@example.com' });
  const passTime = await fastClock(page);
  const dialog = await login(page);
  await dialog.getByText('Waiting for your login').waitFor();
  const link = dialog.getByRole('link', { name: 'Open the login page' });
  assert.match(await link.getAttribute('href'), /^https?:\/\//);
  assert.equal(await link.getAttribute('rel'), 'noopener noreferrer');
  await dialog.getByText(/left$/).waitFor();
  await page.checkAccess('credentials, login');
  await page.shot('credentials-login');
  assert.deepEqual(await passTime(dialog.getByText('You are logged in')), [400, 400, 200]);
  await dialog.getByRole('button', { name: 'Done' }).click();
  await row(page.tab, 'person_example.com.json').getByText('Ready').waitFor();
  await page.close();
});

test('a login that the upstream refuses says why, and can begin again', async () => {
  const page = await world.open({ view: 'credentials' });
  page.allow(/status of (400|502)/);
  await world.system.upstream.control('answer', { call: 'poll', code: 11403, msg: 'this account may not' });
  const passTime = await fastClock(page);
  const dialog = await login(page);
  assert.deepEqual(await passTime(dialog.getByText('The login did not work')), [400]);
  await page.shot('credentials-login-failed');
  await world.system.upstream.control('reset', {});
  await world.system.upstream.control('account', { pending: 0, email: 'second@example.com' });
  await dialog.getByRole('button', { name: 'Start again' }).click();
  assert.deepEqual(await passTime(dialog.getByText('You are logged in')), [400, 200]);
  await page.close();
});

test('an upstream that is away is told, and so are too many logins; closing the dialog cancels one', async () => {
  const page = await world.open({ view: 'credentials' });
  page.allow(/status of (400|429|502)/);
  await world.system.upstream.control('answer', { call: 'start', status: 500, html: true });
  let dialog = await login(page);
  await dialog.getByText('CodeBuddy could not be reached').waitFor();
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await world.system.upstream.control('reset', {});
  await world.system.upstream.control('account', { pending: 1000 });
  const start = () => world.system.fetch('/codebuddy/auth/start', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }).then((answer) => answer.json());
  const open = [await start(), await start(), await start()];
  dialog = await login(page);
  await dialog.getByText('Too many logins are open.').waitFor();
  for (const { auth_state } of open)
    await world.system.fetch('/codebuddy/auth/cancel', { method: 'POST', body: JSON.stringify({ auth_state }), headers: { 'content-type': 'application/json' } });
  await dialog.getByRole('button', { name: 'Start again' }).click();
  await dialog.getByText('Waiting for your login').waitFor();
  const cancelled = page.tab.waitForResponse(/auth\/cancel/);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await cancelled).status(), 200);
  await page.close();
});

for (const look of LOOKS)
  test(`all kinds of credentials, ${Object.values(look)}`, async () => {
    const page = await world.open({ ...look, view: 'credentials' });
    await page.tab.getByText('alpha.json', { exact: true }).first().waitFor();
    await page.settled();
    await page.checkAccess();
    await page.checkWidth();
    await page.shot('credentials-list');
    await page.close();
  });
