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

for (const view of VIEWS)
  for (const look of LOOKS)
    test(`${view}, ${Object.values(look)}`, async () => {
      const page = await world.open({ ...look, view });
      await page.settled();
      assert.ok((await page.tab.title()).length > 'codebuddy2api'.length);
      await page.checkAccess(view);
      await page.checkWidth(view);
      await page.shot(view);
      await page.close();
    });

test('the list of views is whole', async () => {
  const page = await world.open();
  const links = await page.tab.locator('.side-fixed .nav-link').evaluateAll((all) => all.map((one) => one.getAttribute('href').slice(2)));
  assert.deepEqual(links.sort(), [...VIEWS].sort());
  await page.close();
});
