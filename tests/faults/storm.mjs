#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// A storm: a known load while faults are injected one after the other, in an order and manner that the seed gives.
// Each request is accounted for; each fault must be over, and all be well again, before the next. See tests/README.md.
//   node tests/faults/storm.mjs [--seconds 60] [--seed N] [--lanes 24] [--only 'kill worker,reload'] [--verbose]
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BIN_DIR, System, credential, startUpstream } from '../e2e/harness.mjs';
import { fileSize } from '../e2e/process.mjs';
import { until } from './load.mjs';
import { Load, perform, plan } from './storm_requests.mjs';
import { KINDS } from './storm_kinds.mjs';
import { Proxy } from './storm_proxy.mjs';
import { Random } from './storm_random.mjs';
import { tableOf } from './storm_table.mjs';

const DISK_BYTES = 24 << 20;
const CALM_MS = 400; // between two faults, so that what one did is not blamed on the next
const PATIENCE_MS = 90_000;

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// A small disk of its own for data and credentials, if we may mount one.
function mountDisk(dir, bytes) {
  mkdirSync(dir);
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'storm', dir]);
  if (status !== 0) return false;
  process.on('exit', () => spawnSync('umount', ['--lazy', dir]));
  return true;
}

export class Storm {
  constructor({ seed, lanes = 24, pause_ms = 0, workers = 3, disk_bytes = DISK_BYTES, say = () => {} }) {
    Object.assign(this, { seed, lanes, pause_ms, workers, disk_bytes, say });
    this.random = new Random(seed);
    this.faults = [];
    this.clock_ns = 0n;
  }

  async start() {
    this.dir = mkdtempSync(join(tmpdir(), 'st'));
    this.upstream = await startUpstream();
    this.proxy = await new Proxy(this.upstream.url).start();
    this.disk = join(this.dir, 'disk');
    this.has = {
      disk: mountDisk(this.disk, this.disk_bytes),
      clock: existsSync(join(BIN_DIR, 'clock_step.so')),
      prlimit: spawnSync('prlimit', ['--version']).status === 0,
    };
    this.clockFile = join(this.dir, 'clock');
    writeFileSync(this.clockFile, Buffer.alloc(8));
    this.system = new System({
      upstream: this.upstream,
      ownsUpstream: false,
      credentials: {},
      endpoint: this.proxy.url,
      env: {
        CODEBUDDY_PORT: String(await freePort()), // fixed: a second supervisor takes it over
        CODEBUDDY_OPS_PORT: String(await freePort()),
        CODEBUDDY_WORKERS: String(this.workers),
        CODEBUDDY_DRAIN_S: '20',
        ...(this.has.disk ? { CODEBUDDY_DATA_DIR: join(this.disk, 'data'), CODEBUDDY_CREDS_DIR: join(this.disk, 'creds') } : {}),
        ...(this.has.clock ? { LD_PRELOAD: join(BIN_DIR, 'clock_step.so'), CLOCK_STEP_FILE: this.clockFile } : {}),
      },
    });
    if (this.has.disk) {
      this.system.credsDir = join(this.disk, 'creds');
      this.system.dataDir = join(this.disk, 'data');
      mkdirSync(this.system.credsDir, { mode: 0o700 });
    }
    for (const name of ['one', 'two', 'three']) this.system.writeCredential(name, credential(name));
    await this.system.start();
    this.load = new Load(this.system, new Random(this.seed ^ 0x5bd1e995), this);
    return this;
  }

  async processes(role) {
    const { processes } = await this.system.status();
    return processes.filter((process) => !role || process.role === role);
  }

  // All ready, and a request is answered.
  async isWell() {
    const processes = await this.processes().catch(() => []);
    if (processes.length < 3 + this.workers || !processes.every(({ state, pid }) => state === 'ready' && pid)) return false;
    const request = { ...plan(this.random, 'q0-0'), stream: true, n: 3, gap_ms: 0, header_ms: 0, size: 0, padding: 0, leave_ms: 0 };
    return (await perform(this.system, request, {})).outcome === 'right';
  }

  async inject(kind) {
    const from = this.load.ends.length;
    const count = this.load.count;
    const logged = fileSize(this.system.logFile);
    const fault = { kind: kind.name, begin_ms: performance.now() };
    this.faults.push(fault);
    fault.detail = (await kind.inject(this)) ?? '';
    fault.over_ms = performance.now();
    await until(() => this.isWell(), `all to be well after ${kind.name} ${fault.detail}`, PATIENCE_MS);
    fault.recovered_ms = performance.now();
    // What ran when it struck ends within seconds: only then is the account of this fault complete.
    const touched = new Set(this.load.running.keys());
    await until(() => [...touched].every((id) => !this.load.running.has(id)), 'the requests of that time to end', PATIENCE_MS);
    await new Promise((resolve) => setTimeout(resolve, CALM_MS));
    fault.requests = this.load.count - count;
    fault.ends = this.load.ends.slice(from);
    fault.bad = fault.ends.filter((end) => end.outcome === 'wrong' || end.outcome === 'hanging' || !kind.may(end));
    const log = this.system.log().slice(-(fileSize(this.system.logFile) - logged));
    fault.moved = log.match(/\brequest_moved\b/g)?.length ?? 0;
    this.tell(fault);
  }

  tell(fault) {
    const counts = {};
    for (const { outcome } of fault.ends) counts[outcome] = (counts[outcome] ?? 0) + 1;
    this.say(
      `${((fault.begin_ms - this.begin_ms) / 1000).toFixed(1)} s: ${fault.kind} ${fault.detail}: well after ${((fault.recovered_ms - fault.over_ms) / 1000).toFixed(2)} s; ` +
        `${fault.requests} requests, ${fault.moved} moved ${JSON.stringify(counts)}`,
    );
    for (const end of fault.bad) this.say(`  NOT ALLOWED: ${JSON.stringify(end)}`);
  }

  // Faults until the time is over: all kinds in a random order, then all again.
  async run(seconds, kinds) {
    this.begin_ms = performance.now();
    const end_ms = this.begin_ms + seconds * 1000;
    const usable = kinds.filter(({ needs }) => !needs || this.has[needs]);
    for (const { name, needs } of kinds.filter((kind) => !usable.includes(kind))) this.say(`left out: ${name} (this machine has no ${needs} for it)`);
    const wanted = () => this.random.shuffled(usable);
    for (let bag = wanted(); performance.now() < end_ms; bag = bag.length ? bag : wanted()) await this.inject(bag.shift());
  }

  // Ends everything. What is wrong, as a list of texts; empty if all was as it must be.
  async stop() {
    const complaints = this.faults.flatMap(({ kind, bad = [] }) => bad.map((end) => `${kind}: ${JSON.stringify(end)}`));
    await this.load.stop();
    const faulted = new Set(this.faults.flatMap(({ ends = [] }) => ends));
    complaints.push(...this.load.ends.filter((end) => !faulted.has(end)).map((end) => `without a fault: ${JSON.stringify(end)}`));
    // A connection that a fault cut in the middle of a request is no fault of ours.
    const failures = (await this.upstream.failures()).filter(({ text }) => text !== 'connection closed inside a request');
    complaints.push(...failures.map((failure) => `the upstream was sent: ${JSON.stringify(failure)}`));
    if (this.load.sums.right === 0) complaints.push('no request went right');
    this.logFile = join(this.dir, 'log');
    copyFileSync(this.system.logFile, this.logFile); // the system's own directory goes
    this.proxy.stop();
    await this.system.stop().catch((error) => complaints.push(error.message));
    await this.upstream.stop();
    if (this.has.disk) spawnSync('umount', ['--lazy', this.disk]);
    if (!complaints.length) rmSync(this.dir, { recursive: true, force: true });
    return complaints;
  }

  table() {
    return tableOf(this.faults.filter(({ ends }) => ends));
  }
}

async function main() {
  const { values: options } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      lanes: { type: 'string', default: '24' },
      only: { type: 'string' },
    },
  });
  const names = options.only?.split(',').map((name) => name.trim());
  const kinds = KINDS.filter(({ name }) => !names || names.includes(name));
  if (!kinds.length) throw new Error(`no such fault; there are: ${KINDS.map(({ name }) => name).join(', ')}`);
  console.log(`seed ${options.seed}, ${options.seconds} s, ${options.lanes} lanes`);
  const storm = await new Storm({ seed: Number(options.seed), lanes: Number(options.lanes), say: console.log }).start();
  let problem;
  await storm.run(Number(options.seconds), kinds).catch((error) => (problem = error));
  const complaints = await storm.stop();
  if (problem) complaints.push(problem.stack);
  console.log(`\n${storm.table()}\n\nrequests by outcome: ${JSON.stringify(storm.load.sums)}; asked anew on a fresh connection: ${storm.load.reconnects}`);
  for (const complaint of complaints.slice(0, 50)) console.log(`WRONG: ${complaint}`);
  if (complaints.length) console.log(`${complaints.length} complaints; logs: ${storm.logFile}; again: --seed ${options.seed}`);
  process.exit(complaints.length ? 1 : 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
