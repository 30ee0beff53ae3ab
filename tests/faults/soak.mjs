#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// A long run: half the load of the storm (storm.mjs), with those of its faults that end no process, so that what a process holds can
// be compared over the whole time. Prints growth by process, writes a plot.
//   node tests/faults/soak.mjs [--seconds 3600] [--seed N] [--plot soak.svg]
// Exits 1 if a request went wrong, a process ended, or one grew.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Storm } from './storm.mjs';
import { KINDS } from './storm_kinds.mjs';
import { MEASURES, Samples, plot } from './soak_samples.mjs';

const SAMPLE_MS = 5000;
const LEDGER_BYTES_PER_S = 40_000; // what the disk must have room for
const PAUSE_MS = 60; // between a lane's requests, which take as long on average
// More than this from the second quarter to the last is growth: a share, and at least so much.
const GROWTH = { memory: [0.1, 2], descriptors: [0.1, 8], lag: [1, 200] };
const CACHE_MB = 16; // the ledger's page cache, which fills as the ledger grows

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3600' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    plot: { type: 'string', default: 'soak.svg' },
  },
});
console.log(`seed ${options.seed}, ${options.seconds} s`);
const storm = await new Storm({ seed: Number(options.seed), lanes: 16, pause_ms: PAUSE_MS, disk_bytes: (24 << 20) + Number(options.seconds) * LEDGER_BYTES_PER_S, say: console.log }).start();
const samples = new Samples();
const pids = (await storm.processes()).map(({ pid }) => pid);
const complaints = [];
const sampling = setInterval(() => {
  storm.processes().then((processes) => samples.take(processes)).catch(() => {}); // paused just now: the next will do
}, SAMPLE_MS);
await storm.run(Number(options.seconds), KINDS.filter(({ kills }) => !kills)).catch((error) => complaints.push(error.stack));
clearInterval(sampling);
const ended = (await storm.processes()).filter(({ pid }) => !pids.includes(pid));
if (ended.length) complaints.push(`started anew: ${ended.map(({ name }) => name)}`);
complaints.push(...(await storm.stop()));

writeFileSync(options.plot, plot(samples));
console.log(`\n${storm.table()}\n\nrequests by outcome: ${JSON.stringify(storm.load.sums)}\n`);
console.log(`| process | ${Object.entries(MEASURES).map(([measure, { unit }]) => `${measure} ${unit}: early, late, most`).join(' | ')} |\n| --- | --- | --- | --- |`);
for (const name of samples.names()) {
  const cells = Object.keys(MEASURES).map((measure) => {
    const { early, late, most } = samples.growth(name, measure);
    const [share, least] = GROWTH[measure];
    const cache = measure === 'memory' && name.startsWith('statsd') ? CACHE_MB : 0;
    if (late - early > Math.max(least, share * early) + cache) complaints.push(`${name}: ${measure} grew from ${early} to ${late}`);
    return [early, late, most].map((value) => (value ?? 0).toFixed(measure === 'memory' ? 1 : 0)).join(', ');
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
for (const complaint of complaints.slice(0, 50)) console.log(`WRONG: ${complaint}`);
console.log(`plot: ${options.plot}`);
process.exit(complaints.length ? 1 : 0);
