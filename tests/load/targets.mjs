// SPDX-License-Identifier: MIT
// The three things that are measured, each as { name, url, headers, pids(), stop() } (ours: system, too), all before one upstream.
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../e2e/process.mjs';
import { credential, startSystem } from '../e2e/harness.mjs';
import { family } from './processes.mjs';

const PATH = '/v2/chat/completions';

export function bare(upstream) {
  return { name: 'upstream', url: upstream.url + PATH, headers: ['Authorization: Bearer t'], pids: () => [], stop() {} };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function nginxConfiguration(dir, port, upstream) {
  return `worker_processes 2; pid ${dir}/pid; error_log ${dir}/error.log warn; daemon off; worker_rlimit_nofile 65536;
events { worker_connections 30000; }
http {
  access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  upstream far { server ${new URL(upstream.url).host}; keepalive 8192; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    keepalive_requests 100000000;
    location / { proxy_pass http://far; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
`;
}

export async function nginx(upstream) {
  const dir = mkdtempSync(join(tmpdir(), 'ng'));
  const port = await freePort();
  for (const name of ['body', 'proxy']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'nginx.conf'), nginxConfiguration(dir, port, upstream));
  const child = new Child('/usr/sbin/nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')], {
    cwd: dir,
    env: { PATH: process.env.PATH },
    log: join(dir, 'log'),
  });
  for (let up = false; !up; ) up = await fetch(`http://127.0.0.1:${port}/_control/stats`).then((r) => r.ok, () => false);
  return {
    name: 'nginx',
    url: `http://127.0.0.1:${port}${PATH}`,
    headers: ['Authorization: Bearer t'],
    pids: () => family(child.process.pid),
    async stop() {
      await child.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export async function ours(upstream, more = {}) {
  const system = await startSystem({
    upstream,
    credentials: { a: credential('a'), b: credential('b') },
    env: { CODEBUDDY_LOG_LEVEL: 'WARNING', CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT: '100000', ...more },
  });
  return {
    name: 'codebuddy2api',
    system,
    url: `${system.baseURL}/chat/completions`,
    headers: [`Authorization: Bearer ${system.password}`],
    pids: () => family(system.child.process.pid),
    stop: () => system.stop(),
  };
}
