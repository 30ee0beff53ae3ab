// SPDX-License-Identifier: MIT
// tests/load/run: runs the load generator against each target and prints what it found as Markdown.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startUpstream } from '../e2e/harness.mjs';
import { BODY_BYTES, CHUNKS, bodyFile, fastArguments, generate } from './generator.mjs';
import { cost, spent } from './processes.mjs';
import { bare, nginx, ours } from './targets.mjs';

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string', default: 'fast,slow' }, json: { type: 'string' } },
});
const SECONDS = options.quick ? 2 : 5;
const CONNECTIONS = [1, 64, 256];
const STREAMS = [500, 2000, 5000];
const SLOW = { events: 40, gap_ms: 50 };
const RAMP_PER_S = 500;

const dir = mkdtempSync(join(tmpdir(), 'ld'));

async function measureFast(target, kind, connections) {
  // The upstream speaks streams only: what is plain for us is the same stream from it and from nginx.
  const plain = kind === 'plain' && target.name === 'codebuddy2api';
  const args = fastArguments(dir, connections, plain);
  await generate(target, [...args, '--duration-s', 1]); // connections and memory as they will be
  const before = cost(target.pids());
  const { result } = await generate(target, [...args, '--duration-s', SECONDS]);
  const used = spent(before, cost(target.pids()));
  const per = (us) => us / Math.max(1, result.requests);
  return {
    target: target.name, kind, connections, requests: result.requests, rps: result.rps, errors: result.errors,
    lost: result.events_lost, wrong: result.wrong, p50_us: result.latency_us.p50, p99_us: result.latency_us.p99,
    cpu_us: per(used.cpu_us), by: Object.fromEntries(Object.entries(used.by).map(([name, us]) => [name, per(us)])),
  };
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function measureSlow(target, streams) {
  const events = SLOW.events + extraEvents(streams);
  const args = ['--connections', streams, '--expect-events', events, '--gap-ms', SLOW.gap_ms, '--slow',
    '--streams-ramp-per-s', RAMP_PER_S, '--body-file',
    bodyFile(dir, 'slow.json', `s:slow?n=${events}&gap_ms=${SLOW.gap_ms}&size=16`, true)];
  // The first run shows what memory the streams take; the second, with that memory there, how fast they are.
  // All streams run at once from the end of the ramp until the first one ends: memory is looked at in between.
  const idle = cost(target.pids());
  const { result: first, seen } = await generate(target, args, async () => {
    await wait((streams / RAMP_PER_S) * 1000 + 1000);
    return cost(target.pids());
  });
  const before = cost(target.pids());
  const { result } = await generate(target, args);
  const used = spent(before, cost(target.pids()));
  return {
    target: target.name, streams, requests: first.requests + result.requests, errors: first.errors + result.errors,
    lost: first.events_lost + result.events_lost, wrong: first.wrong + result.wrong, peak: result.streams_peak,
    first_p50_us: result.first_event_us.p50, first_p99_us: result.first_event_us.p99,
    jitter_p50_us: result.jitter_us.p50, jitter_p99_us: result.jitter_us.p99,
    cpu_us_per_event: used.cpu_us / Math.max(1, result.events), events: result.events,
    memory_mb_per_1000: ((seen.memory_kib - idle.memory_kib) / 1024 / streams) * 1000,
    by_mb: Object.fromEntries(Object.keys(seen.by).map((name) => [name, (seen.by[name].memory_kib - (idle.by[name]?.memory_kib ?? 0)) / 1024])),
  };
}

// The first streams must still run when the last have begun: as many events more as the ramp lasts.
function extraEvents(streams) {
  return Math.ceil(((streams / RAMP_PER_S) * 1000) / SLOW.gap_ms);
}

const number = (value, digits = 0) => value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits });
const breakdown = (by) => Object.entries(by).map(([name, us]) => `${name} ${number(us, 1)}`).join(', ');

function printFast(rows) {
  console.log(`\n${BODY_BYTES}-byte requests, answers of ${CHUNKS} chunks:\n`);
  console.log('| | connections | | requests/s | of nginx | of upstream | p50 ms | p99 ms | CPU µs/request | wrong or lost |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const row of rows) {
    const same = (name) => rows.find((other) => other.target === name && other.kind === row.kind && other.connections === row.connections);
    const ratio = (name) => (row.target === name ? '' : number(row.rps / same(name).rps, 2));
    console.log(`| ${row.kind} | ${row.connections} | ${row.target} | ${number(row.rps)} | ${row.target === 'upstream' ? '' : ratio('nginx')} | ${ratio('upstream')} | ${number(row.p50_us / 1000, 2)} | ${number(row.p99_us / 1000, 2)} | ${row.target === 'upstream' ? '' : number(row.cpu_us, 1)} | ${number(row.errors + row.lost + row.wrong)} |`);
  }
  for (const row of rows) if (row.target === 'codebuddy2api') console.log(`\n${row.kind}, ${row.connections} connections, CPU µs/request: ${breakdown(row.by)}`);
}

function printSlow(rows) {
  console.log(`\nSlow streams, an event every ${SLOW.gap_ms} ms, ${RAMP_PER_S} started a second (memory from a first run, the rest from a second):\n`);
  console.log('| streams | | first event p50 ms | p99 ms | jitter p50 ms | p99 ms | CPU µs/event | MB per 1,000 streams | lost or wrong |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const row of rows) {
    const ms = (us) => number(us / 1000, 2);
    const cost = row.target === 'upstream' ? '| ' : `${number(row.cpu_us_per_event, 1)} | ${number(row.memory_mb_per_1000, 1)}`;
    console.log(`| ${number(row.streams)} | ${row.target} | ${ms(row.first_p50_us)} | ${ms(row.first_p99_us)} | ${ms(row.jitter_p50_us)} | ${ms(row.jitter_p99_us)} | ${cost} | ${number(row.errors + row.lost + row.wrong)} |`);
  }
  for (const row of rows) if (row.target === 'codebuddy2api') console.log(`\n${number(row.streams)} streams, MB: ${breakdown(row.by_mb)}`);
}

const upstream = await startUpstream({ args: ['--fast'] });
const started = [];
try {
  const fast = [];
  const slow = [];
  for (const make of [bare, nginx, ours]) started.push(await make(upstream));
  if (options.only.includes('fast'))
    for (const kind of ['streamed', 'plain'])
      for (const connections of CONNECTIONS) for (const target of started) fast.push(await measureFast(target, kind, connections));
  if (options.only.includes('slow'))
    for (const streams of STREAMS) for (const target of started) slow.push(await measureSlow(target, streams));
  console.log(`${cpus().length} × ${cpus()[0].model}; upstream, load generator and what is measured share them.`);
  if (fast.length) printFast(fast);
  if (slow.length) printSlow(slow);
  if (options.json) writeFileSync(options.json, JSON.stringify({ fast, slow }, null, 1));
  const bad = [...fast, ...slow].filter((row) => row.target === 'codebuddy2api' && row.errors + row.lost + row.wrong > 0);
  if (bad.length) process.exitCode = 1;
} finally {
  for (const target of started) await target.stop();
  await upstream.stop();
  rmSync(dir, { recursive: true, force: true });
}
