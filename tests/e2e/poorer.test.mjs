// SPDX-License-Identifier: MIT
// Poorer places to run in: kernels without Landlock (older, not switched on, forbidden by an engine), and a user
// without any privileges that has no name. Everything works, and the log says what is not confined.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, cpSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BIN_DIR, IS_SANITIZED, credential, root, startSystem, user } from './harness.mjs';
import { until } from './process.mjs';

const ROLES = ['gateway', 'upstream-worker', 'credd', 'statsd'];
const field = (pid, name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];

async function serves(system) {
  const plain = await system.chat({ model: 's:chunks', messages: [user()] });
  assert.equal(plain.status, 200);
  const streamed = await system.chat({ model: 's:chunks', stream: true, messages: [user()] });
  assert.match(await streamed.text(), /data: \[DONE\]\n\n$/);
  await until(async () => (await (await system.fetch('/api/stats')).json()).totals.requests >= 2, 'both in the ledger');
}

const KERNELS = [
  ['ENOSYS', 38, 'this kernel has no Landlock (Linux 5.13)'],
  ['EOPNOTSUPP', 95, "Landlock is not switched on (the kernel's lsm=)"],
  ['EPERM', 1, 'a container engine or service manager forbids Landlock'],
];

for (const [name, number, problem] of KERNELS) {
  test(`no Landlock, ${name}: it serves, and each process says what is open`, async () => {
    const system = await startSystem({ within: [join(BIN_DIR, 'without_landlock'), String(number)] });
    try {
      await serves(system);
      const lines = system.log().split('\n').filter((line) => line.includes(' disk_not_confined '));
      for (const role of ROLES) {
        const own = lines.find((line) => line.includes(` INFO ${role} `));
        assert.ok(own?.endsWith(` req=- disk_not_confined problem="${problem}" open="files, TCP ports, signals"`), `${role}: ${own}`);
      }
      assert.equal(lines.length, 5, 'one line each, two of workers');
      for (const { name: process, pid } of (await system.status()).processes) {
        assert.equal(field(pid, 'NoNewPrivs'), '1', process);
        assert.ok(Number(field(pid, 'Seccomp_filters')) >= 3, `${process}: the supervisor's filter and its own are there all the same`);
      }
    } finally {
      await system.stop();
    }
  });
}

test('no Landlock: a directory of credentials that is replaced is followed', async () => {
  const system = await startSystem({ within: [join(BIN_DIR, 'without_landlock'), '38'] });
  try {
    renameSync(system.credsDir, `${system.credsDir}.former`);
    mkdirSync(system.credsDir, { mode: 0o700 });
    system.writeCredential('two', credential('two'));
    const listed = async () => (await (await system.fetch('/codebuddy/v1/credentials')).json()).credentials?.map((one) => one.filename);
    await until(async () => (await listed())?.join() === 'two.json', 'the new one to be the only one');
    assert.equal((await system.chat({ model: 's:chunks', messages: [user()] })).status, 200);
  } finally {
    await system.stop();
  }
});

// A build may stand where others may not read, so it takes its programs along.
function giveTo(system, id) {
  mkdirSync(join(system.dir, 'bin'));
  for (const name of readdirSync(BIN_DIR)) if (name.startsWith('codebuddy2api')) cpSync(join(BIN_DIR, name), join(system.dir, 'bin', name));
  cpSync(join(root, 'deploy/sites'), join(system.dir, 'sites'), { recursive: true });
  const give = (path) => {
    chownSync(path, id, id);
    if (statSync(path).isDirectory()) for (const name of readdirSync(path)) give(join(path, name));
  };
  give(system.dir);
}

test('a user without privileges, and without a name', async (t) => {
  if (process.getuid() !== 0) return t.skip('not root: every other test shows it');
  if (IS_SANITIZED) return t.skip('its programs are large to copy');
  const id = 54321;
  let own;
  const system = await startSystem({
    prepare: (made) => {
      giveTo(made, id);
      made.env = { CODEBUDDY_SITES_DIR: join(made.dir, 'sites') };
      made.within = ['/usr/bin/setpriv', '--reuid', String(id), '--regid', String(id), '--clear-groups', '--'];
      made.program = own = join(made.dir, 'bin/codebuddy2api');
    },
  });
  try {
    assert.equal(statSync(own).uid, id);
    await serves(system);
    for (const { name, pid } of (await system.status()).processes) {
      assert.equal(field(pid, 'Uid'), String(id), name);
      assert.equal(field(pid, 'CapEff'), '0000000000000000', name);
      assert.equal(field(pid, 'Seccomp'), '2', name);
    }
    assert.doesNotMatch(system.log(), / ERROR | WARNING (?!.* descriptors_few )/); // a user's limits are a machine's own
    const added = await system.fetch('/codebuddy/v1/credentials', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ bearer_token: 'tok-added', filename: 'added' }),
    });
    assert.equal(added.status, 201);
    assert.equal(statSync(join(system.credsDir, 'added.json')).uid, id);
    assert.equal(statSync(join(system.dataDir, 'statsd/usage.db')).uid, id);
  } finally {
    await system.stop();
  }
});
