// SPDX-License-Identifier: MIT
// The faults: how each is done, and what clients may see of it. `inject(storm)` returns when the fault itself is
// over; then the storm waits until all is well again. `may`: the outcomes that the design allows while it lasts
// (ARCHITECTURE.md, "When each dies"); whatever else is no `right` is a failure of the run.
import { execFile } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync, openSync, writeSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RawConnection, requestBytes } from '../e2e/raw.mjs';
import { readStream } from '../e2e/sse.mjs';
import { isAlive, until } from './load.mjs';

const run = promisify(execFile);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const nothing = () => false;
// A stream that has begun is not replayed; a plain answer that has begun breaks off.
const begun = ({ outcome }) => outcome === 'failed_after' || outcome === 'cut_after';
const broken = ({ outcome }) => outcome === 'cut_before' || outcome === 'cut_after';
const unavailable = ({ outcome, status }) => outcome === 'failed_before' && status === 503;

async function killOne(storm, role) {
  const { pid, name } = storm.random.pick(await storm.processes(role));
  process.kill(pid, 'SIGKILL');
  return name;
}

// Too short to be taken for a hang: nobody may notice.
async function pauseOne(storm, role) {
  const { pid, name } = storm.random.pick(await storm.processes(role));
  const ms = storm.random.between(200, 1500);
  process.kill(pid, 'SIGSTOP');
  await sleep(ms);
  process.kill(pid, 'SIGCONT');
  return `${name} for ${ms} ms`;
}

// For good: the supervisor must find it and replace it.
async function hangOne(storm, role) {
  const { pid, name } = storm.random.pick(await storm.processes(role));
  process.kill(pid, 'SIGSTOP');
  await until(() => !isAlive(pid), `${name} to be found hanging`);
  return name;
}

// Kills what comes up in the place of one worker, until the supervisor waits before the next.
async function crashLoop(storm) {
  const { name } = storm.random.pick(await storm.processes('upstream-worker'));
  let [kills, last] = [0, 0]; // one that was killed may be told of as ready until the supervisor has seen its end
  await until(async () => {
    const now = (await storm.processes('upstream-worker')).find((process) => process.name === name);
    if (now?.state === 'backing off' && now.retry_in_ms > 300) return true;
    if (now?.state === 'ready' && now.pid && now.pid !== last) {
      process.kill((last = now.pid), 'SIGKILL');
      kills++;
    }
    return false;
  }, 'the supervisor to back off');
  return `${name}, ${kills} times`;
}

async function killSupervisor(storm) {
  const pids = (await storm.processes()).map(({ pid }) => pid);
  const old = storm.system.child;
  old.kill('SIGKILL');
  await old.exited;
  await storm.system.start(); // as an engine would: at once. It waits for the former ones itself.
  await until(() => !pids.some(isAlive), 'the former processes to be gone');
}

async function refuseUpstream(storm) {
  const ms = storm.random.between(300, 1500);
  await storm.proxy.refuse();
  storm.proxy.reset(([client]) => !client.bytesWritten || storm.random.next() < 0.3);
  await sleep(ms);
  await storm.proxy.accept();
  return `for ${ms} ms`;
}

async function resetUpstream(storm) {
  const share = storm.random.pick([0.3, 0.6, 1]);
  const count = storm.proxy.reset(() => storm.random.next() < share);
  return `${count} connections`;
}

async function stallUpstream(storm) {
  const ms = storm.random.between(500, 3000);
  storm.proxy.stall(true);
  await sleep(ms);
  storm.proxy.stall(false);
  return `for ${ms} ms`;
}

// Readers who stop for a while in the middle of a large answer and then get all of it.
async function slowReaders(storm) {
  const READERS = 12;
  const model = `s:big-body?total=${4 << 20}`;
  const one = async () => {
    const connection = new RawConnection(storm.system.port);
    await connection.opened;
    connection.socket.pause();
    const answer = connection.response();
    connection.socket.write(
      requestBytes({
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { Authorization: `Bearer ${storm.system.password}`, 'Content-Type': 'application/json' },
        body: { model, messages: [{ role: 'user', content: 'much' }], stream: true },
      }),
    );
    await sleep(storm.random.between(300, 2000));
    connection.socket.resume();
    const { content } = readStream((await answer).text, { model });
    if (content.length !== 4 << 20) throw new Error(`a slow reader got ${content.length} bytes`);
    await connection.close();
  };
  await Promise.all(Array.from({ length: READERS }, one));
  return `${READERS} readers`;
}

// Data and credentials are on a small disk of their own (storm.mjs).
async function fillDisk(storm) {
  const path = join(storm.disk, 'ballast');
  const piece = Buffer.alloc(64 << 10);
  const fd = openSync(path, 'w');
  let bytes = 0;
  try {
    for (let size = piece.length; size >= 1; size >>= 4) {
      try {
        for (;;) bytes += writeSync(fd, piece, 0, size);
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error;
      }
    }
    await sleep(storm.random.between(800, 2500));
  } finally {
    closeSync(fd);
    rmSync(path);
  }
  return `${bytes >> 10} KiB`;
}

// The process keeps the descriptors it has and gets no other, not even the number of one that it closes.
async function useUpDescriptors(storm, role) {
  const { pid, name } = storm.random.pick(await storm.processes(role));
  const { stdout } = await run('prlimit', ['--pid', String(pid), '--nofile', '--noheadings', '--output', 'SOFT,HARD']);
  const [soft, hard] = stdout.trim().split(/\s+/);
  const count = readdirSync(`/proc/${pid}/fd`).length;
  await run('prlimit', ['--pid', String(pid), `--nofile=4:${hard}`]);
  await sleep(storm.random.between(500, 1500));
  await run('prlimit', ['--pid', String(pid), `--nofile=${soft}:${hard}`]);
  return `${name} at ${count}`;
}

async function stepClock(storm) {
  const seconds = storm.random.pick([-86400, -3600, -30, 30, 3600, 86400]);
  storm.clock_ns += BigInt(seconds) * 1_000_000_000n;
  const offset = Buffer.alloc(8);
  offset.writeBigInt64LE(storm.clock_ns);
  writeFileSync(storm.clockFile, offset, { flag: 'r+' });
  await sleep(500);
  return `by ${seconds} s`;
}

async function reload(storm) {
  const before = (await storm.processes()).map(({ pid }) => pid);
  await storm.system.command('reload');
  const same = (await storm.processes()).filter(({ pid }) => before.includes(pid));
  if (same.length) throw new Error(`not replaced: ${same.map(({ name }) => name)}`);
}

// kills: processes end by it, so what they hold cannot be compared over a long time (storm_soak.mjs).
// long: takes more than ten seconds. needs: what the machine must have for it.
export const KINDS = [
  { name: 'kill worker', inject: (s) => killOne(s, 'upstream-worker'), may: begun, kills: true },
  { name: 'kill gateway', inject: (s) => killOne(s, 'gateway'), may: broken, kills: true },
  { name: 'kill credd', inject: (s) => killOne(s, 'credd'), may: nothing, kills: true },
  { name: 'kill statsd', inject: (s) => killOne(s, 'statsd'), may: nothing, kills: true },
  { name: 'kill supervisor', inject: killSupervisor, may: (end) => broken(end) || end.outcome === 'refused', kills: true },
  { name: 'pause worker', inject: (s) => pauseOne(s, 'upstream-worker'), may: nothing },
  { name: 'pause gateway', inject: (s) => pauseOne(s, 'gateway'), may: nothing },
  { name: 'pause credd', inject: (s) => pauseOne(s, 'credd'), may: nothing },
  { name: 'pause statsd', inject: (s) => pauseOne(s, 'statsd'), may: nothing },
  { name: 'hang worker', inject: (s) => hangOne(s, 'upstream-worker'), may: begun, kills: true, long: true },
  { name: 'hang gateway', inject: (s) => hangOne(s, 'gateway'), may: broken, kills: true, long: true },
  { name: 'hang credd', inject: (s) => hangOne(s, 'credd'), may: unavailable, kills: true, long: true },
  { name: 'hang statsd', inject: (s) => hangOne(s, 'statsd'), may: nothing, kills: true, long: true },
  { name: 'crash loop', inject: crashLoop, may: begun, kills: true },
  { name: 'reload', inject: reload, may: nothing, kills: true },
  { name: 'upstream refuses', inject: refuseUpstream, may: (end) => end.outcome.startsWith('failed') },
  {
    name: 'upstream resets',
    inject: resetUpstream,
    // A plain answer that had begun was paid for, and is not asked for again.
    may: ({ outcome, code, stream }) => code === 'upstream_incomplete' && (outcome === 'failed_after' || !stream),
  },
  { name: 'upstream stalls', inject: stallUpstream, may: nothing },
  { name: 'slow readers', inject: slowReaders, may: nothing },
  { name: 'full disk', inject: fillDisk, may: nothing, needs: 'disk' },
  { name: 'no descriptors: gateway', inject: (s) => useUpDescriptors(s, 'gateway'), may: nothing, needs: 'prlimit' },
  { name: 'no descriptors: worker', inject: (s) => useUpDescriptors(s, 'upstream-worker'), may: nothing, needs: 'prlimit' },
  { name: 'no descriptors: credd', inject: (s) => useUpDescriptors(s, 'credd'), may: nothing, needs: 'prlimit' },
  { name: 'no descriptors: statsd', inject: (s) => useUpDescriptors(s, 'statsd'), may: nothing, needs: 'prlimit' },
  { name: 'clock step', inject: stepClock, may: nothing, needs: 'clock' },
];
