// SPDX-License-Identifier: MIT
// kill -9 of credd: what runs goes on, what is new waits for its lease.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem } from '../e2e/harness.mjs';
import { ask, assertComplete, keepAsking, pidOf, restarted, textOf } from './load.mjs';

let system;
before(async () => {
  system = await startSystem();
});
after(() => system?.stop());

test('requests in flight go on, new ones wait, and no client sees anything', async (t) => {
  const pid = await pidOf(system, 'credd');
  const running = Array.from({ length: 20 }, () => ask(system, 's:chunks?n=60&gap_ms=50&key=run'));
  await Promise.all(running.map((call) => call.started));
  process.kill(pid, 'SIGKILL');
  const late = Array.from({ length: 20 }, (_, i) => ask(system, 's:chunks?key=late', { stream: i % 2 === 0 }));
  const ends = await Promise.all(late.map((call) => call.done));
  assertComplete(ends, textOf(5));
  t.diagnostic(`the slowest new request took ${Math.max(...ends.map((end) => end.took_ms)).toFixed(0)} ms`);
  assertComplete(await Promise.all(running.map((call) => call.done)), textOf(60));
  await restarted(system, 'credd', [pid]);
});

test('killed again and again under load: every request is answered whole', async () => {
  const load = keepAsking(system, 's:chunks?key=load');
  for (let i = 0; i < 3; i++) {
    const pid = await pidOf(system, 'credd');
    process.kill(pid, 'SIGKILL');
    await restarted(system, 'credd', [pid]);
  }
  assertComplete(await load.stop(), textOf(5));
});

test('away for longer than a request waits: 503 with Retry-After; afterwards all is well', async () => {
  const pid = await pidOf(system, 'credd');
  process.kill(pid, 'SIGSTOP');
  let end;
  try {
    end = await ask(system, 's:chunks?key=away', { stream: false }).done;
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  assert.equal(end.kind, 'failed');
  assert.equal(end.status, 503);
  assert.ok(Number(end.response.header('retry-after')) >= 1);
  assertComplete([await ask(system, 's:chunks?key=back').done], textOf(5));
});
