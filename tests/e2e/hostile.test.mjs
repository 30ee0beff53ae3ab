// SPDX-License-Identifier: MIT
// Crowds and enemies: clients who send nonsense or far too much, and an upstream that is out of its mind. Each gets the defined
// answer in bounded memory, and the others are served meanwhile.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import net from 'node:net';
import { gzipSync } from 'node:zlib';
import { IS_SANITIZED, startSystem, startUpstream, user } from './harness.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { assertError, readStream } from './sse.mjs';
import { allPaused, ask, assertComplete, textOf, until } from '../faults/load.mjs';

const ATTEMPTS = IS_SANITIZED ? 3000 : 100_000;
const ROUNDS = IS_SANITIZED ? 3 : 20; // of a hundred requests
let upstream;
before(async () => {
  upstream = await startUpstream();
});
after(() => upstream?.stop());

const headers = (to) => ({ Authorization: `Bearer ${to.password}`, 'Content-Type': 'application/json' });
const chat = (to, body) => ({ method: 'POST', path: '/v1/chat/completions', headers: headers(to), body });
const residentBytes = (pid) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
const pidOf = async (system, role) => (await system.status()).processes.find((process) => process.role === role).pid;

describe('crowds at the door', () => {
  let system, gateway;
  before(async () => {
    system = await startSystem({ upstream, env: { CODEBUDDY_MAX_STREAMS: '3' } });
    gateway = await pidOf(system, 'gateway');
    assertComplete([await ask(system, 's:chunks').done], textOf(5));
  });
  after(() => system?.stop());

  test(`${ATTEMPTS} connection attempts: they cost nothing that stays, and others are served`, async (t) => {
    const descriptors = () => readdirSync(`/proc/${gateway}/fd`).length;
    const before = { fds: descriptors(), bytes: residentBytes(gateway) };
    let left = ATTEMPTS;
    // Connects and resets, so that no port waits for its time to be over.
    const knock = () =>
      new Promise((resolve) => {
        const socket = net.connect(system.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.once('connect', () => socket.resetAndDestroy());
        socket.once('close', resolve);
      });
    const lane = async () => {
      while (left-- > 0) await knock();
    };
    const crowd = Promise.all(Array.from({ length: 100 }, lane));
    let isOver = false;
    crowd.then(() => (isOver = true));
    const ends = [];
    while (!isOver) ends.push(await ask(system, 's:chunks?key=door', { stream: ends.length % 2 === 0 }).done);
    await crowd;
    assertComplete(ends, textOf(5));
    await until(() => descriptors() <= before.fds + 5, 'the descriptors to be closed');
    t.diagnostic(`${ends.length} requests meanwhile, the slowest took ${Math.max(...ends.map(({ took_ms }) => took_ms)).toFixed(0)} ms; memory ${(before.bytes / 1e6).toFixed(1)} → ${(residentBytes(gateway) / 1e6).toFixed(1)} MB`);
    if (!IS_SANITIZED) assert.ok(residentBytes(gateway) < before.bytes + 8e6, `${before.bytes} → ${residentBytes(gateway)}`);
  });

  test('past the limit of streams: each of thousands gets 503 with Retry-After, in constant memory', async () => {
    const mark = await upstream.mark();
    const holding = Array.from({ length: 3 }, () => ask(system, 's:silent-middle?key=hold'));
    await mark.reaches('chat', 3);
    const before = residentBytes(gateway);
    for (let round = 0; round < ROUNDS; round++) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => rawRequest(system.port, chat(system, { model: 's:chunks', messages: [user()] }))));
      for (const answer of answers) {
        assert.equal(answer.status, 503);
        assert.equal(answer.json().error.code, 'overloaded');
        assert.ok(Number(answer.header('retry-after')) >= 1);
      }
    }
    if (!IS_SANITIZED) assert.ok(residentBytes(gateway) < before + 4e6, `${before} → ${residentBytes(gateway)}`);
    assert.equal(await mark.since('chat'), 3);
    for (const call of holding) call.close();
    await mark.reaches('aborts', 3);
  });

  test('a flood of wrong passwords: 401, then 429, and nothing grows', async () => {
    const before = residentBytes(gateway);
    const guess = (i) => rawRequest(system.port, { ...chat(system, { model: 's:chunks', messages: [user()] }), headers: { Authorization: `Bearer guess-${i}`, 'Content-Type': 'application/json' } });
    const statuses = {};
    for (let round = 0; round < ROUNDS; round++)
      for (const { status } of await Promise.all(Array.from({ length: 100 }, (_, i) => guess(round * 100 + i)))) statuses[status] = (statuses[status] ?? 0) + 1;
    assert.deepEqual(Object.keys(statuses).sort(), ['401', '429'], JSON.stringify(statuses));
    assert.ok(statuses[401] <= 10, JSON.stringify(statuses));
    if (!IS_SANITIZED) assert.ok(residentBytes(gateway) < before + 4e6);
    assert.equal((await rawRequest(system.port, { path: '/health' })).status, 200);
  });
});

describe('absurd requests', () => {
  let system;
  before(async () => (system = await startSystem({ upstream })));
  after(() => system?.stop());
  const post = (text) => rawRequest(system.port, { method: 'POST', path: '/v1/chat/completions', headers: headers(system), body: Buffer.from(text, 'latin1') });
  const messages = '"messages":[{"role":"user","content":"hi"}]';
  const refused = {
    'nesting of 100,000': `{"model":"s:chunks",${messages},"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    'nesting without an end': '{"a":'.repeat(200_000),
    'a number that is none': `{"model":"s:chunks",${messages},"n":1e}`,
    'a lone quote': '"',
    nothing: '',
    'half a surrogate in the escapes': `{"model":"s:chunks","messages":[{"role":"user","content":"\\ud8"}]}`,
    'bytes that are no UTF-8': `{"model":"s:chunks","messages":[{"role":"user","content":"\xff\xfe"}]}`,
    'a NUL': '{"model":"s:chunks"\0}',
  };
  for (const [name, text] of Object.entries(refused))
    test(`${name}: 400`, async () => {
      const answer = await post(text);
      assert.equal(answer.status, 400, answer.text.slice(0, 200));
      assertError(answer.json().error);
    });
  // Valid JSON, however odd: what is not ours to judge passes.
  const taken = {
    'a number of 10,000 digits': `{"model":"s:chunks",${messages},"seed":${'9'.repeat(10_000)}}`,
    'an exponent beyond all floats': `{"model":"s:chunks",${messages},"x":1e999999}`,
    '10,000 unknown fields': `{"model":"s:chunks",${messages}${Array.from({ length: 10_000 }, (_, i) => `,"k${i}":${i}`).join('')}}`,
  };
  for (const [name, text] of Object.entries(taken))
    test(`${name}: taken`, async () => {
      const answer = await post(text);
      assert.equal(answer.status, 200, answer.text.slice(0, 200));
      assert.equal(answer.json().choices[0].message.content, textOf(5));
    });
  test('the same key twice: 400, whichever would count elsewhere', async () => {
    const answers = await Promise.all([1, 2].map(() => post(`{"model":"s:chunks?n=1","model":"s:chunks?n=2",${messages}}`)));
    for (const answer of answers) {
      assert.equal(answer.status, 400);
      assert.equal(answer.json().error.message, 'model is given twice.');
    }
  });
  for (const path of ['/../../etc/passwd', '/admin/../../../etc/passwd', '/admin/%2e%2e/%2e%2e/etc/passwd', '/admin/..%2f..%2fetc/passwd', '//etc/passwd', '/admin/\\..\\..\\etc\\passwd', '/v1/models/..%2f..%2f..%2fetc%2fpasswd'])
    test(`${path}: not found`, async () => {
      const answer = await rawRequest(system.port, { path, headers: headers(system) });
      assert.ok([400, 404].includes(answer.status), `${answer.status}`);
      assert.ok(!answer.text.includes('root:'));
      assertError(answer.json().error);
    });
});

// An upstream of bare bytes: for each request, `speak(socket)` once its head is here.
async function startSpeaker(speak) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    let head = '';
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      head = head && !head.includes('\r\n\r\n') ? head + bytes.toString('latin1') : bytes.toString('latin1');
      if (head.startsWith('POST ') && head.includes('\r\n\r\n')) speak(socket);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

// Writes `piece` for as long as the other side takes it; what it took.
function pour(socket, piece, limit_bytes = 200 << 20) {
  let bytes = 0;
  const more = () => {
    while (bytes < limit_bytes && !socket.destroyed) {
      bytes += piece.length;
      if (!socket.write(piece)) return;
    }
  };
  socket.on('drain', more);
  more();
}

const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n';
const event = (content) => `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"${content}"},"finish_reason":null}]}\n\n`;
const LAST = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

describe('an upstream out of its mind', () => {
  let speaker, system, speak;
  before(async () => {
    speaker = await startSpeaker((socket) => speak(socket));
    system = await startSystem({ upstream, endpoint: speaker.url, env: { CODEBUDDY_WORKERS: '1', CODEBUDDY_FIRST_BYTE_TIMEOUT_S: '2', CODEBUDDY_IDLE_TIMEOUT_S: '2' } });
  });
  after(async () => {
    await system?.stop();
    speaker?.stop();
  });
  // Both modes, and what they cost the worker.
  async function both(what, check) {
    speak = what;
    const worker = await pidOf(system, 'upstream-worker');
    const before = residentBytes(worker);
    for (const stream of [true, false]) {
      const answer = await rawRequest(system.port, chat(system, { model: 'm', messages: [user()], stream }));
      check(answer, stream);
    }
    if (!IS_SANITIZED) assert.ok(residentBytes(worker) < before + 90e6, `${before} → ${residentBytes(worker)}`);
    assert.equal(await pidOf(system, 'upstream-worker'), worker, 'the worker was started anew');
  }
  const failsBefore = (...codes) => (answer) => {
    assert.ok([502, 504].includes(answer.status), `${answer.status} ${answer.text.slice(0, 200)}`);
    assertError(answer.json().error);
    assert.ok(codes.includes(answer.json().error.code), answer.text);
  };

  test('headers without an end', () =>
    both((socket) => {
      socket.write(EVENTS);
      pour(socket, Buffer.from(`X-More: ${'y'.repeat(4000)}\r\n`));
    }, failsBefore('upstream_protocol_error', 'upstream_error')));
  test('a status line without an end', () =>
    both((socket) => pour(socket, Buffer.from(`HTTP/1.1 200 ${'y'.repeat(4000)}`.slice(0, 4000))), failsBefore('upstream_protocol_error', 'upstream_error')));
  test('a line without an end', () =>
    both((socket) => {
      socket.write(`${EVENTS}\r\ndata: {"x":"`);
      pour(socket, Buffer.alloc(64 << 10, 'z'));
    }, failsBefore('upstream_protocol_error', 'upstream_error', 'upstream_incomplete')));
  const bomb = gzipSync(Buffer.alloc(64 << 20, 'z'));
  test('a compressed bomb', () =>
    both((socket) => {
      socket.write(Buffer.concat([Buffer.from(`${EVENTS}Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`), bomb]));
    }, failsBefore('upstream_protocol_error')));
  test('fewer bytes than announced', () =>
    both((socket) => {
      const text = event('a');
      socket.end(`${EVENTS}Content-Length: ${text.length + 100}\r\n\r\n${text}`);
    }, (answer, stream) => {
      if (!stream) return failsBefore('upstream_incomplete')(answer);
      assert.equal(readStream(answer.text, { model: 'm' }).error.code, 'upstream_incomplete');
    }));
  test('more bytes than announced: the announced ones count', () =>
    both((socket) => {
      const text = event('a') + LAST;
      socket.end(`${EVENTS}Content-Length: ${text.length}\r\n\r\n${text}${event('smuggled')}`);
    }, (answer, stream) => {
      assert.equal(answer.status, 200);
      assert.ok(!answer.text.includes('smuggled'));
      if (stream) assert.equal(readStream(answer.text, { model: 'm' }).content, 'a');
    }));
  test('a drip that never makes an event: the time limit holds', () =>
    both((socket) => {
      socket.write(`${EVENTS}\r\n`);
      const timer = setInterval(() => socket.write(': drip\n'), 100);
      socket.on('close', () => clearInterval(timer));
    }, failsBefore('upstream_timeout')));
  test('a drip of single bytes that does: the whole answer', () =>
    both((socket) => {
      socket.write(`${EVENTS}Connection: close\r\n\r\n`);
      const bytes = Buffer.from(event('drip') + LAST);
      let i = 0;
      const timer = setInterval(() => {
        if (socket.destroyed || i >= bytes.length) {
          clearInterval(timer);
          socket.end();
        } else socket.write(bytes.subarray(i, (i += 3)));
      }, 5);
    }, (answer) => {
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.text.includes('drip'));
    }));
});

test('1,000 clients that stop reading beside as many that read: these lose nothing, and each of those costs a window', async (t) => {
  const READERS = IS_SANITIZED ? 100 : 1000;
  const system = await startSystem({ upstream, env: { CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT: '10000', CODEBUDDY_BODY_TIMEOUT_S: '300' } });
  try {
    const { processes } = await system.status();
    const resident = () => processes.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
    const normal = async (count) => {
      const ends = [];
      for (let sent = 0; sent < count; sent += 50)
        ends.push(...(await Promise.all(Array.from({ length: 50 }, (_, i) => ask(system, 's:chunks?gap_ms=5&key=beside', { stream: i % 2 === 0 }).done))));
      assertComplete(ends, textOf(5));
      const times = ends.map(({ took_ms }) => took_ms).sort((a, b) => a - b);
      return { half: times[times.length >> 1], most: times.at(-1) };
    };
    await normal(200);
    const alone = await normal(READERS);
    const before = resident();
    const mark = await upstream.mark();
    const stopped = [];
    for (let i = 0; i < READERS; i++) {
      const reader = new RawConnection(system.port);
      await reader.opened;
      reader.socket.pause();
      reader.socket.write(requestBytes(chat(system, { model: 's:big-body?total=2097152&key=stopped', messages: [user()], stream: true })));
      stopped.push(reader);
    }
    await mark.reaches('chat', READERS);
    await allPaused(system, READERS);
    const beside = await normal(READERS);
    t.diagnostic(`half of the requests were through in ${alone.half.toFixed(0)} ms alone and ${beside.half.toFixed(0)} ms beside ${READERS} stopped readers, all in ${alone.most.toFixed(0)} and ${beside.most.toFixed(0)} ms`);
    const each = (resident() - before) / READERS;
    t.diagnostic(`a stopped reader costs ${(each / 1024).toFixed(0)} KiB in all processes together`);
    if (!IS_SANITIZED) assert.ok(each < 700 * 1024, `${each} bytes each`);
    await Promise.all(stopped.map((reader) => reader.close()));
    // What is left is pages that a connection kept for reuse, or the like, shares with what was freed.
    if (!IS_SANITIZED) await until(() => resident() < before * 1.1, () => `memory to return from ${resident()} to ${before}`);
  } finally {
    await system.stop();
  }
});
