// SPDX-License-Identifier: MIT
// kill -9 and SIGSTOP of an upstream-worker under load (design.md, "When each dies").
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem } from '../e2e/harness.mjs';
import { ask, assertComplete, keepAsking, processes, restarted, textOf, until } from './load.mjs';

let system;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_WORKERS: '2' } });
});
after(() => system?.stop());

const many = (count, model, options = () => ({})) => Array.from({ length: count }, (_, i) => ask(system, model, options(i)));
const victim = async () => (await processes(system, 'upstream-worker'))[0].pid;

test('killed before the first byte: the requests move, and no client sees anything', async (t) => {
  const mark = await system.upstream.mark();
  const pid = await victim();
  const calls = many(20, 's:chunks?header_ms=2000&key=move', (i) => ({ stream: i % 2 === 0 }));
  await mark.reaches('chat', 20); // all of them are at the upstream, and it is silent
  process.kill(pid, 'SIGKILL');
  assertComplete(await Promise.all(calls.map((call) => call.done)), textOf(5));
  const moved = (await mark.since('chat')) - 20;
  t.diagnostic(`${moved} of 20 requests moved`);
  assert.ok(moved >= 1, 'the killed worker had none of them');
  await restarted(system, 'upstream-worker', [pid]);
});

test('killed after the first byte: an error event and a clean end; plain ones move; the other worker goes on', async (t) => {
  const pid = await victim();
  const streams = many(20, 's:chunks?n=60&gap_ms=50&key=after');
  const plain = many(6, 's:chunks?n=60&gap_ms=50&key=plain', () => ({ stream: false }));
  await Promise.all(streams.map((call) => call.started));
  process.kill(pid, 'SIGKILL');
  const ends = await Promise.all(streams.map((call) => call.done));
  const lost = ends.filter((end) => end.kind === 'failed');
  const whole = ends.filter((end) => end.kind === 'complete');
  assert.equal(lost.length + whole.length, 20, 'a stream that did not end cleanly');
  assertComplete(whole, textOf(60));
  for (const end of lost) {
    assert.equal(end.code, 'worker_lost');
    assert.ok(textOf(60).startsWith(end.content) && end.content.length > 0);
  }
  t.diagnostic(`${lost.length} of 20 streams lost their worker`);
  assert.ok(lost.length >= 1 && whole.length >= 1, `${lost.length} lost, ${whole.length} whole`);
  assertComplete(await Promise.all(plain.map((call) => call.done)), textOf(60));
  await restarted(system, 'upstream-worker', [pid]);
});

// Two kills, since a request moves at most twice; plain ones, since a stream that has begun is not moved.
test('killed one after the other under load: every request is answered whole', async () => {
  const load = keepAsking(system, 's:chunks?header_ms=300&key=again', { lanes: 16, plain: true });
  for (let i = 0; i < 2; i++) {
    const asked = load.ends.length;
    await until(() => load.ends.length > asked + 16, 'some answers');
    const pid = (await processes(system, 'upstream-worker'))[i].pid;
    process.kill(pid, 'SIGKILL');
    await restarted(system, 'upstream-worker', [pid]);
  }
  assertComplete(await load.stop(), textOf(5));
});

test('hung: noticed within 3 s; its requests move or end; it is replaced', async (t) => {
  const pid = await victim();
  const streams = many(10, 's:chunks?n=100&gap_ms=100&key=hung');
  await Promise.all(streams.map((call) => call.started));
  const from = performance.now();
  process.kill(pid, 'SIGSTOP');
  // Half of these go to the one that hangs, as the least loaded: they must come through all the same.
  const late = many(10, 's:chunks?key=late', (i) => ({ stream: i % 2 === 0 }));
  assertComplete(await Promise.all(late.map((call) => call.done)), textOf(5));
  t.diagnostic(`new requests were through after ${(performance.now() - from).toFixed(0)} ms`);
  const ends = await Promise.all(streams.map((call) => call.done));
  const lost = ends.filter((end) => end.kind === 'failed');
  assert.ok(lost.length >= 1 && lost.every((end) => end.code === 'worker_lost'));
  const noticed_ms = Math.max(...lost.map((end) => end.took_ms)) - Math.min(...lost.map((end) => end.took_ms));
  assertComplete(ends.filter((end) => end.kind === 'complete'), textOf(100));
  assert.ok(performance.now() - from < 60_000, `lost streams spread over ${noticed_ms} ms`);
  await restarted(system, 'upstream-worker', [pid]); // ten seconds of silence are a hang
});
