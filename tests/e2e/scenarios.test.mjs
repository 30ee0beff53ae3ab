// SPDX-License-Identifier: MIT
// Every scenario of the stand-in upstream, streamed and plain: the client sees what scenario_table.mjs says.
// A scenario without a row fails, and so does a row without a scenario.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startSystem, startUpstream, user } from './harness.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { assertError, readCompletion, readStream } from './sse.mjs';
import { table } from './scenario_table.mjs';

const SHORT = {
  CODEBUDDY_FIRST_BYTE_TIMEOUT_S: '1',
  CODEBUDDY_IDLE_TIMEOUT_S: '1',
  CODEBUDDY_TOTAL_TIMEOUT_S: '3',
};
let upstream, normal, short;

before(async () => {
  upstream = await startUpstream();
  [normal, short] = await Promise.all([startSystem({ upstream }), startSystem({ upstream, env: SHORT })]);
});
after(async () => {
  await normal?.stop();
  await short?.stop();
  await upstream?.stop();
});

// The scenario's model name, different for every request, so that what one does to a credential for a model
// (a 429 cools it) does not meet another.
let unique = 0;
const modelOf = (name) => `s:${name}?key=k${unique++}`;

const request = (system, model, more) => ({
  method: 'POST',
  path: '/v1/chat/completions',
  headers: { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' },
  body: { model, messages: [user()], ...more },
});
const streamed = { stream: true, stream_options: { include_usage: true } };

function assertSays(answer, expected) {
  assert.equal(answer.content, expected.content);
  assert.equal(answer.reasoning, expected.reasoning);
  assert.equal(answer.finish, expected.finish);
  assert.deepEqual(
    answer.tools.map((call) => ({ name: call.function.name, arguments: call.function.arguments })),
    expected.tools.map((call) => ({ name: call.name, arguments: call.arguments })),
  );
  expected.tools.forEach((call, i) => call.id && assert.equal(answer.tools[i].id, call.id));
  assert.equal(new Set(answer.tools.map((call) => call.id)).size, answer.tools.length, 'ids are not distinct');
  if (expected.tokens === null) return assert.equal(answer.usage ?? null, null);
  assert.equal(answer.usage.prompt_tokens, 11);
  assert.equal(answer.usage.completion_tokens, expected.tokens);
  assert.equal(answer.usage.total_tokens, 11 + expected.tokens);
  assert.equal(answer.usage.prompt_tokens_details.cached_tokens, 4);
  assert.equal(answer.usage.credit, expected.credit ?? 0.0125);
}

// The unknown fields of `extra`, in the chunk and in the delta.
const KNOWN_NOT = { x_unknown: { list: [1, 2.5, null], text: 'kept' }, x_delta: { deep: { er: true } } };

function assertFailure(error, status, headers, expected) {
  assertError(error);
  assert.equal(status, expected.status, JSON.stringify(error));
  for (const key of ['code', 'type', 'message']) if (expected[key]) assert.equal(error[key], expected[key]);
  if (!expected.retryAfter) return;
  const [least, most] = expected.retryAfter;
  const seconds = Number(headers('retry-after'));
  assert.ok(seconds >= least && seconds <= most, `Retry-After: ${headers('retry-after')}`);
}

function assertStreamHead(response) {
  assert.equal(response.status, 200, response.body.toString('utf8', 0, 500));
  assert.equal(response.header('content-type'), 'text/event-stream; charset=utf-8');
  assert.equal(response.header('cache-control'), 'no-cache, no-transform');
  assert.equal(response.header('x-accel-buffering'), 'no');
  assert.equal(response.framing, 'chunked');
}

function assertErrorHead(response) {
  assert.match(response.header('content-type'), /^application\/json/);
  assert.ok(response.header('x-request-id'));
}

async function runStreamed(system, name, row) {
  const model = modelOf(name);
  const response = await rawRequest(system.port, request(system, model, streamed));
  if (row.refused) {
    assertErrorHead(response);
    return assertFailure(response.json().error, response.status, (key) => response.header(key), row.refused);
  }
  assertStreamHead(response);
  const answer = readStream(response.text, { model });
  if (row.breaks) {
    assert.equal(answer.content, row.breaks.after);
    assert.ok(answer.error, 'a stream that broke has no error event');
    const { code, type, message, streamMessage = message } = row.breaks;
    assert.equal(answer.error.code, code);
    if (type) assert.equal(answer.error.type, type);
    if (streamMessage) assert.equal(answer.error.message, streamMessage);
    return undefined;
  }
  assert.equal(answer.error, undefined);
  assertSays(answer, row.says);
  if (row.says.extra) {
    const [chunk] = answer.chunks;
    assert.deepEqual(chunk.x_unknown, KNOWN_NOT.x_unknown);
    assert.deepEqual(chunk.choices[0].delta.x_delta, KNOWN_NOT.x_delta);
  }
  return answer;
}

async function runPlain(system, name, row) {
  const model = modelOf(name);
  const response = await rawRequest(system.port, request(system, model));
  assert.match(response.header('content-type'), /^application\/json/);
  const failure = row.refused ?? row.breaks ?? row.endless;
  if (failure) {
    assertErrorHead(response);
    return assertFailure(response.json().error, response.status, (key) => response.header(key), failure);
  }
  assert.equal(response.status, 200, response.body.toString('utf8', 0, 500));
  assert.equal(response.framing, 'sized');
  const answer = readCompletion(response.json(), { model });
  assertSays(answer, row.says);
  if (row.says.extra) {
    assert.deepEqual(answer.completion.x_unknown, KNOWN_NOT.x_unknown);
    assert.deepEqual(answer.message.x_delta, KNOWN_NOT.x_delta);
  }
  return answer;
}

// Reads some events of a stream without end and leaves; the upstream's transfer must end.
async function runEndless(system, name) {
  const model = modelOf(name);
  const mark = await upstream.mark();
  const connection = new RawConnection(system.port);
  await connection.opened;
  await connection.write(requestBytes(request(system, model, streamed)));
  let enough;
  const heard = new Promise((resolve) => (enough = resolve));
  const answer = connection.response({
    onBytes: (response) => response.text.split('\n\n').length > 50 && enough(),
  });
  answer.catch(() => {}); // it never ends: the connection is closed in the middle
  await Promise.race([heard, answer]);
  await connection.close();
  await mark.reaches('aborts', 1);
}

async function withSystem(row, work) {
  if (!row.fresh) return work(row.system === 'short' ? short : normal);
  const system = await startSystem({ upstream });
  try {
    return await work(system);
  } finally {
    await system.stop();
  }
}

test('the table has a row for every scenario of the stand-in, and no other', async () => {
  assert.deepEqual(Object.keys(table).sort(), (await upstream.scenarios()).sort());
});

// One after the other: they count the upstream's aborts.
describe('a stream without end is given up when the client leaves', () => {
  for (const [name, row] of Object.entries(table).filter(([, { endless }]) => endless))
    test(`${name}: streamed`, () => withSystem(row, (system) => runEndless(system, name)));
});

describe('scenarios', { concurrency: 6 }, () => {
  for (const [name, row] of Object.entries(table)) {
    if (!row.endless) test(`${name}: streamed`, () => withSystem(row, (system) => runStreamed(system, name, row)));
    test(`${name}: plain`, () => withSystem(row, (system) => runPlain(system, name, row)));
  }
});
