// SPDX-License-Identifier: MIT
// Two hosts on one machine: network namespaces with a cable between them. `front` has gateway, credd and statsd, `back` the workers and
// the stand-in upstream; their links are tcp with CURVE. The test itself is a third host, which reaches the gateway.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { BIN_DIR, credential, root, secretText } from '../e2e/harness.mjs';
import { Child, until } from '../e2e/process.mjs';

const run = promisify(execFile);
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
const here = join(root, 'tests/containers');
const LINKS = { gateway: 9101, credd: 9102, statsd: 9103 };
const HTTP_PORT = 8001;

export class Hosts {
  constructor() {
    this.tag = `cb${process.pid}`;
    this.front = `${this.tag}f`;
    this.back = `${this.tag}b`;
    this.dir = mkdtempSync(join(tmpdir(), 'hosts'));
    this.password = secretText('pw');
    this.children = [];
    process.on('exit', () => this.removeNetwork());
  }

  // 10.213.1.0/30 between the hosts, 10.213.2.0/30 between the test and the front.
  makeNetwork() {
    ip('netns', 'add', this.front);
    ip('netns', 'add', this.back);
    ip('link', 'add', `${this.tag}x`, 'netns', this.front, 'type', 'veth', 'peer', 'name', `${this.tag}y`, 'netns', this.back);
    ip('link', 'add', `${this.tag}t`, 'type', 'veth', 'peer', 'name', `${this.tag}u`, 'netns', this.front);
    const address = (where, device, text) => {
      ip(...where, 'addr', 'add', text, 'dev', device);
      ip(...where, 'link', 'set', device, 'up');
    };
    address(['-n', this.front], `${this.tag}x`, '10.213.1.1/30');
    address(['-n', this.back], `${this.tag}y`, '10.213.1.2/30');
    address([], `${this.tag}t`, '10.213.2.1/30');
    address(['-n', this.front], `${this.tag}u`, '10.213.2.2/30');
    for (const host of [this.front, this.back]) ip('-n', host, 'link', 'set', 'lo', 'up');
  }

  removeNetwork() {
    for (const args of [['link', 'del', `${this.tag}t`], ['netns', 'del', this.front], ['netns', 'del', this.back]])
      try {
        ip(...args);
      } catch {
        // it was not made
      }
  }

  // The cable between the hosts: packets vanish, nobody is told.
  cut() {
    ip('-n', this.back, 'link', 'set', `${this.tag}y`, 'down');
  }

  heal() {
    ip('-n', this.back, 'link', 'set', `${this.tag}y`, 'up');
  }

  spawn(host, name, program, args, env) {
    const log = join(this.dir, `${name}.log`);
    const child = new Child('nsenter', [`--net=/run/netns/${host}`, program, ...args], { cwd: this.dir, env, log });
    this.children.push(child);
    return child;
  }

  daemon(host, role, name, more = {}) {
    const runDir = join(this.dir, name);
    mkdirSync(runDir, { mode: 0o700 });
    const near = host === this.front ? '127.0.0.1' : '10.213.1.1';
    const endpoint = (link) => (host === this.back && this.line ? `tcp://127.0.0.1:${LINKS[link]}` : `tcp://${near}:${LINKS[link]}`);
    return this.spawn(host, name, join(BIN_DIR, `codebuddy2api-${role}`), [], {
      PATH: process.env.PATH,
      CODEBUDDY_RUN_DIR: runDir,
      CODEBUDDY_LINK_KEYS_DIR: join(this.dir, 'keys'),
      CODEBUDDY_GATEWAY_BIND: `tcp://0.0.0.0:${LINKS.gateway}`,
      CODEBUDDY_CREDD_BIND: `tcp://0.0.0.0:${LINKS.credd}`,
      CODEBUDDY_STATSD_BIND: `tcp://0.0.0.0:${LINKS.statsd}`,
      CODEBUDDY_GATEWAY_ENDPOINTS: endpoint('gateway'),
      CODEBUDDY_CREDD_ENDPOINT: endpoint('credd'),
      CODEBUDDY_STATSD_ENDPOINT: endpoint('statsd'),
      CODEBUDDY_API_ENDPOINT: this.upstreamUrl,
      CODEBUDDY_CREDS_DIR: join(this.dir, 'creds'),
      CODEBUDDY_DATA_DIR: join(this.dir, `data-${role}`),
      CODEBUDDY_SITES_DIR: join(root, 'deploy/sites'),
      CODEBUDDY_OPS_PORT: '0',
      ...more,
    });
  }

  // `line`: { delay_ms, seed } puts a bad line into each link between the hosts.
  async start({ line } = {}) {
    this.line = line;
    this.makeNetwork();
    mkdirSync(join(this.dir, 'creds'), { mode: 0o700 });
    for (const role of ['credd', 'statsd']) mkdirSync(join(this.dir, `data-${role}`), { mode: 0o700 });
    writeFileSync(join(this.dir, 'creds/one.json'), JSON.stringify(credential('one')), { mode: 0o600 });
    await run(join(BIN_DIR, 'codebuddy2api'), ['keygen', join(this.dir, 'keys')]);
    const upstream = this.spawn(this.back, 'upstream', join(BIN_DIR, 'codebuddy2api-upstream'), [], { PATH: process.env.PATH });
    [, this.upstreamUrl] = await upstream.line(/^listening (http:\S+)/);
    if (line) {
      const lines = Object.values(LINKS).map((port) => `${port}:10.213.1.1:${port}`);
      const args = [join(here, 'bad_line.mjs'), String(line.seed), String(line.delay_ms), ...lines];
      await this.spawn(this.back, 'line', process.execPath, args, { PATH: process.env.PATH }).line(/^ready/);
    }
    this.daemon(this.front, 'statsd', 'statsd');
    this.daemon(this.front, 'credd', 'credd');
    this.daemon(this.front, 'gateway', 'gateway', {
      CODEBUDDY_HOST: '10.213.2.2',
      CODEBUDDY_PORT: String(HTTP_PORT),
      CODEBUDDY_PASSWORD: this.password,
    });
    this.daemon(this.back, 'upstream-worker', 'worker-1');
    this.daemon(this.back, 'upstream-worker', 'worker-2');
    await this.workersReady(2);
  }

  get origin() {
    return `http://10.213.2.2:${HTTP_PORT}`;
  }

  client() {
    return new OpenAI({ baseURL: `${this.origin}/v1`, apiKey: this.password, maxRetries: 0 });
  }

  async get(path) {
    const response = await fetch(`${this.origin}${path}`, { headers: { authorization: `Bearer ${this.password}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  }

  workersReady(count) {
    return until(async () => {
      const answer = await this.get('/api/processes').catch(() => ({ processes: [] }));
      const health = await fetch(`${this.origin}/health`).then((response) => response.json()).catch(() => ({}));
      const workers = answer.processes.filter(({ role }) => role === 'upstream-worker');
      return workers.length === count && (count === 0 || health.status === 'healthy');
    }, `${count} workers`);
  }

  log(name) {
    return readFileSync(join(this.dir, `${name}.log`), 'utf8');
  }

  // Ends all of it: everything must end with status 0.
  async stop() {
    const ends = await Promise.all(this.children.reverse().map((child) => child.stop()));
    const bad = ends.findIndex(({ code }) => code !== 0);
    if (bad >= 0) throw new Error(`${this.children[bad].log}: ${JSON.stringify(ends[bad])}`);
    rmSync(this.dir, { recursive: true, force: true });
  }

  kill() {
    for (const child of this.children) child.kill('SIGKILL');
    this.removeNetwork();
  }
}
