// SPDX-License-Identifier: MIT
// The overview: the verdict in plain words, ranges, charts, and who used what.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { diagnose } from '../../gateway/web/src/views/overview/diagnose.js';
import { CREDENTIAL_IDS } from './history.mjs';
import { startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld({ history: true })));
after(() => world?.stop());

const number = (text) => Number(text.replace(/[^\d.]/g, '')) * (/K/.test(text) ? 1000 : 1);
const tile = (page, label) => page.tab.locator('.tile', { has: page.tab.getByText(label, { exact: true }) }).locator('dd').first();

test('ranges: each its own numbers and charts, kept in the address', async () => {
  const page = await world.open();
  const { tab } = page;
  await page.settled();
  const seen = {};
  for (const [label, range] of [['24 hours', '24h'], ['1 hour', '1h'], ['30 days', '30d']]) {
    await tab.getByRole('radio', { name: label }).check({ force: true });
    await tab.waitForFunction((want) => location.hash.includes(want), range);
    await page.settled();
    seen[range] = number(await tile(page, 'Requests').innerText());
    await tab.waitForFunction(() => document.querySelectorAll('.u-wrap canvas').length === 4);
  }
  assert.ok(seen['1h'] > 0 && seen['24h'] > seen['1h'] && seen['30d'] > seen['24h'], JSON.stringify(seen));
  await tab.reload();
  assert.ok(await tab.getByRole('radio', { name: '30 days' }).isChecked());
  await page.settled();
  await page.shot('overview_30d');
  await page.close();
});

test('a chart tells its values to those who use the keyboard', async () => {
  const page = await world.open({ view: 'overview?range=30d' });
  const { tab } = page;
  await page.settled();
  const chart = tab.getByRole('figure', { name: 'Requests' });
  const shown = () => chart.locator('.legend').innerText();
  const totals = await shown();
  await chart.getByRole('img').focus();
  await tab.keyboard.press('End');
  await tab.waitForFunction((old) => document.querySelector('.chart .legend').innerText !== old, totals);
  const last = await shown();
  await tab.keyboard.press('ArrowLeft');
  await tab.waitForFunction((old) => document.querySelector('.chart .legend').innerText !== old, last);
  await tab.keyboard.press('Escape');
  await tab.waitForFunction((old) => document.querySelector('.chart .legend').innerText === old, totals);
  assert.ok(await chart.locator('.u-cursor-x').evaluate((one) => one.getBoundingClientRect().right < one.parentElement.getBoundingClientRect().left), 'the line in the chart is gone too');
  await chart.getByRole('img').evaluate((one) => ['Home', 'ArrowRight', 'Escape'].forEach((key) => one.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })))); // faster than it is drawn
  await tab.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  assert.equal(await shown(), totals);
  await page.close();
});

test('charts whose library did not come are drawn when the connection is back', async () => {
  const page = await world.open({ view: 'keys' });
  const { tab } = page;
  page.allow(/net::ERR/);
  const index = await (await world.system.fetch('/')).text();
  const isLate = (url) => /\/assets\/part-.*\.js$/.test(url) && !index.includes(new URL(url).pathname); // what is loaded when it is needed
  await tab.route((url) => isLate(url.href), (route) => route.abort());
  const refused = tab.waitForEvent('requestfailed', (request) => isLate(request.url()));
  await tab.reload();
  await page.go('overview?range=30d');
  await refused;
  await page.settled();
  assert.equal(await tab.locator('canvas').count(), 0);
  await page.context.setOffline(true);
  await tab.getByText('The connection to the gateway is lost.').waitFor();
  await tab.unrouteAll();
  await page.context.setOffline(false);
  await tab.waitForFunction(() => document.querySelectorAll('.u-wrap canvas').length === 4);
  await page.close();
});

test('who used what: models, credentials and keys add up to the same, and lead to their requests', async () => {
  const page = await world.open({ view: 'overview?range=30d' });
  const { tab } = page;
  const sums = {};
  for (const by of ['Model', 'Credential', 'Key']) {
    await tab.getByRole('radio', { name: by, exact: true }).check({ force: true });
    await tab.getByRole('columnheader', { name: by }).waitFor();
    await page.settled();
    const cells = await tab.locator('.breakdown tbody tr td:nth-of-type(2)').allInnerTexts();
    sums[by] = cells.reduce((sum, text) => sum + number(text), 0);
  }
  assert.ok(sums.Model > 1000);
  assert.equal(sums.Credential, sums.Model);
  assert.equal(sums.Key, sums.Model);
  await tab.getByRole('radio', { name: 'Credential' }).check({ force: true });
  const tokens = await tab.getByRole('row', { name: /^team\.json/ }).locator('[data-label="Tokens"]').innerText();
  await page.go('credentials');
  await tab.getByRole('row', { name: /^team\.json/ }).locator('[data-label="Tokens, 30 d"]').getByText(tokens, { exact: true }).waitFor();
  await tab.goBack();
  await tab.getByRole('radio', { name: 'Credential' }).check({ force: true });
  await tab.getByRole('link', { name: 'team.json' }).click();
  await tab.getByRole('heading', { name: 'Requests' }).waitFor();
  assert.match(tab.url(), new RegExp(`credential=${CREDENTIAL_IDS.team}`));
  await page.settled();
  const credentials = await tab.locator('tbody tr td:nth-of-type(7)').allInnerTexts();
  assert.ok(credentials.length > 10);
  assert.deepEqual([...new Set(credentials)], ['team.json']);
  await page.close();
});

test('what is wrong is said in one sentence, with the way to where it is put right', async () => {
  const page = await world.open();
  const { tab } = page;
  await tab.getByText('Everything works').waitFor();
  await tab.getByText('3 of 3 credentials can serve.').waitFor();
  const { credentials } = await (await world.system.fetch('/codebuddy/v1/credentials')).json();
  const act = async (what) => {
    for (const { id } of credentials) assert.equal((await world.system.fetch(`/codebuddy/v1/credentials/${id}/${what}`, { method: 'POST' })).status, 200);
  };
  await act('disable');
  await tab.getByRole('alert').getByText('Every credential is switched off').waitFor();
  await tab.locator('.side-fixed .pill', { hasText: 'Unhealthy' }).waitFor();
  assert.equal(await tab.getByRole('link', { name: 'Go to the credentials' }).getAttribute('href'), '#/credentials');
  await page.checkAccess('trouble');
  await page.shot('overview_trouble');
  await act('enable');
  await tab.getByText('Everything works').waitFor();
  await page.close();
});

test('sums that are still being made are told', async () => {
  const page = await world.open({ view: 'keys' });
  await page.tab.route('**/api/usage*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), missing_events: 1234 } });
  });
  await page.go('overview');
  await page.tab.getByText('The sums of 1,234 older requests are still being made').waitFor();
  await page.close();
});

// The rule itself, for what a running system does not easily do.
test('the worst trouble is the one that is told', () => {
  const now = 1000;
  const well = { health: { status: 'healthy', reasons: [] }, current: {}, now };
  const reason = (code) => ({ status: 'degraded', reasons: [{ code, message: `m-${code}` }] });
  const states = (...all) => all.map((state) => ({ state, until: state === 'cooling' ? now + 60 : null }));
  const cases = [
    [{ ...well, health: null, credentials: null }, undefined],
    [{ ...well, credentials: null }, undefined],
    [{ ...well, credentials: states('ready', 'ready') }, 'healthy'],
    [{ ...well, credentials: [] }, 'no_credential'],
    [{ ...well, credentials: states('cooling', 'needs_login') }, 'all_cooling'],
    [{ ...well, credentials: states('exhausted', 'disabled') }, 'all_exhausted'],
    [{ ...well, credentials: states('disabled', 'disabled') }, 'all_disabled'],
    [{ ...well, credentials: states('expired', 'needs_login') }, 'all_need_login'],
    [{ ...well, credentials: states('ready', 'needs_login') }, 'some_need_login'],
    [{ ...well, credentials: states('ready', 'disabled') }, 'healthy'],
    [{ ...well, credentials: states('ready'), current: { pinned_id: 'x', status: 'auto_rotation' } }, 'pin_failed'],
    [{ ...well, credentials: states('ready'), current: { pinned_id: 'x', status: 'manual_selected' } }, 'healthy'],
    [{ ...well, health: reason('no_worker'), credentials: [] }, 'no_worker'],
    [{ ...well, health: reason('no_ready_worker'), credentials: null }, 'no_worker'],
    [{ ...well, health: reason('credd_away'), credentials: states('disabled') }, 'credd_away'],
    [{ ...well, health: reason('statsd_away'), credentials: [] }, 'no_credential'],
    [{ ...well, health: reason('statsd_away'), credentials: states('ready') }, 'statsd_away'],
    [{ ...well, health: reason('ledger_failing'), credentials: states('ready') }, 'ledger_failing'],
    [{ ...well, health: reason('something_new'), credentials: states('ready') }, 'reason'],
  ];
  for (const [said, key] of cases) assert.equal(diagnose(said)?.key, key, JSON.stringify(said));
  assert.equal(diagnose(cases[4][0]).params.s, 60);
  assert.equal(diagnose(cases.at(-1)[0]).params.message, 'm-something_new');
});
