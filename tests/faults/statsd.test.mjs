// SPDX-License-Identifier: MIT
// kill -9 of statsd under load: clients see nothing, and every event is in the ledger exactly once.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem } from '../e2e/harness.mjs';
import { assertComplete, keepAsking, pidOf, restarted, textOf, until } from './load.mjs';

let system;
before(async () => {
  system = await startSystem();
});
after(() => system?.stop());

test('killed three times under load: nothing is seen, nothing is lost, nothing counts twice', async (t) => {
  const model = 's:chunks?key=count';
  const load = keepAsking(system, model);
  for (let i = 0; i < 3; i++) {
    const asked = load.ends.length;
    await until(() => load.ends.length > asked + 20, 'some requests');
    const pid = await pidOf(system, 'statsd');
    process.kill(pid, 'SIGKILL');
    const back = performance.now();
    assert.equal((await system.ops('/livez')).status, 200);
    t.diagnostic(`the ops endpoint was back after ${(performance.now() - back).toFixed(0)} ms`);
    await restarted(system, 'statsd', [pid]);
  }
  const ends = await load.stop();
  assertComplete(ends, textOf(5));
  const totals = () => system.fetch('/api/stats').then((response) => response.json());
  const reached = await until(async () => {
    const now = await totals();
    return now.totals?.requests >= ends.length && now; // an error while the gateway's link is not back yet
  }, 'all events to arrive');
  assert.equal(reached.totals.requests, ends.length);
  assert.equal(reached.totals.prompt_tokens, ends.length * 11);
  assert.equal(reached.totals.completion_tokens, ends.length * 5);
});
