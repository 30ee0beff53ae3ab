// SPDX-License-Identifier: MIT
// Debian's Prometheus and promtool, and what they read: the page, the rules, the dashboard.
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../e2e/harness.mjs';
import { Child } from '../e2e/process.mjs';
import { freePort } from './port.mjs';
import { until } from '../faults/load.mjs';

const run = promisify(execFile);
export const DIR = join(root, 'deploy/prometheus');

// promtool with our files; throws with all it said.
export async function promtool(...args) {
  try {
    const { stdout, stderr } = await run('promtool', args, { cwd: DIR });
    return stdout + stderr;
  } catch (error) {
    throw new Error(`promtool ${args.join(' ')}:\n${error.stdout}${error.stderr}`);
  }
}

// What `promtool check metrics` has to say of a page: nothing, if it is sound.
export function checkMetrics(page) {
  return new Promise((resolve, reject) => {
    const child = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
    child.on('error', reject);
    child.on('close', (code) => resolve(said + (code === 0 ? '' : `exit ${code}`)));
    child.stdin.end(page);
  });
}

// The samples of a page in the text format: name{labels} → value.
export function samplesOf(page) {
  const samples = new Map();
  for (const line of page.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const at = line.lastIndexOf(' ');
    samples.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return samples;
}

export const nameOf = (series) => /^[a-zA-Z0-9_:]+/.exec(series)[0];

// Families by TYPE: family → type.
export function typesOf(page) {
  return new Map([...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, family, type]) => [family, type]));
}

export class Prometheus {
  // Reads a running system's page with the configuration that we ship, but for the target and the pace.
  static async start(opsPort) {
    const prometheus = new Prometheus();
    prometheus.dir = mkdtempSync(join(tmpdir(), 'prom'));
    cpSync(DIR, join(prometheus.dir, 'config'), { recursive: true });
    const file = join(prometheus.dir, 'config/prometheus.yml');
    const target = /- targets: \['127\.0\.0\.1:8002'\].*/;
    const ours = `- {targets: ['127.0.0.1:${opsPort}'], labels: {namespace: here}}`; // the label, as on Kubernetes
    const config = readFileSync(file, 'utf8').replace(target, ours).replaceAll('15s', '1s');
    writeFileSync(file, config);
    prometheus.port = await freePort();
    prometheus.child = new Child(
      'prometheus',
      [`--config.file=${file}`, `--storage.tsdb.path=${prometheus.dir}/data`, `--web.listen-address=127.0.0.1:${prometheus.port}`],
      { cwd: prometheus.dir, env: { PATH: process.env.PATH }, log: join(prometheus.dir, 'log') },
    );
    await prometheus.child.logged(/Server is ready to receive web requests/);
    return prometheus;
  }

  async api(path, query = {}) {
    const response = await fetch(`http://127.0.0.1:${this.port}/api/v1/${path}?${new URLSearchParams(query)}`);
    const answer = await response.json();
    if (answer.status !== 'success') throw new Error(`${JSON.stringify(query)}: ${answer.error}`);
    return answer.data;
  }

  query(expression) {
    return this.api('query', { query: expression }).then(({ result }) => result);
  }

  // The target after its next `count` scrapes.
  scraped(count = 2) {
    const seen = new Set();
    return until(async () => {
      const [target] = (await this.api('targets')).activeTargets;
      if (!target) return false; // it has not read its configuration yet
      if (target.lastError) throw new Error(`scrape failed: ${target.lastError}`);
      if (target.health === 'up') seen.add(target.lastScrape);
      return seen.size > count && target;
    }, 'scrapes');
  }

  async stop() {
    await this.child.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
