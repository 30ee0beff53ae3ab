// SPDX-License-Identifier: MIT
// Peers on the links that say anything: whoever may open the sockets in the run directory, a server of ours that
// was taken over, and strangers at a tcp port. Counted, refused, and nobody else notices.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR, IS_SANITIZED, root, startSystem, startUpstream } from './harness.mjs';
import { curveLinks, freePorts, makeKeys } from './links.mjs';
import { Child } from './process.mjs';
import { ask, assertComplete, keepAsking, pidOf, textOf, until } from '../faults/load.mjs';

const TRAINS = IS_SANITIZED ? 2000 : 20_000;
const run = promisify(execFile);
const enemyArguments = (how, endpoint, role) => [how, endpoint, role, join(root, 'tests/fuzz/message_fuzz/all_messages'), String(TRAINS), process.env.CB_SEED ?? '1'];
const enemy = (...how) => run(join(BIN_DIR, 'enemy'), enemyArguments(...how));
const residentBytes = (pid) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

// The sum of a link's counter over all processes and links.
async function counted(system, name) {
  const text = await (await system.ops('/metrics')).text();
  return [...text.matchAll(new RegExp(`^codebuddy2api_link_${name}_total\\{.*\\} (\\d+)$`, 'gm'))].reduce((sum, [, value]) => sum + Number(value), 0);
}

let upstream;
before(async () => {
  upstream = await startUpstream();
});
after(() => upstream?.stop());

describe('clients of a link out of their mind', () => {
  let system;
  before(async () => (system = await startSystem({ upstream })));
  after(() => system?.stop());

  for (const [socket, role] of [['gateway-0', 'upstream-worker'], ['credd', 'upstream-worker'], ['credd', 'gateway'], ['statsd', 'gateway']])
    test(`${TRAINS} trains to ${socket} from a false ${role}: counted, and nobody else notices`, async () => {
      const pids = async () => (await system.status()).processes.map(({ pid }) => pid);
      const [before, bad, strangers, logged] = [await pids(), await counted(system, 'bad_frames'), await counted(system, 'strangers'), system.logSize()];
      const load = keepAsking(system, `s:chunks?key=${socket}-${role}`);
      const { stdout } = await enemy('connect', `ipc://${join(system.dir, 'run', socket)}.sock`, role);
      assert.equal(stdout, `sent ${TRAINS}\n`);
      assertComplete(await load.stop(), textOf(5));
      assertComplete([await ask(system, 's:chunks').done], textOf(5));
      assert.deepEqual(await pids(), before);
      await until(async () => (await counted(system, 'bad_frames')) > bad && (await counted(system, 'strangers')) > strangers, 'the counters');
      assert.ok(system.logSize() - logged < 5e6, `${system.logSize() - logged} bytes of log`);
    });
});

// A process that no supervisor started, with its own run directory; `env` says whom it talks to.
function startAlone(system, program, env) {
  const dir = mkdtempSync(join(system.dir, 'alone'));
  mkdirSync(join(dir, 'run'), { mode: 0o700 });
  const all = { ...system.environment, CODEBUDDY_RUN_DIR: join(dir, 'run'), ...env };
  const child = new Child(join(BIN_DIR, `codebuddy2api-${program}`), [], { cwd: dir, env: all, log: join(dir, 'log') });
  child.asks = (what) => run(join(BIN_DIR, `codebuddy2api-${program}`), [what], { cwd: dir, env: all });
  return child;
}

// Does `work`, and then it must end well, too.
async function living(child, work) {
  try {
    await work();
  } catch (error) {
    error.message += `\n${JSON.stringify(child.end)}\n${child.tail()}`;
    throw error;
  } finally {
    await child.stop();
  }
  assert.deepEqual(child.end, { code: 0, signal: null }, child.tail());
}

describe('servers of a link out of their mind', () => {
  let system, place;
  before(async () => {
    system = await startSystem({ upstream, env: { CODEBUDDY_WORKERS: '1' } });
    place = (name) => `ipc://${join(system.dir, 'run', name)}.sock`;
  });
  after(() => system?.stop());

  // What was sent is on the wire when the enemy has ended, and read a little later.
  const isCounted = (child) => until(() => / bad_frame .*\n[^]* unexpected_message /.test(child.logText()), 'the log to name bad frames, then unexpected messages');
  function checkHarm(child, before_bytes) {
    assert.equal(child.end, undefined, child.tail());
    assert.ok(child.logText().length < 5e6, `${child.logText().length} bytes of log`);
    if (!IS_SANITIZED) assert.ok(residentBytes(child.process.pid) < before_bytes + 64e6, `${before_bytes} → ${residentBytes(child.process.pid)}`);
  }

  test(`a worker that a false gateway sends ${TRAINS} trains: counted, and it serves the true one`, async () => {
    const worker = startAlone(system, 'upstream-worker', {
      CODEBUDDY_GATEWAY_ENDPOINTS: `${place('gateway-0')},${place('false-gateway')}`,
      CODEBUDDY_CREDD_ENDPOINT: place('credd'), CODEBUDDY_STATSD_ENDPOINT: place('statsd'),
    });
    await living(worker, async () => {
      const bad = await counted(system, 'bad_frames');
      const load = keepAsking(system, 's:chunks?key=false-gateway');
      await until(() => worker.asks('--health').catch(() => null), 'the worker to be ready');
      const before_bytes = residentBytes(worker.process.pid);
      const { stdout } = await enemy('bind', place('false-gateway'), 'gateway');
      assert.equal(stdout, `sent ${TRAINS}\n`);
      assertComplete(await load.stop(), textOf(5));
      await isCounted(worker);
      checkHarm(worker, before_bytes);
      await until(async () => (await counted(system, 'bad_frames')) > bad, 'the counter');
      // The system's own worker stands still: what is answered, this one answers.
      const own = await pidOf(system, 'upstream-worker');
      process.kill(own, 'SIGSTOP');
      assertComplete([await ask(system, 's:chunks').done], textOf(5));
      await until(async () => (await pidOf(system, 'upstream-worker')) !== own, 'the stopped one to be replaced');
    });
  });

  test(`a worker among a false gateway, credd and statsd: alive, and ends when it is told`, async () => {
    const names = ['gateway', 'credd', 'statsd'];
    const worker = startAlone(system, 'upstream-worker', {
      CODEBUDDY_GATEWAY_ENDPOINTS: place('mad-gateway'), CODEBUDDY_CREDD_ENDPOINT: place('mad-credd'), CODEBUDDY_STATSD_ENDPOINT: place('mad-statsd'),
    });
    await living(worker, async () => {
      await until(() => worker.asks('--alive').catch(() => null), 'the worker to live');
      const before_bytes = residentBytes(worker.process.pid);
      const sent = await Promise.all(names.map((name) => enemy('bind', place(`mad-${name}`), name)));
      assert.deepEqual(sent.map(({ stdout }) => stdout), names.map(() => `sent ${TRAINS}\n`));
      await isCounted(worker);
      checkHarm(worker, before_bytes);
      await worker.asks('--alive');
    });
  });

  test(`a gateway between a false credd and statsd: alive, and it answers`, async () => {
    const [port] = await freePorts(1);
    const gateway = startAlone(system, 'gateway', {
      CODEBUDDY_HOST: '127.0.0.1', CODEBUDDY_PORT: String(port),
      CODEBUDDY_GATEWAY_BIND: place('lone-gateway'), CODEBUDDY_CREDD_ENDPOINT: place('bad-credd'), CODEBUDDY_STATSD_ENDPOINT: place('bad-statsd'),
    });
    const status = async (path, headers) => (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).status;
    await living(gateway, async () => {
      await until(() => gateway.asks('--alive').catch(() => null), 'the gateway to live');
      const before_bytes = residentBytes(gateway.process.pid);
      let asking = true;
      const lane = (async () => {
        const authorization = `Bearer ${system.password}`;
        while (asking) for (const path of ['/api/keys', '/api/stats', '/v1/models', '/health']) await status(path, { authorization }).catch(() => {});
      })();
      const sent = await Promise.all(['credd', 'statsd'].map((name) => enemy('bind', place(`bad-${name}`), name)));
      assert.deepEqual(sent.map(({ stdout }) => stdout), [`sent ${TRAINS}\n`, `sent ${TRAINS}\n`]);
      asking = false;
      await lane;
      await isCounted(gateway);
      checkHarm(gateway, before_bytes);
      assert.equal(await until(() => status('/health').catch(() => null), 'an answer'), 503); // it has no worker
    });
  });
});

// What ZeroMQ speaks, by hand: its greeting (ZMTP 3.1) for a mechanism, and frames.
function greeting(mechanism) {
  const bytes = Buffer.alloc(64);
  bytes[0] = 0xff;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes.write(mechanism, 12, 'latin1');
  return bytes;
}
const frame = (flags, body) => Buffer.concat([Buffer.from([flags, body.length]), Buffer.from(body, 'latin1')]);
const READY = frame(4, '\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0');

describe('strangers at a tcp port', () => {
  let dir, links, system;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'links'));
    links = await curveLinks(dir);
    system = await startSystem({ upstream, env: links });
  });
  after(async () => {
    await system?.stop();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });
  const servers = ['GATEWAY_BIND', 'CREDD_BIND', 'STATSD_BIND'].map((name) => [name.split('_')[0].toLowerCase(), () => Number(new URL(links[`CODEBUDDY_${name}`].replace('tcp:', 'http:')).port)]);

  // Says `pieces` as the other side answers; resolves once that side has closed the connection.
  const knock = (port, pieces) =>
    new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => pieces.forEach((piece) => socket.write(piece)));
      let heard_bytes = 0;
      socket.on('data', (bytes) => (heard_bytes += bytes.length));
      socket.on('error', () => {});
      socket.on('close', () => resolve(heard_bytes));
    });
  const attempts = {
    'no security at all': [greeting('NULL'), READY, frame(0, 'hello')],
    'a password': [greeting('PLAIN'), frame(4, '\x05HELLO\x04user\x04word')],
    'CURVE, with a first message of noise': [greeting('CURVE'), frame(4, `\x05HELLO${'\x55'.repeat(194)}`)],
    'CURVE, and then as if it were done': [greeting('CURVE'), READY, frame(0, 'hello')],
    HTTP: [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.padEnd(200, 'x'))],
    'bytes of no meaning': [Buffer.alloc(4096, 0xa5)],
  };
  for (const [name, port] of servers)
    test(`${name}: whoever has no key is refused and counted, and others are served`, async () => {
      const load = keepAsking(system, `s:chunks?key=stranger-${name}`);
      const [refused, strangers, logged] = [await counted(system, 'refused'), await counted(system, 'strangers'), system.logSize()];
      const ROUNDS = IS_SANITIZED ? 5 : 50;
      for (let round = 0; round < ROUNDS; round++) await Promise.all(Object.values(attempts).map((pieces) => knock(port(), pieces)));
      await until(async () => (await counted(system, 'refused')) >= refused + ROUNDS, 'the counter');
      assertComplete(await load.stop(), textOf(5));
      assert.equal(await counted(system, 'strangers'), strangers); // no frame of theirs was looked at
      assert.ok(system.logSize() - logged < 1e6, `${system.logSize() - logged} bytes of log`);
    });

  test('a worker with keys of its own making, which knows those of the servers: nobody lets it in', async () => {
    const made = join(dir, 'made');
    await makeKeys(made);
    const file = (keys) => readFileSync(join(keys, 'upstream-worker.keys'), 'utf8');
    const [own, real] = [file(made), file(links.CODEBUDDY_LINK_KEYS_DIR)];
    writeFileSync(join(made, 'upstream-worker.keys'), own.slice(0, own.indexOf('servers')) + real.slice(real.indexOf('servers')), { mode: 0o600 });
    const refused = await counted(system, 'refused');
    const worker = startAlone(system, 'upstream-worker', { CODEBUDDY_LINK_KEYS_DIR: made });
    await living(worker, async () => {
      await until(async () => (await counted(system, 'refused')) >= refused + 4, 'each server to refuse it');
      await assert.rejects(worker.asks('--health'), ({ stdout }) => stdout.includes('no link to credd'));
      await worker.asks('--alive');
      assertComplete([await ask(system, 's:chunks').done], textOf(5));
    });
  });
});
