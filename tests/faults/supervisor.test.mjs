// SPDX-License-Identifier: MIT
// The supervisor: drain, reload, its own death, and what it refuses to start.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR, System, credential, startSystem } from '../e2e/harness.mjs';
import { ask, assertComplete, isAlive, keepAsking, processes, textOf, until } from './load.mjs';

const run = promisify(execFile);

// Ends with the test, however that ends.
async function started(t, options) {
  const system = await startSystem(options);
  t.after(async () => {
    if (system.child.end) return;
    system.child.kill('SIGKILL');
    await system.child.exited;
    await system.upstream.stop();
  });
  return system;
}

test('SIGTERM: what runs is finished, its usage is kept, exit status 0', async (t) => {
  const system = await started(t);
  const streams = Array.from({ length: 10 }, (_, i) => ask(system, 's:chunks?n=40&gap_ms=50&key=drain', { stream: i % 2 === 0 }));
  await Promise.all(streams.filter((call) => call.stream).map((call) => call.started));
  system.child.kill('SIGTERM');
  assertComplete(await Promise.all(streams.map((call) => call.done)), textOf(40));
  assert.deepEqual(await system.child.exited, { code: 0, signal: null });
  const { stdout } = await run('sh', ['-c', 'sqlite3 "$(find "$0" -name "*.db" -o -name "*.sqlite*" | grep -v -e -wal -e -shm | head -1)" .dump', system.dataDir]);
  const rows = stdout.split('\n').filter((line) => line.includes('key=drain') && /INSERT/i.test(line));
  assert.ok(rows.length >= 10, `${rows.length} rows in the ledger`);
  await system.stop();
});

test('the answer to SIGTERM does not wait for what never ends: CODEBUDDY_DRAIN_S is the limit', async (t) => {
  const system = await started(t, { env: { CODEBUDDY_DRAIN_S: '1' } });
  const stream = ask(system, 's:silent-middle');
  await stream.started;
  const from = performance.now();
  system.child.kill('SIGTERM');
  const end = await stream.done;
  assert.notEqual(end.kind, 'complete');
  assert.deepEqual(await system.child.exited, { code: 0, signal: null });
  assert.ok(performance.now() - from < 30_000);
  await system.stop();
});

test('reload: every process is replaced, and no request fails', async (t) => {
  const system = await started(t);
  const before = (await system.status()).processes.map(({ pid }) => pid);
  const load = keepAsking(system, 's:chunks?gap_ms=20&key=reload');
  await until(() => load.ends.length > 20, 'some requests');
  system.child.kill('SIGHUP');
  await until(async () => {
    const now = (await system.status()).processes;
    return now.every(({ pid, state }) => state === 'ready' && !before.includes(pid)) && now.length === before.length;
  }, 'all processes to be replaced');
  const asked = load.ends.length;
  await until(() => load.ends.length > asked + 20, 'some more requests');
  assertComplete(await load.stop(), textOf(5));
  await system.stop();
});

test('the command: reload and stop return when it is done, status says when nothing runs', async (t) => {
  const system = await started(t);
  const before = (await system.status()).processes.map(({ pid }) => pid);
  await system.command('reload');
  const after = (await system.status()).processes.map(({ pid }) => pid);
  assert.ok(after.length === before.length && !after.some((pid) => before.includes(pid)), `${before} and ${after}`);
  assertComplete([await ask(system, 's:chunks').done], textOf(5));
  await system.command('stop');
  assert.ok(!after.some(isAlive));
  assert.deepEqual(await system.child.exited, { code: 0, signal: null });
  await assert.rejects(system.command('status', '--json'), ({ code }) => code === 3);
  await system.stop();
});

test('the command: --check, --print-env, --help, --version', async (t) => {
  const system = await started(t);
  await system.command('--check');
  const sample = await system.command('--print-env');
  for (const name of ['CODEBUDDY_PASSWORD', 'CODEBUDDY_PORT', 'CODEBUDDY_DRAIN_S']) assert.match(sample, new RegExp(`^# ?${name}=`, 'm'));
  assert.match(await system.command('--help'), /CODEBUDDY_ROTATION_COUNT/);
  assert.match(await system.command('--version'), /\d+\.\d+\.\d+/);
  system.env.CODEBUDDY_PORT = 'many';
  await assert.rejects(system.command('--check'), ({ code }) => code === 78);
  await system.stop();
});

test('killed: its processes see it and end; a new one in the same place serves', async (t) => {
  const system = await started(t);
  const pids = (await system.status()).processes.map(({ pid }) => pid);
  assertComplete([await ask(system, 's:chunks').done], textOf(5));
  system.child.kill('SIGKILL');
  await until(() => !pids.some(isAlive), 'the processes to end');
  await system.start();
  assertComplete([await ask(system, 's:chunks').done], textOf(5));
  await system.stop();
});

test('a second one in the same run directory is refused; the first does not notice', async (t) => {
  const system = await started(t);
  await assert.rejects(run(join(BIN_DIR, 'codebuddy2api'), [], { cwd: system.dir, env: system.environment, timeout: 30_000 }), (error) => error.code > 0);
  assertComplete([await ask(system, 's:chunks').done], textOf(5));
  await system.stop();
});

test('status: a table, and the same as JSON', async (t) => {
  const system = await started(t, { env: { CODEBUDDY_WORKERS: '3' } });
  const roles = (await system.status()).processes.map(({ role }) => role).sort();
  assert.deepEqual(roles, ['credd', 'gateway', 'statsd', 'upstream-worker', 'upstream-worker', 'upstream-worker']);
  const text = await system.command('status');
  for (const role of new Set(roles)) assert.ok(text.includes(role), text);
  for (const { pid } of await processes(system, 'upstream-worker')) assert.ok(text.includes(String(pid)));
  await system.stop();
});

test('settings that are wrong: one line that names them, exit status 78', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'cfg'));
  const base = { PATH: process.env.PATH, CODEBUDDY_PASSWORD: 'secret', CODEBUDDY_RUN_DIR: join(dir, 'run'), CODEBUDDY_PORT: '0', CODEBUDDY_OPS_PORT: '0' };
  const wrong = {
    CODEBUDDY_NONSENSE: { CODEBUDDY_NONSENSE: '1' },
    CODEBUDDY_PORT: { CODEBUDDY_PORT: 'many' },
    CODEBUDDY_DRAIN_S: { CODEBUDDY_DRAIN_S: '-1' },
    CODEBUDDY_PASSWORD: { CODEBUDDY_PASSWORD: undefined },
    CODEBUDDY_API_ENDPOINT: { CODEBUDDY_API_ENDPOINT: 'http://example.com' },
    CODEBUDDY_TLS_KEY_FILE: { CODEBUDDY_TLS_CERT_FILE: 'cert.pem' },
  };
  for (const [name, change] of Object.entries(wrong)) {
    const env = Object.fromEntries(Object.entries({ ...base, ...change }).filter(([, value]) => value !== undefined));
    await assert.rejects(run(join(BIN_DIR, 'codebuddy2api'), [], { cwd: dir, env, timeout: 30_000 }), (error) => {
      assert.equal(error.code, 78, `${name}: ${error.code} ${error.stderr}`);
      const lines = error.stderr.trim().split('\n').filter((line) => line.includes('ERROR'));
      assert.equal(lines.length, 1, error.stderr);
      assert.ok(lines[0].includes(name), lines[0]);
      assert.ok(!error.stderr.includes('secret'));
      return true;
    });
  }
  rmSync(dir, { recursive: true });
});

test('a port that is taken: exit status 71, and no process is left', async (t) => {
  const first = await started(t);
  const second = new System({ upstream: first.upstream, credentials: { one: credential('one') }, env: { CODEBUDDY_PORT: String(first.port) } });
  await assert.rejects(second.start(), /"code":(71|78)/);
  await second.stop({ expectCode: null });
  await first.stop();
});
