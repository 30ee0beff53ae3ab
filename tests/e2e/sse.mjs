// SPDX-License-Identifier: MIT
// A strict reader of our completion streams: http-api.md, section 2, and nothing more lenient.
import assert from 'node:assert/strict';

// Splits a body into its events: comments (`: text`) and data, each ended by exactly one empty line.
export function splitEvents(text) {
  if (text === '') return [];
  assert.ok(!text.includes('\r'), 'a carriage return in the stream');
  assert.ok(text.endsWith('\n\n'), `the stream does not end with an empty line: ${JSON.stringify(text.slice(-80))}`);
  const blocks = text.slice(0, -2).split('\n\n');
  return blocks.map((block) => {
    assert.ok(!block.includes('\n'), `an event of more than one line: ${JSON.stringify(block.slice(0, 200))}`);
    if (block.startsWith(': ')) return { comment: block.slice(2) };
    assert.ok(block.startsWith('data: '), `neither data nor comment: ${JSON.stringify(block.slice(0, 200))}`);
    return { data: block.slice(6) };
  });
}

const NOISE = {
  role: (value) => value === '' || value === null,
  content: (value) => value === '' || value === null,
  tool_calls: (value) => value === null || value.length === 0,
  function_call: () => true, // no scenario has a real one
  refusal: (value) => value === '' || value === null,
  reasoning_content: (value) => value === '' || value === null,
  reasoning: () => true, // always given out as reasoning_content
  extra_fields: () => true,
};

function addTool(tools, fragment) {
  assert.ok(Number.isInteger(fragment.index), 'a tool call fragment without index');
  const known = tools[fragment.index];
  if (known) {
    for (const key of ['id', 'type']) assert.ok(!(key in fragment), `${key} again on a later fragment`);
    assert.ok(!('name' in fragment.function), 'name again on a later fragment');
    known.function.arguments += fragment.function.arguments;
    known.fragments++;
    return;
  }
  assert.equal(fragment.index, tools.length, 'indexes are not in order of appearance');
  assert.match(fragment.id, /^call_\S+$/);
  assert.equal(fragment.type, 'function');
  assert.equal(typeof fragment.function.name, 'string');
  assert.equal(typeof fragment.function.arguments, 'string');
  tools.push({
    id: fragment.id,
    type: fragment.type,
    function: { name: fragment.function.name, arguments: fragment.function.arguments },
    fragments: 1,
  });
}

function addDelta(answer, delta) {
  for (const [key, isNoise] of Object.entries(NOISE))
    if (key in delta) assert.ok(!isNoise(delta[key]), `noise: ${key}: ${JSON.stringify(delta[key])}`);
  if ('role' in delta) {
    assert.equal(delta.role, 'assistant');
    assert.equal(answer.chunks.length, 1, 'a role after the first chunk');
    answer.roles++;
  }
  if ('content' in delta) answer.content = (answer.content ?? '') + delta.content;
  if ('reasoning_content' in delta) answer.reasoning = (answer.reasoning ?? '') + delta.reasoning_content;
  for (const fragment of delta.tool_calls ?? []) addTool(answer.tools, fragment);
}

function addChunk(answer, chunk, { model }) {
  answer.chunks.push(chunk);
  const first = answer.chunks[0];
  assert.equal(chunk.object, 'chat.completion.chunk');
  assert.match(chunk.id, /^chatcmpl-[A-Za-z0-9_-]+$/);
  assert.equal(chunk.id, first.id, 'ids differ');
  assert.ok(Number.isInteger(chunk.created) && chunk.created === first.created, 'created differs');
  assert.equal(chunk.model, model);
  assert.equal(answer.usageChunk, undefined, 'a chunk after the usage chunk');
  if (chunk.choices.length === 0) {
    assert.ok(answer.finish, 'the usage chunk comes before finish_reason');
    assert.equal(typeof chunk.usage, 'object');
    answer.usageChunk = chunk;
    answer.usage = chunk.usage;
    return;
  }
  assert.equal(chunk.choices.length, 1);
  assert.ok(!chunk.usage, 'usage outside its own chunk');
  const choice = chunk.choices[0];
  assert.equal(choice.index, 0);
  assert.ok('finish_reason' in choice, 'a choice without finish_reason');
  assert.equal(answer.finish, null, 'a delta after finish_reason');
  addDelta(answer, choice.delta);
  assert.ok(
    Object.keys(choice.delta).length > 0 || choice.finish_reason,
    `a chunk of nothing: ${JSON.stringify(chunk)}`,
  );
  answer.finish = choice.finish_reason;
}

// Reads a whole stream body. Returns what it says; throws at the first byte that the contract does not allow.
// `error` is the error object of a stream that failed; such a stream has no [DONE].
export function readStream(text, { model }) {
  const answer = {
    chunks: [],
    comments: [],
    roles: 0,
    content: null,
    reasoning: undefined,
    tools: [],
    finish: null,
    usage: undefined,
    usageChunk: undefined,
    error: undefined,
    done: false,
  };
  for (const event of splitEvents(text)) {
    assert.ok(!answer.done, 'something after [DONE]');
    assert.equal(answer.error, undefined, 'something after the error event');
    if ('comment' in event) {
      answer.comments.push(event.comment);
      continue;
    }
    if (event.data === '[DONE]') {
      answer.done = true;
      continue;
    }
    const value = JSON.parse(event.data);
    if ('error' in value) {
      assert.deepEqual(Object.keys(value), ['error']);
      assertError(value.error);
      answer.error = value.error;
      continue;
    }
    addChunk(answer, value, { model });
  }
  assert.ok(answer.done !== (answer.error !== undefined), 'neither [DONE] nor an error ends the stream');
  if (answer.done) assert.ok(answer.finish, 'no finish_reason');
  if (answer.chunks.length) assert.equal(answer.roles, 1, 'role is not there exactly once');
  return answer;
}

// The shape of every error object, everywhere.
export function assertError(error) {
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
  assert.equal(typeof error.message, 'string');
  assert.ok(error.message.length > 0);
  assert.equal(typeof error.type, 'string');
  for (const key of ['param', 'code']) assert.ok(error[key] === null || typeof error[key] === 'string', key);
}

// What a plain answer says, in the same words as readStream's.
export function readCompletion(completion, { model }) {
  assert.equal(completion.object, 'chat.completion');
  assert.match(completion.id, /^chatcmpl-[A-Za-z0-9_-]+$/);
  assert.ok(Number.isInteger(completion.created));
  assert.equal(completion.model, model);
  assert.equal(completion.choices.length, 1);
  const [choice] = completion.choices;
  assert.equal(choice.index, 0);
  assert.ok('logprobs' in choice);
  const { message } = choice;
  assert.equal(message.role, 'assistant');
  assert.ok('content' in message);
  const tools = (message.tool_calls ?? []).map((call) => {
    assert.match(call.id, /^call_\S+$/);
    assert.equal(call.type, 'function');
    assert.ok(!('index' in call), 'a plain answer numbers its calls by place');
    return { id: call.id, type: call.type, function: { name: call.function.name, arguments: call.function.arguments } };
  });
  if ('tool_calls' in message) assert.ok(tools.length > 0, 'an empty tool_calls');
  return {
    content: message.content,
    reasoning: message.reasoning_content,
    tools,
    finish: choice.finish_reason,
    usage: completion.usage,
    message,
    completion,
  };
}
