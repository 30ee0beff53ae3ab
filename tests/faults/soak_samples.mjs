// SPDX-License-Identifier: MIT
// What each process holds, over time: memory, descriptors, lag. And whether it grew.
import { readFileSync, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

const resident = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
// What the ledger's caches hold (statsd tells): they fill as the ledger grows, and have bounds of their own.
const caches = ({ numbers }) => (numbers.ledger_memory_bytes ?? 0) / (1 << 20);
const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

export const MEASURES = {
  memory: { unit: 'MB', of: (process) => resident(process.pid) - caches(process) }, // beside its caches
  caches: { unit: 'MB', of: caches },
  descriptors: { unit: '', of: ({ pid }) => descriptors(pid) },
  lag: { unit: 'ms', of: ({ numbers }) => numbers.lag_ms ?? 0 },
};

// A thread that does nothing but ask to be woken, as the loops of our processes do for their heartbeats, and says how late it was
// at most in the last 15 to 30 seconds (as service_loop_lag_ms of proto/service.h): that is the machine, not us.
export class IdleThread {
  constructor() {
    this.shared = new Float64Array(new SharedArrayBuffer(16));
    this.worker = new Worker(
      `const { workerData: most } = require('node:worker_threads');
      let due = performance.now() + 1000, beats = 0;
      setInterval(() => {
        const now = performance.now();
        most[0] = Math.max(most[0], now - due);
        due = now + 1000;
        if (++beats % 15 === 0) [most[0], most[1]] = [0, most[0]];
      }, 1000);`,
      { eval: true, workerData: this.shared },
    );
  }

  lag_ms() {
    return Math.max(...this.shared);
  }

  stop() {
    return this.worker.terminate();
  }
}

export class Samples {
  constructor() {
    this.from_ms = performance.now();
    this.points = []; // { seconds, name, pid, memory, caches, descriptors, lag }
    this.idle = []; // { seconds, lag }
  }

  // idle_lag_ms: what the machine itself adds to the lag of anybody.
  take(processes, idle_lag_ms) {
    const seconds = (performance.now() - this.from_ms) / 1000;
    this.idle.push({ seconds, lag: idle_lag_ms });
    for (const process of processes) {
      const point = { seconds, name: process.name, pid: process.pid };
      for (const [measure, { of }] of Object.entries(MEASURES)) point[measure] = of(process);
      this.points.push(point);
    }
  }

  names() {
    return [...new Set(this.points.map(({ name }) => name))];
  }

  series(name, measure) {
    return this.points.filter((point) => point.name === name).map((point) => [point.seconds, point[measure]]);
  }

  growth(name, measure) {
    return growthOf(this.series(name, measure).map(([, value]) => value));
  }

  idleGrowth() {
    return growthOf(this.idle.map(({ lag }) => lag));
  }
}

// The median of the second quarter against that of the last: what came up once and stays is no growth.
function growthOf(values) {
  const median = (part) => [...part].sort((a, b) => a - b)[part.length >> 1];
  const quarter = Math.max(1, values.length >> 2);
  return { early: median(values.slice(quarter, 2 * quarter)), late: median(values.slice(-quarter)), most: Math.max(...values) };
}

const COLOURS = ['#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#7f7f7f'];
const WIDTH = 900;
const HEIGHT = 220;
const LEFT = 60;

function panel(samples, measure, top) {
  const named = samples.names().map((name) => [name, samples.series(name, measure)]).filter(([, points]) => points.some(([, value]) => value > 0));
  if (measure === 'lag') named.push(['idle thread', samples.idle.map(({ seconds, lag }) => [seconds, lag])]);
  const names = named.map(([name]) => name);
  const all = named.map(([, points]) => points);
  const most = Math.max(1, ...all.flat().map(([, value]) => value));
  const end = Math.max(1, ...all.flat().map(([seconds]) => seconds));
  const x = (seconds) => (LEFT + (seconds / end) * (WIDTH - LEFT - 10)).toFixed(1);
  const y = (value) => (top + HEIGHT - 20 - (value / most) * (HEIGHT - 50)).toFixed(1);
  const lines = all.map((points, i) => `<polyline fill="none" stroke="${COLOURS[i % COLOURS.length]}" points="${points.map(([seconds, value]) => `${x(seconds)},${y(value)}`).join(' ')}"/>`);
  const legend = names.map((name, i) => `<text x="${LEFT + 120 + i * 125}" y="${top + 15}" fill="${COLOURS[i % COLOURS.length]}">${name}</text>`);
  return [
    `<text x="5" y="${top + 15}" font-weight="bold">${measure}${MEASURES[measure].unit && ` (${MEASURES[measure].unit})`}</text>`,
    `<path d="M${LEFT} ${y(most)}V${y(0)}H${x(end)}" fill="none" stroke="#888"/>`,
    `<text x="5" y="${y(most)}">${most.toFixed(0)}</text><text x="5" y="${y(0)}">0</text><text x="${x(end) - 40}" y="${Number(y(0)) + 15}">${end.toFixed(0)} s</text>`,
    ...legend,
    ...lines,
  ].join('\n');
}

// An SVG of all measures, one panel each.
export function plot(samples) {
  const measures = Object.keys(MEASURES);
  const panels = measures.map((measure, i) => panel(samples, measure, i * HEIGHT));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT * measures.length}" font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n${panels.join('\n')}\n</svg>\n`;
}
