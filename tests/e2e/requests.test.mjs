// SPDX-License-Identifier: MIT
// What the API refuses, one rule after the other, and what the HTTP front does with requests that are odd.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem, user } from './harness.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { assertError } from './sse.mjs';

const MAX_BODY_BYTES = 1 << 20;
const ORIGIN = 'https://app.example';
let system;
before(async () => {
  system = await startSystem({
    env: {
      CODEBUDDY_MAX_BODY_BYTES: String(MAX_BODY_BYTES),
      CODEBUDDY_CORS_ORIGINS: `${ORIGIN}, https://other.example`,
      CODEBUDDY_MODEL_PREFIX: 'codebuddy/',
    },
  });
});
after(() => system?.stop());

const authorized = () => ({ Authorization: `Bearer ${system.password}` });
const chat = (body, headers = {}, more = {}) => ({
  method: 'POST',
  path: '/v1/chat/completions',
  headers: { ...authorized(), 'Content-Type': 'application/json', ...headers },
  body,
  ...more,
});
const send = (request, options) => rawRequest(system.port, request, options);

// Every error, everywhere: the body's shape, the type, the id.
function assertRefused(response, status, fields = {}) {
  assert.equal(response.status, status, response.body.toString());
  assert.match(response.header('content-type'), /^application\/json/);
  assert.match(response.header('x-request-id'), /^[\x21-\x7e]+$/);
  const body = response.json();
  assert.deepEqual(Object.keys(body), ['error']);
  assertError(body.error);
  for (const [key, value] of Object.entries(fields)) {
    if (value instanceof RegExp) assert.match(body.error[key], value);
    else assert.equal(body.error[key], value, `${key} of ${JSON.stringify(body.error)}`);
  }
}

describe('bodies that are refused, with the field at fault', () => {
  const ok = user();
  const deep = (levels) => `{"model":"s:chunks","messages":[{"role":"user","content":"x"}],"x":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  const rows = [
    ['nothing', '', null],
    ['not JSON', 'hello', null],
    ['half of it', '{"messages":[', null],
    ['something after it', '{"messages":[{"role":"user","content":"x"}]} x', null],
    ['an array', [], null],
    ['a string', '"text"', null],
    ['null', 'null', null],
    ['not UTF-8', Buffer.concat([Buffer.from('{"messages":[{"role":"user","content":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}]}')]), null],
    ['no messages', { model: 's:chunks' }, 'messages'],
    ['messages that are no array', { messages: {} }, 'messages'],
    ['messages: null', { messages: null }, 'messages'],
    ['no message', { messages: [] }, 'messages'],
    ['a message that is no object', { messages: [ok, 'text'] }, 'messages[1]'],
    ['a message without role', { messages: [ok, { content: 'x' }] }, 'messages[1].role'],
    ['a role that is no string', { messages: [{ role: 1, content: 'x' }] }, 'messages[0].role'],
    ['a message without content', { messages: [ok, ok, { role: 'user' }] }, 'messages[2].content'],
    ['a tool message without content', { messages: [ok, { role: 'tool', tool_call_id: 'c' }] }, 'messages[1].content'],
    ['an assistant without content or tool_calls', { messages: [{ role: 'assistant' }] }, 'messages[0].content'],
    ['stream: a string', { messages: [ok], stream: 'true' }, 'stream'],
    ['stream: a number', { messages: [ok], stream: 1 }, 'stream'],
    ['nesting over 512 levels', deep(512), null],
    ['nesting of 100,000 levels', deep(100_000), null],
  ];
  for (const [name, body, param] of rows) {
    test(name, async () => {
      const response = await send(chat(body));
      assertRefused(response, 400, { type: 'invalid_request_error', ...(param === null ? {} : { param }) });
      if (param) assert.ok(response.json().error.message.includes(param.replace(/^.*\./, '')), response.text);
    });
  }
  const good = {
    'nesting of 500 levels': deep(499),
    'an assistant with tool_calls and no content': {
      messages: [ok, { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '' } }] }],
    },
    'stream: false': { messages: [ok], stream: false },
    'content that is a list': { messages: [{ role: 'user', content: [{ type: 'text', text: 'x' }] }] },
  };
  for (const [name, body] of Object.entries(good)) {
    test(`taken: ${name}`, async () => {
      const sent = typeof body === 'string' ? body : { model: 's:chunks', ...body };
      const response = await send(chat(sent));
      assert.equal(response.status, 200, response.body.toString());
    });
  }
});

describe('content type', () => {
  const good = JSON.stringify({ model: 's:chunks', messages: [user()] });
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'multipart/form-data; boundary=x'])
    test(`415: ${type}`, async () => assertRefused(await send(chat(good, { 'Content-Type': type })), 415, { code: 'unsupported_media_type' }));
  // None is not a wrong one: many a script sends none.
  for (const type of [undefined, 'application/json; charset=utf-8', 'Application/JSON', 'application/json;charset="UTF-8"'])
    test(`taken: ${type}`, async () => assert.equal((await send(chat(good, { 'Content-Type': type }))).status, 200));
});

describe('body size', () => {
  test('413 before the body is sent, by its Content-Length', async () => {
    const connection = new RawConnection(system.port);
    await connection.opened;
    const head = chat('', { 'Content-Length': String(MAX_BODY_BYTES + 1) });
    await connection.write(requestBytes({ ...head, body: undefined }));
    assertRefused(await connection.response(), 413, { code: 'request_too_large' });
    await connection.close();
  });
  test('413 in the middle of a chunked body without end', async () => {
    const connection = new RawConnection(system.port);
    await connection.opened;
    const head = chat(undefined, { 'Transfer-Encoding': 'chunked' });
    await connection.write(requestBytes(head));
    const answered = connection.response();
    const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65536, 'x'), Buffer.from('\r\n')]);
    let over = false;
    answered.finally(() => (over = true)).catch(() => {});
    for (let i = 0; i < 64 && !over; i++) await Promise.race([connection.write(piece), answered, connection.closed]);
    assertRefused(await answered, 413);
    await connection.close();
  });
  test('just under the limit is taken', async () => {
    const frame = JSON.stringify({ model: 's:chunks', messages: [user('')] });
    const content = 'x'.repeat(MAX_BODY_BYTES - frame.length);
    const response = await send(chat({ model: 's:chunks', messages: [user(content)] }));
    assert.equal(response.status, 200, response.body.toString());
  });
  test('chunked bodies are taken', async () => {
    const body = Buffer.from(JSON.stringify({ model: 's:echo', messages: [user('piece by piece')] }));
    const pieces = [];
    for (let i = 0; i < body.length; i += 7) {
      const piece = body.subarray(i, i + 7);
      pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
    }
    const wire = Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
    const response = await send(chat(wire, { 'Transfer-Encoding': 'chunked' }));
    assert.equal(response.json().choices[0].message.content, 'piece by piece');
  });
});

describe('who may call', () => {
  test('401 without proof', async () => {
    const response = await send(chat({ messages: [user()] }, { Authorization: undefined }));
    assertRefused(response, 401, { code: 'missing_api_key' });
    assert.match(response.header('www-authenticate'), /^Bearer/);
  });
  test('401 with a wrong one', async () => {
    const response = await send(chat({ messages: [user()] }, { Authorization: 'Bearer wrong' }));
    assertRefused(response, 401, { code: 'invalid_api_key', message: /^Invalid password/ });
  });
  test('x-api-key', async () => {
    const headers = { Authorization: undefined, 'x-api-key': system.password };
    assert.equal((await send(chat({ model: 's:chunks', messages: [user()] }, headers))).status, 200);
  });
  test('admin routes too', async () => {
    assertRefused(await send({ path: '/api/stats' }), 401);
    assert.equal((await send({ path: '/api/stats', headers: authorized() })).status, 200);
  });
  test('authenticated answers are not to be stored', async () => {
    for (const path of ['/v1/models', '/api/stats']) {
      const response = await send({ path, headers: authorized() });
      assert.equal(response.header('cache-control'), 'private, no-store');
    }
  });
});

describe('paths and methods', () => {
  for (const path of ['/v1/nothing', '/v1/chat/completion', '/v2/chat/completions', '/codebuddy/v1/models/a/b', '/%00', '/../etc/passwd'])
    test(`404 ${path}`, async () => assertRefused(await send({ path, headers: authorized() }), 404));
  for (const [method, path, allow] of [
    ['GET', '/v1/chat/completions', /POST/],
    ['DELETE', '/v1/chat/completions', /POST/],
    ['POST', '/v1/models', /GET/],
    ['POST', '/health', /GET/],
  ])
    test(`405 ${method} ${path}`, async () => {
      const response = await send({ method, path, headers: authorized(), body: method === 'POST' ? '{}' : undefined });
      assertRefused(response, 405, { code: 'method_not_allowed' });
      assert.match(response.header('allow'), allow);
    });
  test('HEAD is GET without the body', async () => {
    const get = await send({ path: '/v1/models', headers: authorized() });
    const head = await send({ method: 'HEAD', path: '/v1/models', headers: authorized() });
    assert.equal(head.status, 200);
    assert.equal(head.header('content-length'), get.header('content-length'));
    assert.equal((await send({ method: 'HEAD', path: '/health' })).status, 200);
  });
  test('health, to anyone', async () => {
    const response = await send({ path: '/health' });
    assert.equal(response.status, 200);
    const body = response.json();
    assert.equal(body.status, 'healthy');
    assert.equal(body.service, 'codebuddy2api');
    assert.match(body.version, /^\d+\.\d+\.\d+/);
  });
});

describe('request ids', () => {
  test('every answer has one, no two the same', async () => {
    const ids = [];
    for (const path of ['/health', '/v1/models', '/nowhere', '/v1/models'])
      ids.push((await send({ path, headers: authorized() })).header('x-request-id'));
    const answer = await send(chat({ model: 's:chunks', messages: [user()], stream: true }));
    ids.push(answer.header('x-request-id'));
    assert.ok(ids.every(Boolean), ids.join());
    assert.equal(new Set(ids).size, ids.length);
  });
  test('the one of an error is in the log', async () => {
    const from = system.logSize();
    const id = (await send(chat({ model: 's:500', messages: [user()] }))).header('x-request-id');
    await system.waitLog(new RegExp(id), { from });
  });
  test("the client's is what the upstream gets, if it is sound", async () => {
    const model = 's:chunks?key=ids';
    const conversation = { 'X-Conversation-ID': 'talk-1', 'X-Conversation-Request-ID': 'ask-1', 'X-Conversation-Message-ID': 'say-1' };
    await send(chat({ model, messages: [user()] }, conversation));
    const { headers } = await system.upstream.lastRequest(model);
    for (const [name, value] of Object.entries(conversation)) assert.equal(headers[name.toLowerCase()], value);
  });
});

describe('CORS', () => {
  const preflight = (origin, path = '/v1/chat/completions') =>
    send({
      method: 'OPTIONS',
      path,
      headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type' },
    });
  test('a listed origin may', async () => {
    const response = await preflight(ORIGIN);
    assert.ok(response.status === 204 || response.status === 200, String(response.status));
    assert.equal(response.header('access-control-allow-origin'), ORIGIN);
    assert.match(response.header('access-control-allow-methods'), /POST/);
    assert.match(response.header('access-control-allow-headers'), /authorization/i);
    assert.match(response.header('vary'), /origin/i);
    const answer = await send(chat({ model: 's:chunks', messages: [user()] }, { Origin: ORIGIN }));
    assert.equal(answer.header('access-control-allow-origin'), ORIGIN);
  });
  test('errors carry it too, or a page could not read them', async () => {
    const answer = await send(chat({ messages: [] }, { Origin: ORIGIN }));
    assertRefused(answer, 400);
    assert.equal(answer.header('access-control-allow-origin'), ORIGIN);
  });
  test('another origin may not', async () => {
    assert.equal((await preflight('https://evil.example')).header('access-control-allow-origin'), undefined);
    const answer = await send(chat({ model: 's:chunks', messages: [user()] }, { Origin: 'https://evil.example' }));
    assert.equal(answer.header('access-control-allow-origin'), undefined);
  });
  test('never for the admin API', async () => {
    const headers = { ...authorized(), Origin: ORIGIN };
    assert.equal((await send({ path: '/api/stats', headers })).header('access-control-allow-origin'), undefined);
    assert.equal((await preflight(ORIGIN, '/api/stats')).header('access-control-allow-origin'), undefined);
  });
});

describe('the connection', () => {
  test('many requests on one, in order', async () => {
    const connection = new RawConnection(system.port);
    await connection.opened;
    for (let i = 0; i < 20; i++) {
      const text = `request ${i}`;
      await connection.write(requestBytes(chat({ model: 's:echo', messages: [user(text)], stream: i % 2 === 0 })));
      const response = await connection.response();
      assert.equal(response.status, 200);
      assert.ok(response.text.includes(text));
    }
    await connection.close();
  });
  test('bytes that are no HTTP do it no harm', async () => {
    for (const bytes of ['\x16\x03\x01\x02\x00\x01\x00', 'GET\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', `GET / HTTP/1.1\r\nX: ${'y'.repeat(1 << 20)}\r\n\r\n`]) {
      const connection = new RawConnection(system.port);
      await connection.opened;
      connection.socket.write(bytes, 'latin1');
      connection.socket.end();
      await connection.closed;
    }
    assert.equal((await send({ path: '/health' })).status, 200);
  });
  test('HTTP/2 is not offered', async () => {
    const response = await send({ path: '/health', headers: { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' } });
    assert.equal(response.status, 200);
  });
});

// Last, and in a system of its own: from then on the address is refused.
test('ten wrong passwords within a minute: 429, for right ones too', async () => {
  const flooded = await startSystem();
  try {
    const models = (password) => rawRequest(flooded.port, { path: '/v1/models', headers: { Authorization: `Bearer ${password}` } });
    assert.equal((await models(flooded.password)).status, 200);
    for (let i = 0; i < 10; i++) assertRefused(await models(`wrong-${i}`), 401);
    const wrong = await models('wrong-again');
    assertRefused(wrong, 429, { code: 'too_many_attempts' });
    const right = await models(flooded.password);
    assertRefused(right, 429, { code: 'too_many_attempts' });
    assert.ok(Number(right.header('retry-after')) > 0 && Number(right.header('retry-after')) <= 60);
    assert.equal((await rawRequest(flooded.port, { path: '/health' })).status, 200);
  } finally {
    await flooded.stop();
  }
});
