// SPDX-License-Identifier: MIT
// A ledger that cannot be written: full disk, no permission, corrupt at start and in mid-run, held by another.
// Each time clients see nothing, senders keep their events, the metric that alerts is up, and afterwards every
// event is there once.
import { test, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync, openSync, writeSync, closeSync, fstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { user } from '../e2e/harness.mjs';
import { until } from './load.mjs';
import { OwnStatsd, startWithOwnStatsd } from './own_statsd.mjs';

const run = promisify(execFile);
let system, statsd;
beforeEach(async () => {
  ({ system, statsd } = await startWithOwnStatsd());
});
afterEach(async () => {
  await statsd.child.stop();
  await system.stop();
});

async function ask(count) {
  for (let i = 0; i < count; i++) {
    const response = await system.chat({ model: 's:chunks', messages: [user()] });
    assert.equal(response.status, 200);
    await response.text();
  }
}

const arrived = (count) => until(async () => (await statsd.events().catch(() => -1)) === count, `${count} events in the ledger`);
const failing = (value) => statsd.waitMetric('codebuddy2api_ledger_failing', value);

test('a full disk, for a while', async () => {
  await ask(3);
  await arrived(3);
  await run('prlimit', ['--pid', String(statsd.child.process.pid), '--fsize=4096:unlimited']);
  await ask(20);
  await failing(1);
  assert.match(statsd.child.logText(), /ERROR statsd \d+ req=- ledger_failing /);
  assert.equal(await statsd.events(), 3);
  await ask(20);
  await run('prlimit', ['--pid', String(statsd.child.process.pid), '--fsize=unlimited:unlimited']);
  await arrived(43);
  await failing(0);
  assert.match(statsd.child.logText(), / ledger_recovered /);
});

// `of`: the link that leads first to where not even root may make a file, then to a directory of ours.
async function writableLater(of) {
  await statsd.stop();
  const dataDir = join(system.dir, 'later');
  const link = of(dataDir);
  mkdirSync(dirname(link), { recursive: true, mode: 0o700 });
  symlinkSync('/sys/kernel', link);
  statsd = await new OwnStatsd(system, dataDir, statsd.bind).start();
  await ask(20);
  await failing(1);
  assert.match(statsd.child.logText(), / ledger_failing /);
  const isConfined = !/ disk_not_confined /.test(statsd.child.logText());
  const real = join(system.dir, 'real');
  mkdirSync(real, { mode: 0o700 });
  rmSync(link);
  symlinkSync(real, link);
  return isConfined;
}

test('a data directory in which nobody may make one, then one in which we may', async () => {
  assert.equal(await writableLater((dataDir) => dataDir), false); // there is no directory yet to confine it to
  await arrived(20);
  await failing(0);
});

test('a directory of its own that nobody may write to, then one that we may', async () => {
  if (await writableLater((dataDir) => join(dataDir, 'statsd'))) {
    // With Landlock it may not touch the new one, so it asks to be started again.
    assert.equal((await statsd.child.exited).code, 71);
    assert.match(statsd.child.logText(), / directory_replaced /);
    await statsd.start();
  }
  await arrived(20);
  await failing(0);
});

const setAside = () => readdirSync(dirname(statsd.ledger)).filter((name) => /^usage\.db\.corrupt-[^.]*$/.test(name) && !/-(wal|shm)$/.test(name));

test('corrupt at the start: set aside as it was, and a new one is begun', async () => {
  await ask(5);
  await arrived(5);
  await statsd.stop();
  const rubbish = Buffer.alloc(100_000, 'not a database. ');
  writeFileSync(statsd.ledger, rubbish);
  await ask(5); // kept by their senders
  await statsd.start();
  await arrived(5);
  const [name, ...others] = setAside();
  assert.equal(others.length, 0);
  assert.ok(readFileSync(join(dirname(statsd.ledger), name)).equals(rubbish));
  assert.match(statsd.child.logText(), /ERROR statsd \d+ req=- ledger_set_aside /);
  assert.equal(await statsd.metric('codebuddy2api_ledger_set_aside_total'), 1);
  await ask(5);
  await arrived(10);
});

// As a disk that goes bad would: in place, in whatever of the three files there is.
function overwrite(file) {
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.alloc(fstatSync(fd).size, 'rubbish '));
  closeSync(fd);
}

test('corrupt in mid-run: set aside, a new one is begun, nothing that came since is lost', async () => {
  await ask(5);
  await arrived(5);
  for (const end of ['-wal', '-shm', '']) overwrite(statsd.ledger + end);
  await ask(20);
  await until(async () => setAside().length === 1, 'the corrupt one to be set aside');
  await arrived(20);
  await failing(0);
  assert.ok(readFileSync(join(dirname(statsd.ledger), setAside()[0])).includes('rubbish '));
  const totals = await statsd.row("SELECT sum(value) AS n FROM totals WHERE family LIKE '%requests%'").catch(() => null);
  assert.ok(totals === null || totals.n >= 20);
});

test('held by another: it says so and ends, to be started again; the senders wait', async () => {
  await ask(2);
  await arrived(2);
  await statsd.stop();
  const holder = await new OwnStatsd(system, statsd.dataDir, `${statsd.bind}.unused`).start();
  await holder.waitMetric('codebuddy2api_ledger_failing', 0);
  await statsd.start();
  assert.equal((await statsd.child.exited).code, 71); // which the supervisor answers with another try
  assert.match(statsd.child.logText(), /ERROR statsd \d+ req=- ledger_refused .*"another statsd is using it"/);
  await ask(10);
  assert.equal(await statsd.events(), 2);
  await holder.kill(); // its lock goes with it
  await statsd.start();
  await arrived(12);
  await failing(0);
});
