#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// A long run: half the load of the storm (storm.mjs), with those of its faults that end no process, so that what a process holds can
// be compared over the whole time. Prints growth by process, writes a plot.
//   node tests/faults/soak.mjs [--seconds 3600] [--seed N] [--plot soak.svg] [--samples soak.json]
// Exits 1 if a request went wrong, a process ended, or one grew.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Storm } from './storm.mjs';
import { KINDS } from './storm_kinds.mjs';
import { IdleThread, MEASURES, Samples, plot } from './soak_samples.mjs';

const SAMPLE_MS = 5000;
const LEDGER_BYTES_PER_S = 40_000; // what the disk must have room for
const PAUSE_MS = 60; // between a lane's requests, which take as long on average
// More than this from the second quarter to the last is growth: a share of what it was, and at least so much. The tenth is what the design
// promises of memory; 2 MB is what malloc keeps or gives back by chance. Lag counts beside that of an idle thread.
const GROWTH = { memory: [0.1, 2], descriptors: [0.1, 8], lag: [0.1, 100] };
// The ledger's caches fill, and then stay: 16 MiB for the writer, as much for the reader, and 2 for statements and what a commit changes.
const CACHES_MB = 34;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3600' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    samples: { type: 'string' },
    plot: { type: 'string', default: 'soak.svg' },
  },
});
console.log(`seed ${options.seed}, ${options.seconds} s`);
const storm = await new Storm({ seed: Number(options.seed), lanes: 16, pause_ms: PAUSE_MS, disk_bytes: (24 << 20) + Number(options.seconds) * LEDGER_BYTES_PER_S, say: console.log }).start();
const samples = new Samples();
const idle = new IdleThread();
const pids = (await storm.processes()).map(({ pid }) => pid);
const complaints = [];
const sampling = setInterval(() => {
  storm.processes().then((processes) => samples.take(processes, idle.lag_ms())).catch(() => {}); // paused just now: the next will do
}, SAMPLE_MS);
await storm.run(Number(options.seconds), KINDS.filter(({ kills }) => !kills)).catch((error) => complaints.push(error.stack));
clearInterval(sampling);
await idle.stop();
const ended = (await storm.processes()).filter(({ pid }) => !pids.includes(pid));
if (ended.length) complaints.push(`started anew: ${ended.map(({ name }) => name)}`);
complaints.push(...(await storm.stop()));

writeFileSync(options.plot, plot(samples));
if (options.samples) writeFileSync(options.samples, JSON.stringify({ points: samples.points, idle: samples.idle }));
console.log(`\n${storm.table()}\n\nrequests by outcome: ${JSON.stringify(storm.load.sums)}\n`);
console.log(`| process | ${Object.entries(MEASURES).map(([measure, { unit }]) => `${measure} ${unit}: early, late, most`).join(' | ')} |\n| --- | --- | --- | --- | --- |`);
const machine = samples.idleGrowth();
for (const name of samples.names()) {
  const cells = Object.keys(MEASURES).map((measure) => {
    const { early, late, most } = samples.growth(name, measure);
    if (measure === 'caches') {
      if (most > CACHES_MB) complaints.push(`${name}: its caches hold ${most} MB`);
    } else {
      const [share, least] = GROWTH[measure];
      const others = measure === 'lag' ? machine.late - machine.early : 0;
      if (late - early - others > Math.max(least, share * early)) complaints.push(`${name}: ${measure} grew from ${early} to ${late}`);
    }
    return [early, late, most].map((value) => value.toFixed(MEASURES[measure].unit === 'MB' ? 1 : 0)).join(', ');
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
console.log(`| an idle thread | | | | ${[machine.early, machine.late, machine.most].map((value) => value.toFixed(0)).join(', ')} |`);
for (const complaint of complaints.slice(0, 50)) console.log(`WRONG: ${complaint}`);
console.log(`plot: ${options.plot}`);
process.exit(complaints.length ? 1 : 0);
