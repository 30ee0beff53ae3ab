// SPDX-License-Identifier: MIT
// The known load: requests whose answers are known word by word, and no two alike, so that an answer that is
// wrong, doubled or another's is seen for what it is. Every request ends in exactly one of OUTCOMES.
import { RawConnection, requestBytes } from '../e2e/raw.mjs';
import { readCompletion, readStream, splitEvents } from '../e2e/sse.mjs';

export const OUTCOMES = ['right', 'left', 'failed_before', 'failed_after', 'cut_before', 'cut_after', 'refused', 'wrong', 'hanging'];
// right: whole, every byte. left: the client went, as planned. failed_…: a clear error before or after the
// first byte. cut_…: the connection broke there. refused: no connection.
const HANGING_MS = 100_000;

// What the lanes ask for, by weight. All of it is in the name of the model, so there are not too many kinds.
const SHAPES = [
  [30, 'short stream', (r) => ({ stream: true, n: r.pick([3, 8, 15]), gap_ms: r.pick([0, 10, 40]) })],
  [12, 'long stream', (r) => ({ stream: true, n: r.pick([30, 80]), gap_ms: r.pick([10, 40]) })],
  [25, 'plain', (r) => ({ n: r.pick([3, 8, 15]), gap_ms: r.pick([0, 10, 40]) })],
  [8, 'slow plain', (r) => ({ n: r.pick([10, 30]), gap_ms: r.pick([20, 60]) })],
  [6, 'late stream', (r) => ({ stream: true, n: 5, header_ms: r.pick([100, 400, 1200]) })],
  [5, 'big stream', (r) => ({ stream: true, n: 24, size: r.pick([8, 20, 48]) << 10 })],
  [4, 'big plain', (r) => ({ n: 16, size: r.pick([8, 20, 48]) << 10 })],
  [5, 'big request', (r) => ({ stream: r.next() < 0.5, n: 4, gap_ms: 10, padding: r.between(100, 900) << 10 })],
  [5, 'leaver', (r) => ({ stream: r.next() < 0.5, n: 40, gap_ms: 25, leave_ms: r.between(5, 600) })],
];
const SHAPE_BAG = SHAPES.flatMap(([weight, name, make]) => Array(weight).fill([name, make]));

export function plan(random, id) {
  const [shape, make] = random.pick(SHAPE_BAG);
  return { id, shape, stream: false, n: 5, gap_ms: 0, header_ms: 0, size: 0, padding: 0, leave_ms: 0, ...make(random) };
}

const modelOf = ({ n, gap_ms, header_ms, size }) =>
  `s:chunks?mark=1&n=${n}&gap_ms=${gap_ms}&header_ms=${header_ms}&size=${size}`;

function expectedText({ id, n, size }) {
  return Array.from({ length: n }, (_, k) => `${`t${k} `.padEnd(size, 'x')}${id} `).join('');
}

function bytesOf(system, request) {
  const messages = [{ role: 'user', content: 'y'.repeat(request.padding) || 'Say it.' }];
  return requestBytes({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json', 'X-Request-ID': request.id },
    body: { model: modelOf(request), messages, ...(request.stream ? { stream: true } : {}) },
  });
}

// A text may stop anywhere, but up to there it is the right one.
function assertPrefix(text, request) {
  if (!expectedText(request).startsWith(text ?? '')) throw new Error(`not a beginning of the answer: ${text.slice(-200)}`);
}

// What came of an answer that broke off: whatever is there must be this request's.
function assertPart(response, request) {
  const text = response.body.toString('utf8');
  if (response.status !== 200) throw new Error(`a status ${response.status} that breaks off`);
  for (const [id] of text.matchAll(/\bq\d+-\d+\b/g)) if (!`${request.id}`.startsWith(id)) throw new Error(`${id} in the answer to ${request.id}`);
  if (!request.stream) return;
  const whole = text.slice(0, text.lastIndexOf('\n\n') + 2);
  const contents = splitEvents(whole).flatMap(({ data }) => (data ? [JSON.parse(data).choices?.[0]?.delta.content ?? ''] : []));
  assertPrefix(contents.join(''), request);
}

function judgeWhole(response, request) {
  const model = modelOf(request);
  if (response.status !== 200) {
    const { error } = response.json();
    if (response.status < 500 || typeof error?.code !== 'string') throw new Error(`${response.status} ${response.text}`);
    return { outcome: 'failed_before', code: error.code, status: response.status };
  }
  const answer = request.stream ? readStream(response.text, { model }) : readCompletion(response.json(), { model });
  if (answer.error) {
    assertPrefix(answer.content ?? '', request);
    return { outcome: 'failed_after', code: answer.error.code };
  }
  if (answer.content !== expectedText(request)) throw new Error(`another answer: …${String(answer.content).slice(-200)}`);
  return { outcome: 'right' };
}

async function exchange(system, request, connection) {
  const wanted = connection.response({ onBytes: (response) => (request.response = response) });
  wanted.catch(() => {});
  connection.socket.write(bytesOf(system, request));
  let response;
  try {
    response = await wanted;
  } catch (error) {
    if (request.isLeaving) return { outcome: 'left' };
    if (error.response?.status && error.response.state !== 'head') {
      assertPart(error.response, request);
      return { outcome: 'cut_after' };
    }
    if (error.response?.pending.length) throw error;
    return { outcome: 'cut_before', problem: error.message };
  }
  return judgeWhole(response, request);
}

async function attempt(system, request, lane) {
  const isReused = lane.connection && !lane.connection.ended;
  if (!isReused) {
    lane.connection = new RawConnection(system.port);
    try {
      await lane.connection.opened;
    } catch (error) {
      return { outcome: error.code === 'ECONNREFUSED' ? 'refused' : 'cut_before', problem: error.message };
    }
  }
  const leaving = request.leave_ms && setTimeout(() => {
    request.isLeaving = true;
    lane.connection.close();
  }, request.leave_ms);
  const end = await exchange(system, request, lane.connection);
  clearTimeout(leaving);
  const mayStay = end.outcome === 'right' && request.response.header('connection')?.toLowerCase() !== 'close';
  if (!mayStay || !lane.keepsAlive) {
    await lane.connection.close();
    lane.connection = undefined;
  }
  // A kept connection may be closed just as it is used again: any client then asks anew (RFC 9112, 9.3.1).
  if (isReused && end.outcome === 'cut_before') return { ...(await attempt(system, request, lane)), reconnected: true };
  return end;
}

// Never rejects. `lane` = { keepsAlive, connection }.
export async function perform(system, request, lane) {
  const from_ms = performance.now();
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve({ outcome: 'hanging' }), HANGING_MS);
  });
  const end = await Promise.race([attempt(system, request, lane), late]).catch((error) => ({ outcome: 'wrong', problem: error.message }));
  clearTimeout(timer);
  if (end.outcome === 'hanging' || end.outcome === 'wrong') {
    lane.connection?.close();
    lane.connection = undefined;
  }
  return { ...end, id: request.id, shape: request.shape, stream: request.stream, from_ms, to_ms: performance.now() };
}

// Asks on `lanes` connections at once until stop(). Only what did not go right is kept one by one.
export class Load {
  constructor(system, random, { lanes, pause_ms = 0 }) {
    this.system = system;
    this.random = random;
    this.pause_ms = pause_ms;
    this.count = 0;
    this.running = new Map();
    this.ends = []; // of what did not end right
    this.sums = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0]));
    this.reconnects = 0;
    this.isGoing = true;
    this.all = Promise.all(Array.from({ length: lanes }, (_, i) => this.run(i)));
  }

  async run(number) {
    const lane = { keepsAlive: number % 2 === 0 };
    while (this.isGoing) {
      const request = plan(this.random, `q${number}-${this.count++}`);
      this.running.set(request.id, request);
      const end = await perform(this.system, request, lane);
      this.running.delete(request.id);
      this.sums[end.outcome]++;
      this.reconnects += end.reconnected ? 1 : 0;
      if (end.outcome !== 'right' && end.outcome !== 'left') this.ends.push(end);
      // A client that was refused does not try again at once.
      const pause_ms = this.pause_ms + (end.outcome === 'right' || end.outcome === 'left' ? 0 : 50);
      if (pause_ms) await new Promise((resolve) => setTimeout(resolve, pause_ms));
    }
    await lane.connection?.close();
  }

  async stop() {
    this.isGoing = false;
    await this.all;
  }
}
