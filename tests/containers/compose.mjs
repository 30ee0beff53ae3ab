// SPDX-License-Identifier: MIT
// A deployment by deploy/compose.yaml on a real engine, under a project name of its own, with the demo's upstream.
import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { root } from '../e2e/harness.mjs';
import { until } from '../e2e/process.mjs';

const run = promisify(execFile);
const MINUTE_MS = 60_000;
const IMAGE = 'codebuddy2api:latest';

export class Deployment {
  constructor() {
    this.project = `cb${process.pid}`;
    this.port = 18000 + (process.pid % 2000);
    this.dir = mkdtempSync(join(tmpdir(), 'compose'));
    this.deploy = join(this.dir, 'deploy');
    mkdirSync(this.deploy);
    // The files as a user has them, and beside them the secrets of this run.
    for (const name of ['compose.yaml', 'compose.env', 'demo.env', 'secrets-for-compose'])
      copyFileSync(join(root, 'deploy', name), join(this.deploy, name));
    this.environment = {
      ...process.env,
      PATH: `/usr/bin:${process.env.PATH}`, // the engine's own client
      COMPOSE_PROJECT_NAME: this.project,
      COMPOSE_INTERACTIVE_NO_CLI: '1',
      // By BuildKit, as Compose v2 builds; in half the time.
      COMPOSE_DOCKER_CLI_BUILD: '1',
      DOCKER_BUILDKIT: process.env.DOCKER_BUILDKIT ?? '1',
      CODEBUDDY_PUBLISH: `127.0.0.1:${this.port}`,
      CODEBUDDY_REVISION: 'under-test',
    };
  }

  // A program, with what it says on failure in the error.
  async run(program, args, { cwd = this.deploy, ms = 5 * MINUTE_MS } = {}) {
    try {
      const { stdout } = await run(program, args, { cwd, env: this.environment, timeout: ms, maxBuffer: 64 << 20 });
      return stdout;
    } catch (error) {
      error.message += `\n${error.stdout?.slice(-3000)}\n${error.stderr?.slice(-3000)}`;
      throw error;
    }
  }

  docker(...args) {
    return this.run('docker', args);
  }

  compose(...args) {
    return this.run('docker-compose', ['--env-file', 'demo.env', ...args]);
  }

  // All images, from the sources of the repository.
  build() {
    const file = join(root, 'deploy/compose.yaml');
    return this.run('docker-compose', ['--env-file', join(root, 'deploy/demo.env'), '-f', file, 'build', '--quiet'], {
      cwd: root,
      ms: 20 * MINUTE_MS,
    });
  }

  async makeSecrets() {
    await this.run(join(this.deploy, 'secrets-for-compose'), []);
    this.password = readFileSync(join(this.deploy, 'secrets/password'), 'utf8').trim();
  }

  up(scale = {}) {
    const scales = Object.entries(scale).flatMap(([service, count]) => ['--scale', `${service}=${count}`]);
    return this.compose('up', '--detach', '--no-build', ...scales);
  }

  client() {
    return new OpenAI({ baseURL: `http://127.0.0.1:${this.port}/v1`, apiKey: this.password, maxRetries: 0 });
  }

  async get(path) {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      headers: { authorization: `Bearer ${this.password}`, connection: 'close' },
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  // Running containers of a service: `docker inspect` of each.
  async containers(service) {
    const filter = ['--filter', `label=com.docker.compose.project=${this.project}`];
    if (service) filter.push('--filter', `label=com.docker.compose.service=${service}`);
    const ids = (await this.docker('ps', '-q', ...filter)).split('\n').filter(Boolean);
    return ids.length ? JSON.parse(await this.docker('inspect', ...ids)) : [];
  }

  // Waits until `count` processes of a role are connected to statsd and ready, as the admin page shows them.
  processes(role, count) {
    return until(
      async () => {
        const answer = await this.get('/api/processes').catch(() => null);
        const ready = answer?.processes.filter((process) => process.role === role && process.state === 'ready');
        return ready?.length === count && ready;
      },
      `${count} of ${role}`,
      2 * MINUTE_MS,
    );
  }

  healthy(service, count = 1) {
    return until(
      async () => {
        const states = (await this.containers(service)).map(({ State }) => State.Health?.Status);
        return states.length === count && states.every((state) => state === 'healthy');
      },
      `${count} healthy ${service}`,
      2 * MINUTE_MS,
    );
  }

  // The stand-in's counters; it is on an internal network, whose addresses this machine has a way to.
  async upstreamStats() {
    const [{ NetworkSettings }] = await this.containers('standin');
    const [{ IPAddress }] = Object.values(NetworkSettings.Networks);
    return (await fetch(`http://${IPAddress}:8080/_control/stats`)).json();
  }

  async logs() {
    return this.compose('logs', '--no-color', '--tail=60').catch((error) => error.message);
  }

  async remove() {
    await this.compose('down', '--volumes', '--remove-orphans', '--timeout', '5');
    rmSync(this.dir, { recursive: true, force: true });
  }

  // A container of one service as somebody would start it who is in the network and has keys of his own making.
  async stranger(service, command, env) {
    const own = join(this.dir, 'strange');
    mkdirSync(own, { recursive: true });
    await this.docker('run', '--rm', '--network=none', '--user=0:0', `--volume=${own}:/made`, IMAGE, 'codebuddy2api', 'keygen', '/made');
    this.mixKeys(own, service);
    for (const name of readdirSync(own)) chmodSync(join(own, name), 0o644);
    chmodSync(own, 0o755);
    const id = await this.docker(
      ...['run', '--detach', `--network=${this.project}_links`, `--label=com.docker.compose.project=${this.project}`],
      ...[`--volume=${own}:/run/secrets:ro`, '--tmpfs=/run/codebuddy2api:uid=10001,mode=0700'],
      ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
      ...[IMAGE, command],
    );
    return id.trim();
  }

  // The stranger knows the servers' public keys, which are no secret, but is on no list: the most that he can have.
  mixKeys(dir, service) {
    const real = readFileSync(join(this.deploy, 'secrets', `${service}.keys`), 'utf8');
    const strange = readFileSync(join(dir, `${service}.keys`), 'utf8');
    const servers = real.slice(real.indexOf('servers'));
    writeFileSync(join(dir, `${service}.keys`), strange.slice(0, strange.indexOf('servers')) + servers);
  }
}
