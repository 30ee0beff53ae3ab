// SPDX-License-Identifier: MIT
// Our streams on the wire, byte by byte, through the strict reader (raw.mjs, sse.mjs).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem, user } from './harness.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { readStream, splitEvents } from './sse.mjs';

let system;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_KEEPALIVE_S: '1' } });
});
after(() => system?.stop());

const request = (model, more = {}) => ({
  method: 'POST',
  path: '/v1/chat/completions',
  headers: { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' },
  body: { model, messages: [user()], stream: true, ...more },
});
const stream = (model, more, options) => rawRequest(system.port, request(model, more), options);

test('the head: exactly these headers, once each', async () => {
  const response = await stream('s:chunks');
  assert.equal(response.status, 200);
  assert.equal(response.header('content-type'), 'text/event-stream; charset=utf-8');
  assert.equal(response.header('cache-control'), 'no-cache, no-transform');
  assert.equal(response.header('x-accel-buffering'), 'no');
  assert.equal(response.header('transfer-encoding'), 'chunked');
  assert.equal(response.header('content-length'), undefined);
  assert.match(response.header('x-request-id'), /^\S+$/);
  const names = response.headers.map(([name]) => name.toLowerCase());
  assert.equal(new Set(names).size, names.length, `a header twice: ${names}`);
  const expected = ['cache-control', 'connection', 'content-type', 'date', 'server', 'transfer-encoding', 'x-accel-buffering', 'x-content-type-options', 'x-request-id'];
  for (const name of names) assert.ok(expected.includes(name), `unexpected header ${name}`);
});

test('every byte of a stream of five chunks', async () => {
  const model = 's:chunks?key=bytes';
  const response = await stream(model, { stream_options: { include_usage: true } });
  const first = JSON.parse(splitEvents(response.text)[0].data);
  const head = `data: {"id":"${first.id}","object":"chat.completion.chunk","created":${first.created},"model":"${model}","choices":[`;
  const events = splitEvents(response.text);
  assert.equal(events.length, 5 + 1 + 1 + 1);
  for (const [i, event] of events.slice(0, 6).entries()) {
    const line = `data: ${event.data}`;
    assert.ok(line.startsWith(head), line);
    const role = i === 0 ? { role: 'assistant' } : {};
    const delta = i < 5 ? { ...role, content: `t${i} ` } : {};
    assert.deepEqual(JSON.parse(event.data).choices, [{ index: 0, delta, finish_reason: i < 5 ? null : 'stop' }]);
  }
  assert.deepEqual(JSON.parse(events[6].data).choices, []);
  assert.equal(events[7].data, '[DONE]');
  assert.ok(response.text.endsWith('data: [DONE]\n\n'));
});

test('every event is in one piece: no chunk of the coding cuts one', async () => {
  const response = await stream('s:chunks?n=20&gap_ms=20');
  for (const piece of response.pieces) {
    const text = piece.toString('utf8');
    assert.ok(text.startsWith('data: ') && text.endsWith('\n\n'), JSON.stringify(text.slice(0, 100)));
  }
  assert.ok(response.pieces.length >= 10, `${response.pieces.length} pieces: events were gathered`);
});

test('without include_usage there is no usage anywhere', async () => {
  for (const model of ['s:chunks', 's:usage-finish', 's:usage-every']) {
    const { text } = await stream(model);
    assert.ok(!text.includes('"usage"'), text);
    readStream(text, { model });
  }
});

test('each event arrives while the upstream is still silent about the next', async () => {
  const model = 's:silent-middle';
  const connection = new RawConnection(system.port);
  await connection.opened;
  await connection.write(requestBytes(request(model)));
  let both;
  const arrived = new Promise((resolve) => (both = resolve));
  connection.response({ onBytes: ({ body }) => body.includes('t0 ') && body.includes('t1 ') && both() }).catch(() => {});
  await arrived; // the upstream says nothing after these two: held back, they would never come
  await connection.close();
});

test('a stream that says nothing for long gets a 200 and comments, then its events', async () => {
  const model = 's:chunks?n=2&header_ms=2600';
  const response = await stream(model);
  const answer = readStream(response.text, { model });
  assert.ok(answer.comments.length >= 2, `${answer.comments.length} comments in 2.6 s at one a second`);
  assert.ok(answer.comments.every((comment) => comment === 'keepalive'));
  assert.equal(answer.content, 't0 t1 ');
});

test('comments in the middle, too', async () => {
  const model = 's:chunks?n=2&gap_ms=2300';
  const answer = readStream((await stream(model)).text, { model });
  assert.ok(answer.comments.length >= 1);
  assert.equal(answer.content, 't0 t1 ');
});

test('an error after the 200 of a keepalive is an error event', async () => {
  const model = 's:500?header_ms=1500';
  const response = await stream(model);
  assert.equal(response.status, 200);
  const answer = readStream(response.text, { model });
  assert.equal(answer.error.code, 'upstream_error');
  assert.equal(answer.error.message, 'internal error');
  assert.equal(answer.done, false);
});

test('the connection serves on after a stream, and after one that broke', async () => {
  const connection = new RawConnection(system.port);
  await connection.opened;
  for (const model of ['s:chunks', 's:eof-middle', 's:error-text', 's:chunks']) {
    await connection.write(requestBytes(request(model)));
    const response = await connection.response();
    assert.equal(response.status, 200);
    readStream(response.text, { model });
    assert.equal(connection.early.length, 0);
  }
  await connection.close();
});

test('a slow reader gets everything, and costs one window', async () => {
  const model = 's:big-body?key=slow-reader';
  const mark = await system.upstream.mark();
  const connection = new RawConnection(system.port);
  await connection.opened;
  connection.socket.pause();
  connection.socket.write(requestBytes(request(model)));
  await mark.reaches('chat', 1);
  const status = await system.status();
  const answer = connection.response();
  connection.socket.resume();
  const { content } = readStream((await answer).text, { model });
  assert.equal(content.length, 8 << 20);
  assert.ok(status);
  await connection.close();
});

test('JSON escapes, names with quotes and characters of every length come back as they went', async () => {
  const content = 'quote " backslash \\ tab \t newline \n é 世 🙂 \u2028 \u0001 </script>';
  const answer = readStream((await stream('s:echo', { messages: [user(content)] })).text, { model: 's:echo' });
  assert.equal(answer.content, content);
});
