// SPDX-License-Identifier: MIT
// The real openai client from npm against a running system, as a person's program would use it.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { startSystem, user } from './harness.mjs';
import { toolArguments } from './scenario_table.mjs';

let system, upstream, client;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_MODELS: 'gpt-5, claude-4.0 ,s:chunks' } });
  upstream = system.upstream;
  client = system.client();
});
after(() => system?.stop());

const create = (model, more = {}, options) =>
  client.chat.completions.create({ model, messages: [user()], ...more }, options);

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

describe('completions', () => {
  test('plain', async () => {
    const answer = await create('s:chunks');
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.model, 's:chunks');
    assert.equal(answer.choices.length, 1);
    assert.equal(answer.choices[0].message.role, 'assistant');
    assert.equal(answer.choices[0].message.content, 't0 t1 t2 t3 t4 ');
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer.usage.prompt_tokens, 11);
    assert.equal(answer.usage.completion_tokens, 5);
    assert.ok(Math.abs(answer.created - Date.now() / 1000) < 3600);
    assert.match(answer._request_id, /./);
  });

  test('under the prefix of the reference implementation', async () => {
    const other = system.client({ baseURL: `${system.origin}/codebuddy/v1` });
    const answer = await other.chat.completions.create({ model: 's:chunks', messages: [user()] });
    assert.equal(answer.choices[0].message.content, 't0 t1 t2 t3 t4 ');
  });

  test('without a model: the first configured one', async () => {
    const { data } = await client.models.list();
    const answer = await client.chat.completions.create({ messages: [user()] });
    assert.equal(answer.model, data[0].id);
  });

  test('streamed', async () => {
    const chunks = await collect(await create('s:chunks', { stream: true }));
    assert.equal(textOf(chunks), 't0 t1 t2 t3 t4 ');
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1), 'a usage chunk that nobody asked for');
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  });

  test('streamed with usage', async () => {
    const chunks = await collect(await create('s:usage-every', { stream: true, stream_options: { include_usage: true } }));
    const last = chunks.at(-1);
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 3);
    assert.equal(last.usage.total_tokens, 14);
    assert.ok(chunks.slice(0, -1).every((chunk) => !chunk.usage));
  });

  test('events come as they are said, not gathered', async () => {
    const stream = await create('s:chunks?n=3&gap_ms=150', { stream: true });
    const at = [];
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) at.push(performance.now());
    assert.equal(at.length, 3);
    // The upstream leaves 150 ms between them; gathered, they would arrive together.
    assert.ok(at[2] - at[0] > 150, `all within ${at[2] - at[0]} ms`);
  });

  test('the stream helper of the client', async () => {
    const stream = client.chat.completions.stream({ model: 's:tools-text', messages: [user()] });
    const message = await stream.finalMessage();
    assert.equal(message.tool_calls.length, 2);
    assert.equal(message.tool_calls[1].function.arguments, toolArguments(1));
  });
});

describe('tools', () => {
  const shapes = {
    'tools-proper': 3,
    'tools-index0': 3,
    'tools-index0-cont': 3,
    'tools-index0-interleaved': 2,
    'tools-noid': 3,
    'tools-noid-interleaved': 3,
    'tools-interleaved': 3,
    'tools-batch': 3,
  };
  const tools = ['get_weather', 'get_time', 'search_web'].map((name) => ({
    type: 'function',
    function: { name, parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  }));
  for (const [name, count] of Object.entries(shapes)) {
    test(`${name}: streamed and plain tell the same story`, async () => {
      const plain = await create(`s:${name}`, { tools });
      const stream = client.chat.completions.stream({ model: `s:${name}`, messages: [user()], tools });
      const streamed = await stream.finalChatCompletion();
      for (const answer of [plain, streamed]) {
        const [choice] = answer.choices;
        assert.equal(choice.finish_reason, 'tool_calls');
        assert.equal(choice.message.tool_calls.length, count);
        choice.message.tool_calls.forEach((call, i) => {
          assert.equal(call.type, 'function');
          assert.match(call.id, /^call_/);
          assert.equal(call.function.name, tools[i].function.name);
          assert.equal(call.function.arguments, toolArguments(i));
          assert.equal(JSON.parse(call.function.arguments).n, i);
        });
      }
    });
  }
});

test('reasoning, streamed and plain, under both of its names', async () => {
  for (const model of ['s:reasoning', 's:reasoning-plain', 's:reasoning-both']) {
    const plain = await create(model);
    assert.equal(plain.choices[0].message.reasoning_content, 'r0 r1 r2 ');
    assert.equal(plain.choices[0].message.content, 't0 t1 t2 ');
    const chunks = await collect(await create(model, { stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.reasoning_content ?? '').join(''), 'r0 r1 r2 ');
    assert.equal(textOf(chunks), 't0 t1 t2 ');
  }
});

test('images, tool results and unknown fields reach the upstream untouched', async () => {
  const model = 's:chunks?key=images';
  const image = `data:image/png;base64,${Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7) % 256)).toString('base64')}`;
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'text', text: 'What is this? é世🙂' }, { type: 'image_url', image_url: { url: image, detail: 'low' } }] },
    { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a": 1.50}' } }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'A cat.' },
  ];
  const more = {
    messages,
    tools: [{ type: 'function', function: { name: 'f', parameters: {} } }],
    tool_choice: 'auto',
    temperature: 0.25,
    x_unknown: { deep: [1, null, 'é'] },
  };
  await create(model, more);
  const seen = JSON.parse((await upstream.lastRequest(model)).body);
  assert.deepEqual(seen, { model, ...more, stream: true, stream_options: { include_usage: true } });
});

describe("errors as the client's own classes", () => {
  const rejects = (promise, type, fields) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
      for (const [key, value] of Object.entries(fields)) assert.equal(error[key], value, key);
      return true;
    });

  test('AuthenticationError', async () => {
    const stranger = system.client({ apiKey: 'not-the-password' });
    const call = () => stranger.chat.completions.create({ model: 's:chunks', messages: [user()] });
    await rejects(call(), OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key' });
    await assert.rejects(call(), /Invalid password/);
  });
  test('BadRequestError, with the field', () =>
    rejects(create('s:chunks', { messages: [] }), OpenAI.BadRequestError, {
      status: 400,
      type: 'invalid_request_error',
      param: 'messages',
    }));
  test('NotFoundError: a model that the upstream does not serve', () =>
    rejects(create('s:11102'), OpenAI.NotFoundError, { status: 404 }));
  test('NotFoundError: a path that is not there', () =>
    rejects(client.get('/nothing-here'), OpenAI.NotFoundError, { status: 404, code: 'not_found' }));
  test('RateLimitError', () =>
    rejects(create('s:429-retry?key=rate'), OpenAI.RateLimitError, { status: 429, type: 'rate_limit_error' }));
  test('InternalServerError', () =>
    rejects(create('s:500'), OpenAI.InternalServerError, { status: 502, code: 'upstream_error' }));
  test('InternalServerError before the first byte of a stream', () =>
    rejects(create('s:500', { stream: true }), OpenAI.InternalServerError, { status: 502 }));
  test('APIError in the middle of a stream, after what was said', async () => {
    const stream = await create('s:error-object', { stream: true });
    let text = '';
    await assert.rejects(
      async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      },
      (error) => {
        assert.ok(error instanceof OpenAI.APIError, error.constructor.name);
        assert.equal(error.code, '11000');
        return true;
      },
    );
    assert.equal(text, 't0 t1 ');
  });
  test('a truncated upstream stream is an error, never a short success', async () => {
    await rejects(create('s:eof-middle'), OpenAI.InternalServerError, { status: 502, code: 'upstream_incomplete' });
    await assert.rejects(
      async () => collect(await create('s:eof-middle', { stream: true })),
      (error) => error instanceof OpenAI.APIError && error.code === 'upstream_incomplete',
    );
  });
});

// The promise is 100 ms; the assertion leaves room for a machine that does ten other things.
describe('abort: the upstream sees it', () => {
  const LIMIT_MS = 1000;
  async function measure(t, name, start) {
    const model = `s:${name}${name.includes('?') ? '&' : '?'}key=abort${Math.random()}`;
    const controller = new AbortController();
    const mark = await upstream.mark();
    const rejected = start(model, controller);
    await mark.reaches('chat', 1);
    const ready = await rejected;
    const at = performance.now();
    controller.abort();
    await mark.reaches('aborts', 1);
    const took_ms = performance.now() - at;
    await ready();
    t.diagnostic(`the upstream saw it after ${took_ms.toFixed(1)} ms`);
    assert.ok(took_ms < LIMIT_MS, `${took_ms} ms`);
  }
  // Each returns, once there is something to abort, what waits for the client's own end of it.
  const request = (more) => async (model, { signal }) => {
    const refused = assert.rejects(create(model, more, { signal }), OpenAI.APIUserAbortError);
    return () => refused;
  };

  test('in the middle of a stream', (t) =>
    measure(t, 'silent-middle', async (model, { signal }) => {
      const stream = await create(model, { stream: true }, { signal });
      const iterator = stream[Symbol.asyncIterator]();
      assert.equal((await iterator.next()).value.choices[0].delta.content, 't0 ');
      assert.equal((await iterator.next()).value.choices[0].delta.content, 't1 ');
      const rest = iterator.next();
      return () => rest.catch((error) => assert.ok(error instanceof OpenAI.APIUserAbortError));
    }));
  test('of a stream before its first byte', (t) => measure(t, 'silent-header', request({ stream: true })));
  test('of a plain request before the first event', (t) => measure(t, 'silent', request({})));
  test('of a plain request that is being put together', (t) => measure(t, 'slow?n=2000', request({})));
});

test('100 at once, streamed and plain, none mixed up', async () => {
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const messages = [user(`I am number ${i}.`)];
      if (i % 2) return (await create('s:echo', { messages })).choices[0].message.content;
      return textOf(await collect(await create('s:echo?cut=rand', { messages, stream: true })));
    }),
  );
  answers.forEach((answer, i) => assert.equal(answer, `I am number ${i}.`));
});

describe('models', () => {
  test('list: the configured ones first', async () => {
    const { data } = await client.models.list();
    assert.deepEqual(data.slice(0, 3).map((model) => model.id), ['gpt-5', 'claude-4.0', 's:chunks']);
    for (const model of data) {
      assert.equal(model.object, 'model');
      assert.equal(model.owned_by, 'codebuddy');
      assert.ok(Number.isInteger(model.created));
    }
  });
  test('retrieve', async () => {
    assert.equal((await client.models.retrieve('claude-4.0')).id, 'claude-4.0');
    await assert.rejects(client.models.retrieve('nobody'), OpenAI.NotFoundError);
  });
});
