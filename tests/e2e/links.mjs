// SPDX-License-Identifier: MIT
// Links over tcp on the loopback, with a new CURVE key pair for each kind of process.
import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR } from './harness.mjs';

export async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export const makeKeys = (dir) => promisify(execFile)(join(BIN_DIR, 'codebuddy2api'), ['keygen', dir]);

// The settings of such links; their keys are in `dir`/keys.
export async function curveLinks(dir) {
  await makeKeys(join(dir, 'keys'));
  const [gateway, credd, statsd] = (await freePorts(3)).map((port) => `tcp://127.0.0.1:${port}`);
  return {
    CODEBUDDY_LINK_KEYS_DIR: join(dir, 'keys'),
    CODEBUDDY_GATEWAY_BIND: gateway, CODEBUDDY_GATEWAY_ENDPOINTS: gateway,
    CODEBUDDY_CREDD_BIND: credd, CODEBUDDY_CREDD_ENDPOINT: credd,
    CODEBUDDY_STATSD_BIND: statsd, CODEBUDDY_STATSD_ENDPOINT: statsd,
  };
}
