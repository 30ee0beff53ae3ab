// SPDX-License-Identifier: MIT
// tests/load/run --stopped: slow streams alone, and the same beside as many clients that read nothing, in turn; what each costs
// the readers, and the memory of it all. The rounds alone differ, too: what is less than that is not a difference.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startUpstream } from '../e2e/harness.mjs';
import { allPaused } from '../faults/load.mjs';
import { bodyFile, generate, hold } from './generator.mjs';
import { cost, resident, spent } from './processes.mjs';
import { ours } from './targets.mjs';

const { values: options } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
const ROUNDS = options.quick ? 1 : 3;
const STREAMS = 1000;
const STOPPED_BYTES = 2 << 20; // of each answer that nobody reads: far more than the windows and the kernel take
const GAP_MS = 50;
const RAMP_PER_S = 500;
const EVENTS = (options.quick ? 60 : 160) + (STREAMS / RAMP_PER_S) * (1000 / GAP_MS);
const SETTLE_MS = 12_000; // freed memory goes back after five seconds, libcurl's spare handles after ten
const SHOWN = ['gateway', 'upstream-worker', 'credd', 'statsd'];

const dir = mkdtempSync(join(tmpdir(), 'st'));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const memory = (target) => resident(target.pids());

async function readers(target) {
  const args = ['--connections', STREAMS, '--expect-events', EVENTS, '--gap-ms', GAP_MS, '--slow', '--streams-ramp-per-s', RAMP_PER_S,
    '--body-file', bodyFile(dir, 'slow.json', `s:slow?n=${EVENTS}&gap_ms=${GAP_MS}&size=16`, true)];
  const before = cost(target.pids());
  const { result, seen } = await generate(target, args, async () => {
    await wait((STREAMS / RAMP_PER_S) * 1000 + 1000); // all of them run
    return memory(target);
  });
  return { result, cpu: spent(before, cost(target.pids())), height: seen };
}

async function beside(target) {
  const args = ['--connections', STREAMS, '--slow-reader', '--duration-s', 600, '--streams-ramp-per-s', RAMP_PER_S,
    '--body-file', bodyFile(dir, 'stopped.json', `s:big-body?total=${STOPPED_BYTES}`, true)];
  const stopped = hold(target, args);
  try {
    await allPaused(target.system, STREAMS);
    const held = memory(target);
    return { ...(await readers(target)), held };
  } finally {
    await stopped.end();
  }
}

const number = (value, digits = 0) => value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits });
const ms = (us) => number(us / 1000, 2);
const bad = ({ result }) => result.errors + result.events_lost + result.wrong;

function print(rounds, memories) {
  console.log(`${cpus().length} × ${cpus()[0].model}, shared with upstream and generators. ${number(STREAMS)} streams that are read, an event every ${GAP_MS} ms, without and with ${number(STREAMS)} more that nobody reads:\n`);
  console.log('| readers | events/s | CPU µs/event | gateway | worker | first event p50 ms | p99 ms | late p50 ms | p99 ms | most ms | lost or wrong |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const { name, result, cpu, ...round } of rounds) {
    const per = (us) => number(us / result.events, 1);
    const times = [result.first_event_us.p50, result.first_event_us.p99, result.jitter_us.p50, result.jitter_us.p99, result.jitter_us.max].map(ms);
    console.log(`| ${[name, number(result.events / result.seconds), per(cpu.cpu_us), per(cpu.by.gateway), per(cpu.by['upstream-worker']), ...times, bad({ result, ...round })].join(' | ')} |`);
  }
  console.log(`\n| resident MB | ${SHOWN.join(' | ')} | all |\n| --- |${' --- |'.repeat(SHOWN.length + 1)}`);
  for (const [when, by] of memories) {
    const kib = SHOWN.map((kind) => by[kind]);
    console.log(`| ${[when, ...[...kib, kib.reduce((sum, one) => sum + one)].map((one) => number(one / 1024, 1))].join(' | ')} |`);
  }
}

const upstream = await startUpstream({ args: ['--fast'] });
let target;
try {
  target = await ours(upstream, { CODEBUDDY_BODY_TIMEOUT_S: '600' });
  const memories = [['fresh', memory(target)]];
  await readers(target); // connections and memory as they will be
  await wait(SETTLE_MS);
  memories.push([`${SETTLE_MS / 1000} s after a first crowd`, memory(target)]);
  const rounds = [];
  for (let i = 0; i < ROUNDS; i++) {
    rounds.push({ name: 'alone', ...(await readers(target)) });
    rounds.push({ name: `beside ${number(STREAMS)}`, ...(await beside(target)) });
  }
  const last = rounds.at(-1);
  memories.push(['readers alone', rounds[0].height], ['those who stopped alone', last.held], ['both', last.height]);
  await wait(SETTLE_MS);
  memories.push([`${SETTLE_MS / 1000} s after all`, memory(target)]);
  print(rounds, memories);
  if (options.json) writeFileSync(options.json, JSON.stringify({ rounds, memories }, null, 1));
  if (rounds.some((round) => bad(round) > 0)) process.exitCode = 1;
} finally {
  await target?.stop();
  await upstream.stop();
  rmSync(dir, { recursive: true, force: true });
}
