// SPDX-License-Identifier: MIT
// What keeps one client from harming the others: limits of size, time, number and memory.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BIN_DIR, IS_SANITIZED, startSystem, startUpstream, user } from './harness.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { assertError, readStream } from './sse.mjs';
import { allPaused, ask, assertComplete, textOf, until } from '../faults/load.mjs';

const MAX_CONNECTIONS = 30;
let upstream, system;
before(async () => {
  upstream = await startUpstream();
  system = await startSystem({
    upstream,
    env: {
      CODEBUDDY_HEADER_TIMEOUT_S: '1',
      CODEBUDDY_BODY_TIMEOUT_S: '1',
      CODEBUDDY_BODY_TOTAL_TIMEOUT_S: '3',
      CODEBUDDY_CLIENT_IDLE_TIMEOUT_S: '1',
      CODEBUDDY_MAX_HEADER_BYTES: '4096',
      CODEBUDDY_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
      CODEBUDDY_MAX_STREAMS: '3',
    },
  });
});
after(async () => {
  await system?.stop();
  await upstream?.stop();
});

const headers = (to) => ({ Authorization: `Bearer ${to.password}`, 'Content-Type': 'application/json' });
const chat = (to, model, more) => ({ method: 'POST', path: '/v1/chat/completions', headers: headers(to), body: { model, messages: [user()], ...more } });

// Sends these bytes and nothing more; the answer, and that the connection is closed behind it.
async function cutOff(bytes) {
  const connection = new RawConnection(system.port);
  await connection.opened;
  const answer = connection.response();
  await connection.write(bytes);
  const response = await answer;
  await connection.closed;
  return response;
}

describe('slow and large senders', () => {
  test('a head that does not end in time: 408, closed', async () => {
    const response = await cutOff('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Half');
    assert.equal(response.status, 408);
    assertError(response.json().error);
  });
  test('a body that stops coming: 408, closed', async () => {
    const whole = requestBytes(chat(system, 's:chunks'));
    const response = await cutOff(whole.subarray(0, whole.length - 10));
    assert.equal(response.status, 408);
    assert.equal(response.json().error.code, 'request_timeout');
  });
  // Each pause is within CODEBUDDY_BODY_TIMEOUT_S, and it would go on for minutes.
  for (const coding of ['Content-Length: 100000', 'Transfer-Encoding: chunked'])
    test(`a body that drips (${coding}): 408 when CODEBUDDY_BODY_TOTAL_TIMEOUT_S is over, closed`, async () => {
      const connection = new RawConnection(system.port);
      await connection.opened;
      const answer = connection.response();
      await connection.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${system.password}\r\nContent-Type: application/json\r\n${coding}\r\n\r\n`);
      const from = performance.now();
      const drip = setInterval(() => connection.write(coding.startsWith('T') ? '1\r\n \r\n' : ' '), 100);
      try {
        const response = await answer;
        assert.equal(response.status, 408);
        assert.equal(response.json().error.code, 'request_timeout');
        assert.ok(performance.now() - from > 2500, 'it had less than its time');
        await connection.closed;
      } finally {
        clearInterval(drip);
      }
    });
  test('a connection that asks nothing more is closed', async () => {
    const connection = new RawConnection(system.port);
    await connection.opened;
    await connection.write(requestBytes({ path: '/health' }));
    assert.equal((await connection.response()).status, 200);
    await connection.closed;
  });
  test('a head over the limit: 431', async () => {
    const response = await rawRequest(system.port, { path: '/health', headers: { 'X-Large': 'y'.repeat(5000) } });
    assert.equal(response.status, 431);
    assertError(response.json().error);
  });
  test('Expect: 100-continue is answered, and the body taken', async () => {
    const connection = new RawConnection(system.port);
    await connection.opened;
    const request = chat(system, 's:echo');
    const body = Buffer.from(JSON.stringify(request.body));
    const head = requestBytes({ ...request, headers: { ...request.headers, Expect: '100-continue', 'Content-Length': String(body.length) }, body: undefined });
    const interim = new Promise((resolve) => connection.socket.once('data', (bytes) => resolve(bytes.toString('latin1'))));
    const answer = connection.response();
    await connection.write(head);
    assert.match(await interim, /^HTTP\/1\.1 100 /);
    await connection.write(body);
    assert.equal((await answer).json().choices[0].message.content, 'Say hello.');
    await connection.close();
  });
});

test('more streams than CODEBUDDY_MAX_STREAMS: 503 overloaded with Retry-After, until one is over', async () => {
  const mark = await upstream.mark();
  const holding = Array.from({ length: 3 }, () => new RawConnection(system.port));
  for (const connection of holding) {
    await connection.opened;
    connection.response().catch(() => {});
    await connection.write(requestBytes(chat(system, 's:silent-middle?key=full', { stream: true })));
  }
  await mark.reaches('chat', 3);
  const refused = await rawRequest(system.port, chat(system, 's:chunks'));
  assert.equal(refused.status, 503);
  assert.equal(refused.json().error.code, 'overloaded');
  assert.ok(Number(refused.header('retry-after')) >= 1);
  assert.equal((await rawRequest(system.port, { path: '/health' })).status, 200);
  await Promise.all(holding.map((connection) => connection.close()));
  await mark.reaches('aborts', 3);
  const served = await until(async () => {
    const response = await rawRequest(system.port, chat(system, 's:chunks'));
    return response.status === 200 && response;
  }, 'room for a request');
  assert.equal(served.json().choices[0].message.content, textOf(5));
});

test('more connections than CODEBUDDY_MAX_CONNECTIONS wait or are refused, and harm nobody', async () => {
  const crowd = Array.from({ length: MAX_CONNECTIONS + 20 }, () => new RawConnection(system.port));
  await Promise.allSettled(crowd.map((connection) => connection.opened));
  const served = ask(system, 's:chunks?key=crowd', { stream: false });
  await Promise.all(crowd.map((connection) => connection.close()));
  const end = await served.done;
  if (end.kind === 'complete') assert.equal(end.content, textOf(5));
  else assert.ok(end.kind === 'broken' || end.status === 503, JSON.stringify(end.status));
  assertComplete([await ask(system, 's:chunks?key=after-crowd').done], textOf(5));
});

test('a credential that is full: the next request waits for its turn', async () => {
  const narrow = await startSystem({ upstream, env: { CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT: '1' } });
  try {
    const calls = Array.from({ length: 6 }, (_, i) => ask(narrow, `s:chunks?gap_ms=20&key=turn${i % 2}`, { stream: i % 2 === 0 }));
    assertComplete(await Promise.all(calls.map((call) => call.done)), textOf(5));
    const { requests } = await upstream.control('requests?kind=chat&limit=6');
    const spans = requests.map(({ wall_ms: begin, duration_us: us }) => [begin, begin + us / 1000]).sort(([a], [b]) => a - b);
    for (let i = 1; i < spans.length; i++) assert.ok(spans[i][0] >= spans[i - 1][1] - 5, `two at a time: ${JSON.stringify(spans)}`);
  } finally {
    await narrow.stop();
  }
});

function residentBytes(pid) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
}

test('readers that stop reading cost a window each, not what the upstream has to say', async (t) => {
  const READERS = 20;
  const TOTAL_BYTES = 32 << 20; // each: 640 MB in all
  const patient = await startSystem({ upstream });
  try {
    assertComplete([await ask(patient, 's:chunks').done], textOf(5));
    const { processes } = await patient.status();
    const pids = processes.filter(({ role }) => role === 'gateway' || role === 'upstream-worker').map(({ pid }) => pid);
    const resident = () => pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
    const before = resident();
    const mark = await upstream.mark();
    const model = `s:big-body?total=${TOTAL_BYTES}&key=paused`;
    const readers = Array.from({ length: READERS }, () => new RawConnection(patient.port));
    for (const reader of readers) {
      await reader.opened;
      reader.socket.pause();
      reader.socket.write(requestBytes(chat(patient, model, { stream: true })));
    }
    await mark.reaches('chat', READERS);
    await allPaused(patient, READERS);
    const sent = await mark.since('bytes_sent');
    const grown = resident() - before;
    t.diagnostic(`${READERS} stopped readers of ${TOTAL_BYTES >> 20} MiB: ${(grown / 1e6).toFixed(1)} MB more in gateway and workers`);
    assert.ok(sent < (READERS * TOTAL_BYTES) / 2, `the upstream sent ${sent} bytes to readers who read nothing`);
    // ASan keeps freed memory aside (256 MB a process): there the size says nothing, the upstream's stop does.
    if (!IS_SANITIZED) assert.ok(grown < READERS * 2e6, `${grown} bytes`);
    for (const reader of readers.slice(1)) await reader.close();
    const [one] = readers;
    const answer = one.response();
    one.socket.resume();
    assert.equal(readStream((await answer).text, { model }).content.length, TOTAL_BYTES);
    await one.close();
  } finally {
    await patient.stop();
  }
});

// Four senders of 12 MB while the gateway sleeps, so that each has all that the kernel holds to offer when it wakes.
test('large bodies: no turn of the gateway reads more than it may', { skip: IS_SANITIZED }, async (t) => {
  const SENDERS = 4;
  const TURN_BYTES = 512 << 10; // connection_set.c; and 16 KiB at least of each
  const system = await startSystem({ upstream, env: { LD_PRELOAD: join(BIN_DIR, 'turn_bytes.so'), CODEBUDDY_MAX_BODY_BYTES: '16000000' } });
  try {
    const { processes } = await system.status();
    const gateway = processes.find(({ role }) => role === 'gateway').pid;
    const whole = requestBytes(chat(system, 's:chunks', { messages: [user('x'.repeat(12_000_000))] }));
    const headEnd = whole.indexOf('\r\n\r\n') + 4;
    const body = whole.subarray(headEnd);
    const head = whole.subarray(0, headEnd).toString().replace(/Content-Length: \d+/i, 'Transfer-Encoding: chunked');
    const chunked = Buffer.concat([Buffer.from(`${head}${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
    const connections = Array.from({ length: SENDERS }, () => new RawConnection(system.port));
    for (const connection of connections) await connection.opened;
    const answers = connections.map((connection) => connection.response());
    process.kill(gateway, 'SIGSTOP');
    const sent = connections.map((connection, i) => connection.write(i % 2 ? chunked : whole));
    await until(() => connections.every(({ socket }) => socket.bytesWritten - socket.writableLength > 0 || socket.writableLength > 0), 'the senders to begin');
    process.kill(gateway, 'SIGCONT');
    await Promise.all(sent);
    for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200, answer.text.slice(0, 300));
    const most = Math.max(...[...system.log().matchAll(/^turn_bytes codebuddy2api-gateway (\d+)$/gm)].map(([, bytes]) => Number(bytes)));
    t.diagnostic(`the longest turn read ${most} bytes`);
    assert.ok(most > 0 && most <= TURN_BYTES + SENDERS * (16 << 10), `${most} bytes in one turn`);
    await Promise.all(connections.map((connection) => connection.close()));
  } finally {
    await system.stop();
  }
});
