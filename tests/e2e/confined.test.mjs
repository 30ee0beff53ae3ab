// SPDX-License-Identifier: MIT
// Least power, on running processes: what the kernel says of each of them (no new privileges, seccomp, no dumps, no
// descriptor that nobody meant it to have, no password where it is not needed), and that all goes on with it: after a
// kill, after a reload, when a directory is replaced. What each role is refused: proto/confine_test.c.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BIN_DIR, IS_SANITIZED, credential, startSystem, user } from './harness.mjs';
import { until } from './process.mjs';

let system;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_LOG_LEVEL: 'DEBUG' } });
});
after(() => system.stop());

const processes = async () => (await system.status()).processes.map(({ name, pid }) => ({ name, pid }));
const field = (pid, name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
const asks = async () => {
  const response = await system.chat({ model: 's:chunks', messages: [user()] });
  assert.equal(response.status, 200);
  await response.text();
};

async function assertConfined() {
  const all = await processes();
  assert.equal(all.length, 5);
  for (const { name, pid } of [...all, { name: 'supervisor', pid: system.child.process.pid }]) {
    assert.equal(field(pid, 'NoNewPrivs'), '1', name);
    assert.equal(field(pid, 'Seccomp'), '2', name);
    for (const thread of readdirSync(`/proc/${pid}/task`)) assert.equal(field(`${pid}/task/${thread}`, 'Seccomp'), '2', `${name}, thread ${thread}`);
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
    assert.match(limits, /^Max core file size\s+0\s+0\s/m, name);
  }
  return all;
}

test('each process and all its threads', assertConfined);

test('where the kernel has Landlock, it is used', async (t) => {
  if (/INFO \S+ \d+ req=- disk_not_confined /.test(system.log())) return t.skip('this kernel has none'); // said by each process
  for (const role of ['gateway', 'upstream-worker', 'credd', 'statsd']) assert.match(system.log(), new RegExp(`DEBUG ${role} \\d+ req=- confined landlock=[1-9]\\d* seccomp=1`));
});

// Sockets, pipes and eventfds are its own; a file must be one of these.
const FILES = {
  gateway: [],
  'upstream-worker': [],
  credd: [],
  statsd: [/\/data\/statsd\/usage\.(db(-wal|-shm)?|lock)$/],
};

test('open files: its own, and what it was given', async () => {
  await asks();
  for (const { name, pid } of await processes()) {
    const allowed = [/\/log$/, /^\/dev\/(null|urandom)$/, /\/run\/tree\.lock$/, ...FILES[name.replace(/-\d+$/, '')]];
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (/^(socket|pipe|anon_inode):/.test(target)) continue;
      assert.ok(allowed.some((pattern) => pattern.test(target)), `${name} has ${target} open`);
    }
  }
});

// Asked by each process itself, when it has confined itself (faults/disk_probe.c).
const WHOSE = { 'creds/one.json': ['credd'], 'data/credd/session.key': ['credd'], 'data/credd/settings.json': ['credd'], 'data/statsd/usage.db': ['statsd'], 'page.html': [] };

test('with Landlock, nobody can open what is kept by another', async (t) => {
  const probe = join(BIN_DIR, 'disk_probe.so');
  if (!existsSync(probe)) return t.skip('not with sanitizers');
  if (/ disk_not_confined /.test(system.log())) return t.skip('this kernel has none');
  const own = await startSystem({
    prepare: (made) => {
      writeFileSync(join(made.dir, 'page.html'), 'of nobody');
      made.env = { LD_PRELOAD: probe, DISK_PROBE_PATHS: Object.keys(WHOSE).map((path) => join(made.dir, path)).join(':') };
    },
  });
  try {
    const set = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ settings: { CODEBUDDY_ROTATION_COUNT: 7 } }) };
    assert.equal((await own.fetch('/api/settings', set)).status, 200);
    const from = own.logSize(); // now all of it is there, and those that come are asked
    await own.command('reload');
    for (const role of ['gateway', 'upstream-worker', 'credd', 'statsd'])
      for (const [path, owners] of Object.entries(WHOSE))
        for (const word of ['read', 'write']) {
          const [, found] = await own.waitLog(new RegExp(`^disk_probe codebuddy2api-${role} ${word} ${join(own.dir, path)} (\\d+)$`, 'm'), { from });
          assert.equal(found, owners.includes(role) ? '0' : '13', `${role}: ${word} ${path}`);
        }
  } finally {
    await own.stop();
  }
});

test('the password is with the supervisor and the gateway alone', async () => {
  for (const { name, pid } of await processes()) {
    const hasIt = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(system.password);
    assert.equal(hasIt, /^(gateway|credd)-/.test(name), name);
  }
});

// How often `text` stands in what a process can write to. Only root may look.
function countInMemory(pid, text) {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  let count = 0;
  try {
    for (const [, from, to] of readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw.. /gm)) {
      const start = Number(`0x${from}`);
      const bytes = Buffer.alloc(Number(`0x${to}`) - start);
      let length = 0;
      try {
        length = readSync(memory, bytes, 0, bytes.length, start);
      } catch {} // a mapping that cannot be read
      for (let at = bytes.subarray(0, length).indexOf(text); at >= 0; at = bytes.subarray(0, length).indexOf(text, at + 1)) count++;
    }
  } finally {
    closeSync(memory);
  }
  return count;
}

test('tokens are with credd and the workers alone', async (t) => {
  if (process.getuid() !== 0 || IS_SANITIZED) return t.skip('needs root, and memory of a usual size');
  for (let i = 0; i < 20; i++) await asks();
  for (const { name, pid } of await processes()) {
    const count = countInMemory(pid, system.credentials.one.bearer_token);
    t.diagnostic(`${name}: ${count} copies of the token`);
    if (name.startsWith('credd-')) assert.ok(count > 0, 'it can be found where it is');
    if (!/^(credd|upstream-worker)-/.test(name)) assert.equal(count, 0, name);
  }
});

test('after a kill and a reload the next ones are confined, too', async () => {
  for (const { pid } of await processes()) process.kill(pid, 'SIGKILL');
  await until(async () => (await system.chat({ model: 's:chunks', messages: [user()] }).catch(() => null))?.status === 200, 'service after the kills');
  await until(async () => (await system.status()).processes.every(({ state }) => state === 'ready'), 'all to be back');
  const before = (await processes()).map(({ pid }) => pid);
  await system.command('reload');
  await until(async () => (await processes()).every(({ pid }) => !before.includes(pid)), 'all to be replaced');
  await until(async () => (await system.status()).processes.every(({ state }) => state === 'ready'), 'all to be ready');
  await asks();
  await assertConfined();
});

test('a directory of credentials that is replaced: credd finds the new one, by starting again where it is confined to the former', async () => {
  const replaced = `${system.credsDir}.next`;
  mkdirSync(replaced, { mode: 0o700 });
  renameSync(system.credsDir, `${system.credsDir}.former`);
  renameSync(replaced, system.credsDir);
  system.writeCredential('two', credential('two'));
  if (!/ disk_not_confined /.test(system.log())) await system.waitLog(/ directory_replaced directory=\S*creds action=restart/);
  await until(async () => (await system.chat({ model: 's:chunks', messages: [user()] }).catch(() => null))?.status === 200, 'the new one to serve');
});
