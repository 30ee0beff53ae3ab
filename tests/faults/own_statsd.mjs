// SPDX-License-Identifier: MIT
// A system whose processes report to a statsd of the test's own, which may be killed, starved and restarted at
// will: the supervisor's back-off and directories are not in the way. The supervisor's own one stands idle.
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR, startSystem } from '../e2e/harness.mjs';
import { Child } from '../e2e/process.mjs';
import { until } from './load.mjs';

const run = promisify(execFile);

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class OwnStatsd {
  constructor(system, dataDir, bind) {
    this.system = system;
    this.dataDir = dataDir;
    this.bind = bind;
    this.logFile = join(system.dir, 'own-statsd.log');
  }

  async start() {
    this.opsPort ??= await freePort();
    const env = {
      ...this.system.environment,
      CODEBUDDY_DATA_DIR: this.dataDir,
      CODEBUDDY_STATSD_BIND: this.bind,
      CODEBUDDY_OPS_PORT: String(this.opsPort),
    };
    this.child = new Child(join(BIN_DIR, 'codebuddy2api-statsd'), [], { cwd: this.system.dir, env, log: this.logFile });
    return this;
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.child.exited;
  }

  // Its metric, undefined while it does not answer or has none.
  async metric(name) {
    try {
      const response = await fetch(`http://127.0.0.1:${this.opsPort}/metrics`);
      const match = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(await response.text());
      return match ? Number(match[1]) : undefined;
    } catch {
      return undefined;
    }
  }

  waitMetric(name, value) {
    return until(async () => (await this.metric(name)) === value, `${name} to be ${value}`);
  }

  async stop() {
    const end = await this.child.stop();
    if (end.code !== 0) throw new Error(`statsd ended with ${JSON.stringify(end)}:\n${this.child.tail()}`);
  }

  get ledger() {
    return join(this.dataDir, 'statsd', 'usage.db');
  }

  // One row of the ledger, while statsd runs or not.
  async row(sql, ledger = this.ledger) {
    const { stdout } = await run('sqlite3', ['-readonly', '-json', '-cmd', '.timeout 5000', ledger, sql]);
    return JSON.parse(stdout)[0];
  }

  async events(ledger) {
    return (await this.row('SELECT count(*) AS n FROM events', ledger)).n;
  }
}

export async function startWithOwnStatsd({ env, ...options } = {}) {
  const bind = `ipc:///tmp/cb-own-${process.pid}-${Math.floor(performance.now())}.sock`;
  const system = await startSystem({ ...options, env: { ...env, CODEBUDDY_STATSD_ENDPOINT: bind } });
  const dataDir = join(system.dir, 'own-data');
  mkdirSync(dataDir, { mode: 0o700 });
  const statsd = await new OwnStatsd(system, dataDir, bind).start();
  await statsd.waitMetric('codebuddy2api_ledger_failing', 0);
  return { system, statsd };
}
