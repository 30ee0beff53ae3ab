// SPDX-License-Identifier: MIT
// What the processes write to standard error: JSON and text, one access line for each request however it
// ended, a request's id and trace in its lines, and a log that cannot be written.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { BIN_DIR, credential, startSystem, user } from './harness.mjs';
import { RawConnection, requestBytes } from './raw.mjs';
import { ask, isAlive, processes, restarted, until } from '../faults/load.mjs';
import { deadline } from './process.mjs';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

describe('as JSON', () => {
  let system;
  before(async () => {
    system = await startSystem({ env: { CODEBUDDY_LOG_FORMAT: 'json', CODEBUDDY_LOG_LEVEL: 'DEBUG', CODEBUDDY_HEADER_TIMEOUT_S: '1', CODEBUDDY_MAX_HEADER_BYTES: '4096' } });
  });
  after(() => system?.stop());

  // Whole ones: who reads while one is written sees its beginning.
  const lines = () => system.log().split('\n').slice(0, -1).map((line) => JSON.parse(line));
  const accessLines = (id) => lines().filter((line) => line.event === 'request' && (!id || line.req === id));
  // The one access line of a request; written when the turn it ended in is over.
  async function access(id) {
    const [line] = await until(() => accessLines(id).length > 0 && accessLines(id), `the access line of ${id}`);
    return line;
  }
  async function ofChat(body, headers) {
    const response = await system.chat({ messages: [user()], ...body }, { headers });
    const text = await response.text();
    return { line: await access(response.headers.get('x-request-id')), response, text };
  }

  test('a stream', async () => {
    const { line, text } = await ofChat({ model: 's:chunks?key=stream', stream: true }, { traceparent: PARENT });
    const { ts, pid, ms, first_ms, in_bytes, req, credential, ...rest } = line;
    assert.match(ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Number.isInteger(pid) && isAlive(pid));
    assert.ok(ms >= first_ms && first_ms >= 0 && in_bytes > 10);
    assert.match(req, /^[0-9a-f]{32}$/);
    assert.match(credential, /./);
    const expected = {
      level: 'INFO', service: 'gateway', event: 'request', method: 'POST', route: rest.route, status: 200, outcome: 'ok',
      out_bytes: Buffer.byteLength(text), model: 's:chunks?key=stream', prompt_tokens: 11, completion_tokens: 5,
      attempts: 1, moves: 0, key: 'password', client: '127.0.0.1', trace: TRACE,
    };
    assert.deepEqual(rest, expected);
  });

  test('a plain answer, one by an API key, one that another attempt saved', async () => {
    const { line } = await ofChat({ model: 's:chunks' });
    assert.deepEqual([line.status, line.outcome, line.completion_tokens, 'trace' in line, 'code' in line], [200, 'ok', 5, false, false]);
    const made = await (await system.fetch('/api/keys', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'logs' }) })).json();
    const secret = made.key ?? made.secret;
    const { line: keyed } = await ofChat({ model: 's:chunks' }, { authorization: `Bearer ${secret}` });
    assert.equal(keyed.key, made.id);
    assert.ok(!system.log().includes(secret));
    const { line: retried } = await ofChat({ model: 's:500?fail_times=1&key=retried' });
    assert.deepEqual([retried.status, retried.outcome, retried.attempts], [200, 'ok', 2]);
  });

  test('failures: before the first byte, in a stream, refused bodies', async () => {
    const { line: before } = await ofChat({ model: 's:500' });
    assert.deepEqual([before.status, before.outcome, before.code, before.attempts, before.model], [502, 'transient', 'upstream_error', 2, 's:500']);
    const { line: middle } = await ofChat({ model: 's:eof-middle', stream: true });
    assert.deepEqual([middle.status, middle.outcome, middle.code], [200, 'transient', 'upstream_incomplete']);
    const { line: refused } = await ofChat({ messages: 'none' });
    assert.deepEqual([refused.status, refused.outcome, refused.code, refused.attempts], [400, 'blameless', 'invalid_request', 0]);
  });

  test('what is no completion, and what is refused without its body', async () => {
    const plain = async (path, options) => {
      const response = await system.fetch(path, options);
      await response.arrayBuffer();
      const { method, route, status, outcome, code, key, prompt_tokens } = await access(response.headers.get('x-request-id'));
      return [method, route, status, outcome, code, key, prompt_tokens];
    };
    assert.deepEqual(await plain('/health', { headers: { authorization: '' } }), ['GET', 'health', 200, 'ok', undefined, undefined, undefined]);
    assert.deepEqual(await plain('/nothing?with=query'), ['GET', 'none', 404, 'refused', 'not_found', undefined, undefined]);
    assert.deepEqual((await plain('/v1/models', { headers: { authorization: 'Bearer wrong' } })).slice(2, 6), [401, 'refused', 'invalid_api_key', undefined]);
    assert.deepEqual((await plain('/health', { method: 'PURGE' })).slice(0, 5), ['other', 'health', 405, 'refused', 'method_not_allowed']);
    assert.ok(!/query|PURGE|wrong/.test(system.log()));
  });

  // Answered by the front before h2o has seen them.
  async function raw(bytes) {
    const connection = new RawConnection(system.port);
    await connection.opened;
    const answer = connection.response();
    await connection.write(bytes);
    const response = await answer;
    await connection.close();
    return access(response.header('x-request-id'));
  }

  test('what the front refuses', async () => {
    const large = await raw(`GET /health HTTP/1.1\r\nHost: a\r\nX-Large: ${'v'.repeat(5000)}\r\n\r\n`);
    assert.deepEqual([large.status, large.outcome, large.code, large.client], [431, 'refused', 'headers_too_large', '127.0.0.1']);
    const smuggler = await raw('POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n');
    assert.deepEqual([smuggler.status, smuggler.code], [400, 'invalid_request']);
    assert.ok(smuggler.reason.length > 5);
    const slow = await raw('GET /health HTTP/1.1\r\nHost: a\r\n');
    assert.deepEqual([slow.status, slow.code], [408, 'request_timeout']);
    assert.ok(slow.ms >= 900);
    const body = await raw('POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{');
    assert.deepEqual([body.method, body.status, body.code], ['POST', 401, 'missing_api_key']);
    assert.notEqual(body.route, 'none');
  });

  test('clients that leave: one line each', async () => {
    for (const [model, status] of [['s:silent?key=left', 499], ['s:slow?n=1000&key=left', 200]]) {
      const count = accessLines().length;
      const connection = new RawConnection(system.port);
      await connection.opened;
      let begin;
      const begun = new Promise((resolve) => (begin = resolve));
      connection.response({ onBytes: (response) => response.pieces.length && begin() }).catch(() => {});
      const headers = { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' };
      const seen = (await system.upstream.stats()).chat;
      await connection.write(requestBytes({ method: 'POST', path: '/v1/chat/completions', headers, body: { model, messages: [user()], stream: true } }));
      await (status === 200 ? begun : system.upstream.wait('chat', seen + 1));
      await connection.close();
      await until(() => accessLines().length > count, 'its line');
      const line = accessLines()[count];
      assert.deepEqual([line.status, line.outcome, line.code, line.model], [status, 'cancelled', 'client_closed_request', status === 200 ? model : undefined]);
    }
  });

  test('a worker dies: still one line for each', async () => {
    const count = accessLines().length;
    const running = Array.from({ length: 4 }, () => ask(system, 's:slow?n=100000&key=dies'));
    const silent = Array.from({ length: 4 }, () => ask(system, 's:chunks?first_ms=1000&key=moves'));
    await Promise.all(running.map(({ started }) => started));
    await system.upstream.wait('streams_now', 8);
    const pids = (await processes(system, 'upstream-worker')).map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    for (const { done } of running) assert.equal((await done).code, 'worker_lost');
    for (const { done } of silent) assert.equal((await done).kind, 'complete');
    await restarted(system, 'upstream-worker', pids);
    await until(() => accessLines().length >= count + 8, 'their lines');
    const ends = accessLines().slice(count);
    assert.equal(ends.length, 8);
    const lost = ends.filter(({ code }) => code === 'worker_lost');
    assert.equal(lost.length, 4);
    for (const line of lost) assert.deepEqual([line.status, line.outcome, line.model, typeof line.credential], [200, 'transient', 's:slow?n=100000&key=dies', 'string']);
    for (const line of ends.filter(({ code }) => !code)) assert.ok(line.outcome === 'ok' && line.moves >= 1, JSON.stringify(line));
  });

  test('an id and a trace in each line of a request, from process to process', async () => {
    const { line } = await ofChat({ model: 's:503?key=ids' }, { traceparent: PARENT });
    const all = lines().filter(({ req }) => req === line.req);
    assert.deepEqual(new Set(all.map(({ service }) => service)), new Set(['gateway', 'upstream-worker', 'credd']));
    for (const { event, service, trace } of all) assert.ok(service === 'credd' || trace === TRACE, `${service} ${event}`);
    const failed = all.find(({ event }) => event === 'upstream_failed');
    assert.deepEqual([failed.level, failed.status, failed.outcome], ['WARNING', 503, 'transient']);
  });

  test('a name of any characters is JSON', async () => {
    for (const model of ['a"b\\c', 'é世🙂', 'x'.repeat(128), '<&>', 'a=b c']) {
      const { line } = await ofChat({ model });
      assert.equal(line.model, model);
    }
  });

  test('one line for each request, and all processes speak JSON', async () => {
    const ids = accessLines().map(({ req }) => req);
    assert.equal(new Set(ids).size, ids.length);
    const services = new Set(lines().map(({ service }) => service));
    assert.deepEqual(services, new Set(['supervisor', 'gateway', 'upstream-worker', 'credd', 'statsd']));
  });

  test('access lines are turned off and on while it runs', async () => {
    const set = async (value) => {
      const response = await system.fetch('/api/settings', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ settings: { CODEBUDDY_ACCESS_LOG: value } }) });
      assert.equal(response.status, 200, await response.text());
    };
    const idOf = async () => {
      const response = await system.fetch('/health');
      await response.arrayBuffer();
      return response.headers.get('x-request-id');
    };
    await set('false');
    const silent = await until(async () => {
      const ids = [await idOf(), await idOf(), await idOf()];
      const { line } = await ofErrorLine();
      return line && ids.every((id) => accessLines(id).length === 0) && ids;
    }, 'no more lines');
    await set('true');
    await until(async () => accessLines(await idOf()).length === 1, 'lines again');
    for (const id of silent) assert.equal(accessLines(id).length, 0);
  });
  // A warning is written at once, and takes what waits along.
  async function ofErrorLine() {
    const model = `s:500?key=flush${Math.random()}`;
    await (await system.chat({ model, messages: [user()] })).text();
    return { line: lines().at(-1) };
  }
});

describe('as text', () => {
  let system;
  before(async () => {
    system = await startSystem();
  });
  after(() => system?.stop());

  test('one form for all, one line for a request', async () => {
    const response = await system.chat({ model: 's:chunks?key=a b', messages: [user()] });
    await response.text();
    const id = response.headers.get('x-request-id');
    await system.waitLog(new RegExp(`${id} request`));
    for (const line of system.log().trim().split('\n'))
      assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) (supervisor|gateway|upstream-worker|credd|statsd) \d+ req=(-|[0-9a-f]{32}) [a-z0-9_]+( [a-z0-9_]+=("([^"\\]|\\.)*"|[^\s"]+))*$/);
    const [, fields] = new RegExp(`INFO gateway \\d+ req=${id} request (.*)\n`).exec(system.log());
    assert.match(fields, /^method=POST route=\S+ status=200 outcome=ok ms=\d+ first_ms=\d+ in_bytes=\d+ out_bytes=\d+ model="s:chunks\?key=a b" credential=\S+ prompt_tokens=11 completion_tokens=5 attempts=1 moves=0 key=password client=127\.0\.0\.1$/);
  });
});

describe('a log that nobody can write', () => {
  // The program with standard error of its own choice. It is asked whether it is well by its ops endpoint.
  async function runWith(stdio, use) {
    const other = await startSystem({ credentials: { one: credential('one') } });
    const { environment, dir } = other;
    await other.child.stop();
    const child = spawn(join(BIN_DIR, 'codebuddy2api'), [], { cwd: dir, env: { ...environment, SUPERVISOR_READY_FD: '3' }, stdio: ['ignore', 'ignore', stdio, 'pipe'] });
    const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const ready = await deadline(new Promise((resolve) => child.stdio[3].setEncoding('utf8').once('data', resolve)), 'ready');
    other.port = Number(/http=(\d+)/.exec(ready)[1]);
    try {
      await use(other, child);
    } finally {
      child.kill('SIGTERM');
      const end = await deadline(exited, 'its end');
      assert.deepEqual(end, { code: 0, signal: null });
      await other.stop();
    }
  }
  const askMuch = async (system, count) => {
    for (let i = 0; i < count; i += 50)
      await Promise.all(Array.from({ length: 50 }, async () => {
        const response = await system.fetch(`/v1/${'x'.repeat(100)}`);
        assert.equal(response.status, 404);
        await response.arrayBuffer();
      }));
    const answer = await system.chat({ model: 's:chunks', messages: [user()] });
    assert.equal((await answer.json()).choices[0].message.content, 't0 t1 t2 t3 t4 ');
  };

  test('a reader that stands still: everything goes on', () =>
    runWith('pipe', (system, child) => {
      child.stderr.pause();
      return askMuch(system, 3000);
    }));
  test('a reader that left', () =>
    runWith('pipe', (system, child) => {
      child.stderr.destroy();
      return askMuch(system, 100);
    }));
});
