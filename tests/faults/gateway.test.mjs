// SPDX-License-Identifier: MIT
// kill -9 of the gateway: open connections break, new ones wait in the socket that the supervisor holds.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem } from '../e2e/harness.mjs';
import { ask, assertComplete, pidOf, restarted, textOf } from './load.mjs';

let system;
before(async () => {
  system = await startSystem();
});
after(() => system?.stop());

test('its streams break, its transfers are cancelled, new connections are served by the next one', async (t) => {
  const mark = await system.upstream.mark();
  const pid = await pidOf(system, 'gateway');
  const streams = Array.from({ length: 20 }, () => ask(system, 's:slow?n=2000&key=gone'));
  await Promise.all(streams.map((call) => call.started));
  process.kill(pid, 'SIGKILL');
  const late = Array.from({ length: 20 }, (_, i) => ask(system, 's:chunks?key=next', { stream: i % 2 === 0 }));

  for (const end of await Promise.all(streams.map((call) => call.done))) assert.equal(end.kind, 'broken');
  const ends = await Promise.all(late.map((call) => call.done));
  // A connection made before the kernel tore the old process down may have been its own: that one breaks.
  const served = ends.filter((end) => end.kind !== 'broken');
  assertComplete(served, textOf(5));
  assert.ok(served.length >= 19, `${ends.length - served.length} of 20 new connections broke`);
  const slowest = Math.max(...served.map((end) => end.took_ms));
  t.diagnostic(`the slowest new connection was served after ${slowest.toFixed(0)} ms`);
  assert.ok(slowest < 10_000);
  await mark.reaches('aborts', 20);
  await restarted(system, 'gateway', [pid]);
});

test('the ops port answers while the gateway is down', async () => {
  const pid = await pidOf(system, 'gateway');
  process.kill(pid, 'SIGSTOP');
  try {
    assert.equal((await system.ops('/livez')).status, 200);
    assert.equal((await system.ops('/metrics')).status, 200);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  assertComplete([await ask(system, 's:chunks').done], textOf(5));
});
