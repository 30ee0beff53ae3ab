// SPDX-License-Identifier: MIT
// Counters over the death of each kind of process; what /livez and /readyz say when a process dies, hangs or
// lacks something.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { startSystem, user } from '../e2e/harness.mjs';
import { pidOf, processes, restarted, until } from '../faults/load.mjs';
import { samplesOf, typesOf } from './prometheus.mjs';

let system;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_WORKERS: '1' } });
});
after(() => system?.stop());

const readiness = async () => {
  const response = await system.ops('/readyz');
  return { ...(await response.json()), status: response.status };
};
const isReady = () => until(async () => (await readiness()).status === 200, '/readyz to be 200');
// Waits for a reason; /livez answers meanwhile.
const isNotReady = (reason) =>
  until(async () => {
    assert.equal((await system.ops('/livez')).status, 200);
    const { status, reasons } = await readiness();
    assert.equal(status, reasons.length > 0 ? 503 : 200);
    return reasons.includes(reason);
  }, `/readyz to say: ${reason}`);

// A page and what on it only grows.
async function counters() {
  const response = await fetch(`http://127.0.0.1:${system.opsPort}/metrics`).catch(() => null); // statsd is being restarted
  if (!response) return null;
  const page = await response.text();
  const types = typesOf(page);
  const grows = (series) => {
    const name = /^[a-z0-9_]+/.exec(series)[0];
    return types.get(name) === 'counter' || types.get(name.replace(/_(bucket|sum|count)$/, '')) === 'histogram';
  };
  return new Map([...samplesOf(page)].filter(([series]) => grows(series)));
}

test('counters go on whichever process is killed', async () => {
  const seen = new Map();
  const look = async () => {
    const now = await counters();
    if (!now) return null;
    for (const [series, value] of seen) assert.ok(now.get(series) >= value, `${series} was ${value} and is ${now.get(series)}`);
    for (const [series, value] of now) seen.set(series, value);
    return now;
  };
  const restarts = (now, role) => [...now].find(([series]) => series.startsWith(`codebuddy2api_process_restarts_total{role="${role}"`))?.[1];
  const completions = (now) => [...now].filter(([series]) => series.startsWith('codebuddy2api_requests_total')).reduce((sum, [, value]) => sum + value, 0);
  let asked = 0;
  const say = async () => {
    const answer = await system.chat({ model: 's:chunks', messages: [user()] }).catch(() => null);
    await answer?.text();
    if (answer?.status !== 200) return false;
    return ++asked;
  };
  for (const role of ['upstream-worker', 'gateway', 'credd', 'statsd', null]) {
    await until(say, 'an answer');
    await until(async () => {
      const now = await look();
      return now && completions(now) >= asked;
    }, 'the completion to be counted');
    if (!role) break;
    const pid = await pidOf(system, role);
    process.kill(pid, 'SIGKILL');
    await restarted(system, role, [pid]);
    await until(async () => {
      await say(); // counters are saved every second while requests finish, and every five without
      const now = await look();
      return now && restarts(now, role) === 1;
    }, `the restart of ${role} to be counted`);
  }
  assert.ok(seen.size > 100);
});

test('a process that hangs: not ready, and it says which', async () => {
  await isReady();
  for (const [role, reason] of [
    ['credd', 'credd is not connected'],
    ['upstream-worker', 'no upstream-worker is connected'],
    ['gateway', 'no gateway is connected'],
  ]) {
    const pid = await pidOf(system, role);
    process.kill(pid, 'SIGSTOP');
    try {
      await isNotReady(reason);
      const page = await (await system.ops('/metrics')).text();
      assert.match(page, new RegExp(`^codebuddy2api_process_up\\{role="${role}",process="${role}-\\S+"\\} 0$`, 'm'));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await isReady();
  }
});

test('no usable credential: not ready', async () => {
  const [name] = readdirSync(system.credsDir).filter((file) => file.endsWith('.json'));
  renameSync(join(system.credsDir, name), join(system.dir, name));
  await isNotReady('no credential is usable');
  renameSync(join(system.dir, name), join(system.credsDir, name));
  await isReady();
});

test('a supervisor that hangs is shown as down', async () => {
  const { pid } = await system.status();
  process.kill(pid, 'SIGSTOP');
  try {
    await until(async () => /^codebuddy2api_process_up\{role="supervisor"\S+ 0$/m.test(await (await system.ops('/metrics')).text()), 'it to be shown as down');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await until(async () => /^codebuddy2api_process_up\{role="supervisor"\S+ 1$/m.test(await (await system.ops('/metrics')).text()), 'it to be shown as up');
  for (const role of ['gateway', 'upstream-worker', 'credd', 'statsd']) assert.ok((await processes(system, role)).every(({ state }) => state === 'ready'), role);
});
