// SPDX-License-Identifier: MIT
// One completion, as it comes: puts chunks together, and takes the times. Draws nothing.
import { ask, errorOf } from '../../core/api.js';
import { eventReader } from '../../core/live.js';
import { sessionOver } from '../../core/session.js';

const NOTHING = { text: '', reasoning: '', tools: [], finish: null, usage: null, deltas: 0 };

// A chunk's delta, or the message of a whole answer, added to what is there.
function takeDelta(answer, delta = {}) {
  const next = { ...answer };
  if (delta.content) next.text += delta.content;
  if (delta.reasoning_content) next.reasoning += delta.reasoning_content;
  if (delta.content || delta.reasoning_content || delta.tool_calls) next.deltas += 1;
  if (delta.tool_calls) {
    next.tools = [...answer.tools];
    delta.tool_calls.forEach((call, i) => {
      const at = call.index ?? i;
      const old = next.tools[at] ?? { name: '', arguments: '' };
      next.tools[at] = { name: old.name + (call.function?.name ?? ''), arguments: old.arguments + (call.function?.arguments ?? '') };
    });
  }
  return next;
}

export function takeChunk(answer, chunk) {
  const choice = chunk.choices?.[0];
  const next = choice ? takeDelta(answer, choice.delta ?? choice.message) : { ...answer };
  if (choice?.finish_reason) next.finish = choice.finish_reason;
  if (chunk.usage) next.usage = chunk.usage;
  return next;
}

// Sends `body` and calls say({ state, answer, firstMs, totalMs, error, requestId }) as things happen, the last time with a
// state that is over: 'done', 'stopped' (by `signal`), 'failed'.
export async function complete(body, signal, say) {
  const began = performance.now();
  const now = { state: 'waiting', answer: NOTHING, firstMs: null, totalMs: null, error: null, requestId: null };
  const change = (news) => say(Object.assign(now, news, { totalMs: performance.now() - began }));
  const take = (chunk) => change({ state: 'running', firstMs: now.firstMs ?? performance.now() - began, answer: takeChunk(now.answer, chunk) });
  try {
    const response = await ask('/v1/chat/completions', { method: 'POST', body, signal });
    now.requestId = response.headers.get('x-request-id');
    if (response.status === 401) sessionOver('ended');
    if (!response.ok) return change({ state: 'failed', error: await errorOf(response) });
    if (!body.stream) take(await response.json());
    else if (!(await readStream(response, take, change))) return undefined;
    return change({ state: 'done' });
  } catch (error) {
    return change(signal.aborted ? { state: 'stopped' } : { state: 'failed', error });
  }
}

// False if it ended with an error, which was said. Throws if the connection broke.
async function readStream(response, take, change) {
  let isDone = false;
  let failed = null;
  const read = eventReader(({ data }) => {
    if (data === '[DONE]') isDone = true;
    else if (!isDone && !failed) {
      const chunk = JSON.parse(data);
      if (chunk.error) failed = chunk.error;
      else take(chunk);
    }
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) read(part.value);
  if (failed) change({ state: 'failed', error: { ...failed, isCut: true } });
  else if (!isDone) change({ state: 'failed', error: { isBroken: true } });
  return isDone;
}

// Tokens a second from the first event on; whether it is only an estimate, by chunks. Null if there is nothing to tell.
export function rateOf({ answer, firstMs, totalMs }) {
  if (firstMs === null || totalMs - firstMs < 50) return null;
  const tokens = answer.usage?.completion_tokens ?? answer.deltas;
  return tokens > 1 ? { perSecond: (tokens * 1000) / (totalMs - firstMs), isEstimate: answer.usage?.completion_tokens === undefined } : null;
}
