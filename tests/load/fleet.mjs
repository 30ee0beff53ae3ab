// SPDX-License-Identifier: MIT
// tests/load/run --fleet: requests a second by number of workers and gateways, and what a request costs each process. All
// of them share this machine's cores with the generator and the upstream, so the rate says what this machine holds;
// the costs, and how evenly work spreads, say what more cores would.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startUpstream } from '../e2e/harness.mjs';
import { BODY_BYTES, CHUNKS, fastArguments, generate } from './generator.mjs';
import { cost } from './processes.mjs';
import { ours } from './targets.mjs';

const { values: options } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
const SECONDS = options.quick ? 2 : 5;
const CONNECTIONS = 256;
const WORKERS = [1, 2, 3, 4];
const GATEWAYS = [1, 2];
const KINDS = ['upstream-worker', 'gateway', 'credd', 'statsd', 'supervisor'];

const dir = mkdtempSync(join(tmpdir(), 'fl'));

// By process id: { kind, cpu_us }.
const each = (target) =>
  new Map(
    target.pids().map((pid) => {
      const [[kind, { cpu_us }]] = Object.entries(cost([pid]).by);
      return [pid, { kind, cpu_us }];
    }),
  );

async function measure(upstream, workers, gateways) {
  const target = await ours(upstream, { CODEBUDDY_WORKERS: String(workers), CODEBUDDY_GATEWAYS: String(gateways) });
  try {
    const args = fastArguments(dir, CONNECTIONS, false);
    await generate(target, [...args, '--duration-s', 1]); // connections and memory as they will be
    const before = each(target);
    const { result } = await generate(target, [...args, '--duration-s', SECONDS]);
    const used = [...each(target)].map(([pid, { kind, cpu_us }]) => ({ kind, cpu_us: cpu_us - before.get(pid).cpu_us }));
    const of = (kind) => used.filter((process) => process.kind === kind).map(({ cpu_us }) => cpu_us);
    const sum = (list) => list.reduce((total, one) => total + one, 0);
    return {
      workers, gateways, rps: result.rps, p50_us: result.latency_us.p50, p99_us: result.latency_us.p99,
      bad: result.errors + result.events_lost + result.wrong,
      cpu_us: Object.fromEntries(KINDS.map((kind) => [kind, sum(of(kind)) / result.requests])),
      // How much of a core the busiest of a kind had, and the least busy.
      core: Object.fromEntries(KINDS.map((kind) => [kind, [Math.max, Math.min].map((f) => f(...of(kind)) / 1e6 / result.seconds)])),
    };
  } finally {
    await target.stop();
  }
}

const number = (value, digits = 0) => value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits });

function print(rows) {
  console.log(`${cpus().length} × ${cpus()[0].model}, shared with upstream and generator. Streamed, ${BODY_BYTES}-byte requests, answers of ${CHUNKS} chunks, ${CONNECTIONS} connections:\n`);
  console.log('| workers | gateways | requests/s | p50 ms | p99 ms | CPU µs/request: workers | gateways | credd | statsd | all | of a core: worker, most and least | gateway | wrong or lost |');
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const { workers, gateways, rps, p50_us, p99_us, cpu_us, core, bad } of rows) {
    const us = ['upstream-worker', 'gateway', 'credd', 'statsd'].map((kind) => number(cpu_us[kind], 1));
    const all = number(Object.values(cpu_us).reduce((total, one) => total + one, 0), 1);
    const shares = ['upstream-worker', 'gateway'].map((kind) => core[kind].map((share) => number(share, 2)).join(', '));
    console.log(`| ${[workers, gateways, number(rps), number(p50_us / 1000, 1), number(p99_us / 1000, 1), ...us, all, ...shares, bad].join(' | ')} |`);
  }
}

const upstream = await startUpstream({ args: ['--fast'] });
try {
  const rows = [];
  for (const gateways of GATEWAYS) for (const workers of WORKERS) rows.push(await measure(upstream, workers, gateways));
  print(rows);
  if (options.json) writeFileSync(options.json, JSON.stringify(rows, null, 1));
  if (rows.some(({ bad }) => bad > 0)) process.exitCode = 1;
} finally {
  await upstream.stop();
  rmSync(dir, { recursive: true, force: true });
}
