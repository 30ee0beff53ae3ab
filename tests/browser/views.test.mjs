// SPDX-License-Identifier: MIT
// Every view in every look: no complaint, nothing that hinders, nothing too wide; and a picture of it for people.
// A new view needs a line here and nothing else.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { LOOKS, startWorld } from './harness.mjs';

const VIEWS = ['overview', 'credentials', 'playground', 'keys', 'requests', 'processes', 'settings'];

let world;
before(async () => (world = await startWorld({ history: true })));
after(() => world?.stop());

// From view to view, as people go: the page is loaded once for a look.
for (const look of LOOKS)
  test(`every view, ${Object.values(look)}`, async (t) => {
    const page = await world.open({ ...look, view: VIEWS[0] });
    const titles = new Set();
    for (const view of VIEWS)
      await t.test(view, async () => {
        await page.go(view);
        await page.tab.locator(`.nav-link[aria-current=page][href="#/${view}"]`).waitFor({ state: 'attached' });
        await page.settled();
        titles.add(await page.tab.title());
        await page.checkAccess(view);
        await page.checkWidth(view);
        await page.shot(view);
      });
    assert.equal(titles.size, VIEWS.length, [...titles].join());
    await page.close();
  });

test('the list of views is whole', async () => {
  const page = await world.open();
  const links = await page.tab.locator('.side-fixed .nav-link').evaluateAll((all) => all.map((one) => one.getAttribute('href').slice(2)));
  assert.deepEqual(links.sort(), [...VIEWS].sort());
  await page.close();
});
