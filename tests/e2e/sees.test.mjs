// SPDX-License-Identifier: MIT
// What the upstream receives: the headers of upstream.md 3 and the bodies of upstream.md 4.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { credential, startSystem, user } from './harness.mjs';
import { rawRequest } from './raw.mjs';

let system, upstream, one;
before(async () => {
  one = credential('one', { domain: 'www.codebuddy.cn', user_id: 'u-17' });
  system = await startSystem({
    credentials: { one },
    env: {
      CODEBUDDY_MODEL_PREFIX: 'codebuddy/',
      CODEBUDDY_SYSTEM_MESSAGE: 'Be "good".',
      CODEBUDDY_REPLACEMENTS: '[{"from":"Cursor","to":"CodeBuddy"},{"from":"secret word","to":""}]',
    },
  });
  upstream = system.upstream;
});
after(async () => {
  // The stand-in checks every request it gets: headers, stream flag, first message.
  assert.deepEqual(await upstream.failures(), []);
  await system?.stop();
});

let unique = 0;
async function sent(body, headers) {
  const model = `s:chunks?key=sees${unique++}`;
  const response = await system.chat({ model, messages: [user()], ...body }, { headers });
  assert.equal(response.status, 200, await response.text());
  await response.arrayBuffer().catch(() => {});
  const request = await upstream.lastRequest(body.model?.replace(/^codebuddy\//, '') ?? model);
  return { ...request, json: JSON.parse(request.body), model };
}

const HEX_32 = /^[0-9a-f]{32}$/;

describe('headers', () => {
  test('all of them, with the credential’s token', async () => {
    const { headers, path, method } = await sent({});
    assert.equal(method, 'POST');
    assert.equal(path, '/v2/chat/completions');
    const expected = {
      authorization: `Bearer ${one.bearer_token}`,
      accept: 'application/json',
      'content-type': 'application/json',
      'x-requested-with': 'XMLHttpRequest',
      'x-product': 'SaaS',
      'x-agent-intent': 'craft',
      'x-ide-type': 'CLI',
      'x-ide-name': 'CLI',
      'x-domain': 'www.codebuddy.cn',
      'x-user-id': 'u-17',
      host: new URL(upstream.url).host,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(headers[name], value, name);
    assert.match(headers['user-agent'], /^codebuddy2api\/\d/);
    assert.match(headers['x-conversation-id'], /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(headers['x-conversation-request-id'], HEX_32);
    assert.match(headers['x-conversation-message-id'], HEX_32);
    assert.match(headers['x-request-id'], HEX_32);
    assert.ok(!('x-enterprise-id' in headers) && !('x-tenant-id' in headers), 'a personal account');
  });

  test('nothing of the client’s proof goes there', async () => {
    const { headers, body } = await sent({});
    assert.ok(!JSON.stringify([headers, body]).includes(system.password));
  });

  test('the client’s ids are passed on', async () => {
    const ids = { 'X-Conversation-ID': 'talk', 'X-Conversation-Request-ID': 'ask', 'X-Conversation-Message-ID': 'say' };
    const { headers } = await sent({}, ids);
    for (const [name, value] of Object.entries(ids)) assert.equal(headers[name.toLowerCase()], value);
  });

  describe('traces', () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const caller = '00f067aa0ba902b7';
    const parent = `00-${trace}-${caller}-01`;

    test('a trace goes on, with us as the caller', async () => {
      const spans = new Set();
      for (const [given, flags] of [[parent, '01'], [`00-${trace}-${caller}-00`, '00'], [`cc-${trace}-${caller}-03-later`, '01']]) {
        const { headers } = await sent({}, { traceparent: given, tracestate: 'rojo=1,\tcongo=t61rcWkgMzE , ' });
        const match = new RegExp(`^00-${trace}-([0-9a-f]{16})-${flags}$`).exec(headers.traceparent);
        assert.ok(match, headers.traceparent);
        spans.add(match[1]);
        assert.equal(headers.tracestate, 'rojo=1,congo=t61rcWkgMzE');
      }
      assert.ok(spans.size === 3 && !spans.has(caller) && !spans.has('0'.repeat(16)));
    });

    test('none is begun, and what is not valid is dropped', async () => {
      const bad = ['', `${parent}-more`, parent.toUpperCase(), `00-${'0'.repeat(32)}-${caller}-01`, `00-${trace}-${'0'.repeat(16)}-01`, `ff-${trace}-${caller}-01`, 'x'.repeat(300)];
      for (const headers of [{}, { tracestate: 'a=1' }, ...bad.map((traceparent) => ({ traceparent, tracestate: 'a=1' }))]) {
        const seen = (await sent({}, headers)).headers;
        assert.ok(!('traceparent' in seen) && !('tracestate' in seen), JSON.stringify(headers));
      }
    });

    test('a bad tracestate takes nothing else with it', async () => {
      for (const tracestate of ['A=1', 'a', `a=${'v'.repeat(600)}`, Array.from({ length: 33 }, (_, i) => `k${i}=1`).join()]) {
        const seen = (await sent({}, { traceparent: parent, tracestate })).headers;
        assert.ok(seen.traceparent.startsWith(`00-${trace}-`) && !('tracestate' in seen), tracestate);
      }
    });
  });

  test('ids with control characters are refused or replaced, never passed', async () => {
    const model = 's:chunks?key=control';
    const response = await rawRequest(system.port, {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json', 'X-Conversation-ID': 'a\x01b' },
      body: { model, messages: [user()] },
    });
    if (response.status === 400) return;
    assert.equal(response.status, 200);
    assert.ok(!(await upstream.lastRequest(model)).headers['x-conversation-id'].includes('\x01'));
  });

  test('enterprise accounts', async () => {
    const firm = await startSystem({
      upstream,
      credentials: { firm: credential('firm', { enterprise_id: 'ent-1', tenant_id: 'ten-1', account_uid: 'uid-1' }) },
    });
    try {
      const model = 's:chunks?key=firm';
      assert.equal((await firm.chat({ model, messages: [user()] })).status, 200);
      const { headers } = await upstream.lastRequest(model);
      assert.equal(headers['x-enterprise-id'], 'ent-1');
      assert.equal(headers['x-tenant-id'], 'ten-1');
      assert.equal(headers['x-user-id'], 'uid-1');
      assert.equal(headers['x-domain'], new URL(upstream.url).host);
    } finally {
      await firm.stop();
    }
  });
});

describe('bodies', () => {
  const roles = (json) => json.messages.map((message) => message.role);
  const DEFAULT = { role: 'system', content: 'Be "good".' };

  test('stream and usage are always asked for', async () => {
    const { json } = await sent({ stream: false });
    assert.equal(json.stream, true);
    assert.deepEqual(json.stream_options, { include_usage: true });
  });
  test('other stream options stay', async () => {
    const { json } = await sent({ stream: true, stream_options: { include_usage: false, x_other: [1] } });
    assert.deepEqual(json.stream_options, { include_usage: true, x_other: [1] });
  });
  test('stream_options: null', async () => {
    const { json } = await sent({ stream_options: null });
    assert.deepEqual(json.stream_options, { include_usage: true });
  });
  test('a system message is put first if there is none', async () => {
    const { json } = await sent({ messages: [user('a'), user('b')] });
    assert.deepEqual(json.messages, [DEFAULT, user('a'), user('b')]);
  });
  test('one that comes later is moved to the front', async () => {
    const system = { role: 'system', content: 'late' };
    const { json } = await sent({ messages: [user('a'), system, user('b')] });
    assert.deepEqual(json.messages, [system, user('a'), user('b')]);
  });
  test('developer becomes system', async () => {
    const { json } = await sent({ messages: [{ role: 'developer', content: 'x', name: 'n' }, user()] });
    assert.deepEqual(json.messages[0], { role: 'system', content: 'x', name: 'n' });
    const later = await sent({ messages: [user('a'), { role: 'developer', content: 'late' }, { role: 'system', content: 's' }] });
    assert.deepEqual(roles(later.json), ['system', 'user', 'system']);
    assert.equal(later.json.messages[0].content, 'late');
  });
  test('the prefix of the model is taken off; the client sees the name it used', async () => {
    const model = 's:chunks?key=prefix';
    const response = await system.chat({ model: `codebuddy/${model}`, messages: [user()] });
    assert.equal((await response.json()).model, `codebuddy/${model}`);
    assert.equal(JSON.parse((await upstream.lastRequest(model)).body).model, model);
  });
  test('replacements: in system messages, strings and text blocks, in order, nowhere else', async () => {
    const { json } = await sent({
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'You are Cursor. secret word' }, { type: 'other', text2: 'Cursor' }] },
        { role: 'system', content: 'Cursor, Cursor' },
        user('Cursor'),
      ],
    });
    assert.equal(json.messages[0].content[0].text, 'You are CodeBuddy. ');
    assert.equal(json.messages[0].content[1].text2, 'Cursor');
    assert.equal(json.messages[1].content, 'CodeBuddy, CodeBuddy');
    assert.equal(json.messages[2].content, 'Cursor');
  });
  test('numbers, spaces and unknown fields keep their very bytes', async () => {
    const model = 's:chunks?key=bytes';
    const body = `{ "x_big" : 9007199254740993, "x_float":1.50e+2 , "model":"${model}","messages":[{"role":"system","content":"s"},{"role":"user","content":"\\u00e9\\/"}],"x":{ "a" : [ ] }}`;
    assert.equal((await system.chat(body)).status, 200);
    const got = (await upstream.lastRequest(model)).body;
    for (const piece of ['"x_big" : 9007199254740993', '"x_float":1.50e+2', '"\\u00e9\\/"', '{ "a" : [ ] }']) assert.ok(got.includes(piece), `${piece} in ${got}`);
    JSON.parse(got);
  });
});
