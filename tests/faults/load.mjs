// SPDX-License-Identifier: MIT
// Requests under way while something is killed, and what became of each.
import assert from 'node:assert/strict';
import { user } from '../e2e/harness.mjs';
import { RawConnection, requestBytes } from '../e2e/raw.mjs';
import { readCompletion, readStream } from '../e2e/sse.mjs';
import { PATIENCE_MS, deadline, until } from '../e2e/process.mjs';

export { until };

export const textOf = (count) => Array.from({ length: count }, (_, k) => `t${k} `).join('');

// Sends a request on a connection of its own. `sent`: it is out; `started`: the first byte of the body is here;
// `done`: { kind, status, code, content, took_ms } with kind
//   complete  a whole answer
//   failed    an HTTP error, or an error event after which the stream ended cleanly
//   broken    the connection went in the middle
export function ask(system, model, { stream = true } = {}) {
  const body = { model, messages: [user()], ...(stream ? { stream: true } : {}) };
  const headers = { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' };
  const connection = new RawConnection(system.port);
  let begin;
  const started = new Promise((resolve) => (begin = resolve));
  const from = performance.now();
  const call = { started, stream, model, close: () => connection.close() };

  const run = async () => {
    await connection.opened;
    const answer = connection.response({ onBytes: (response) => response.pieces.length && begin() });
    answer.catch(() => {});
    await connection.write(requestBytes({ method: 'POST', path: '/v1/chat/completions', headers, body }));
    let response;
    try {
      response = await answer;
    } catch (error) {
      return { kind: 'broken', text: error.response?.body.toString() ?? '', error };
    } finally {
      begin();
      await connection.close();
    }
    return judge(response, { model, stream });
  };
  call.done = deadline(
    run().then((end) => ({ ...end, took_ms: performance.now() - from })),
    `the answer to ${model}`,
    2 * PATIENCE_MS,
  );
  call.done.catch(() => {});
  return call;
}

function judge(response, { model, stream }) {
  const { status } = response;
  if (status !== 200) return { kind: 'failed', status, code: response.json().error.code, response };
  if (!stream) return { kind: 'complete', status, content: readCompletion(response.json(), { model }).content };
  const answer = readStream(response.text, { model }); // throws if the stream did not end cleanly
  if (answer.error) return { kind: 'failed', status, code: answer.error.code, content: answer.content ?? '' };
  return { kind: 'complete', status, content: answer.content };
}

// Asks again and again, `lanes` at a time, streamed and plain in turn, until stop(); which returns every answer.
export function keepAsking(system, model, { lanes = 8, plain = false } = {}) {
  const ends = [];
  let going = true;
  const lane = async (number) => {
    for (let i = number; going; i++) ends.push(await ask(system, model, { stream: !plain && i % 2 === 0 }).done);
  };
  const all = Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
  return {
    ends,
    async stop() {
      going = false;
      await all;
      return ends;
    },
  };
}

export function assertComplete(ends, content) {
  for (const end of ends) {
    assert.equal(end.kind, 'complete', `${end.kind} ${end.status} ${end.code} ${end.error?.message}`);
    assert.equal(end.content, content);
  }
}

// Processes of a role, as `status --json` shows them.
export async function processes(system, role) {
  const status = await system.status();
  return status.processes.filter((process) => process.role === role);
}

export async function pidOf(system, role) {
  const [first] = await processes(system, role);
  return first.pid;
}

// Waits until the workers hold back so many transfers: their clients' windows are full, and stay so while these read nothing.
export function allPaused(system, count) {
  let now;
  return until(async () => {
    now = (await processes(system, 'upstream-worker')).map(({ name, pid, numbers }) => ({ name, pid, running: numbers.streams, paused: numbers.streams_paused ?? 0 }));
    return now.reduce((sum, { paused }) => sum + paused, 0) === count;
  }, () => `${count} transfers to be held back: ${JSON.stringify(now)}`);
}

// Waits until every process of the role is ready and none has one of the old pids.
export function restarted(system, role, oldPids) {
  return until(
    async () => {
      const now = await processes(system, role);
      return now.every(({ state, pid }) => state === 'ready' && pid && !oldPids.includes(pid)) && now;
    },
    `${role} to be back`,
  );
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
