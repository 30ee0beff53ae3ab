// SPDX-License-Identifier: MIT
// Exactly once: 20,000 requests while statsd is killed 50 times. The ledger holds each of them once, and its
// sums are what the stand-in upstream says it served. CB_SEED repeats a run.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR, IS_SANITIZED, user } from '../e2e/harness.mjs';
import { until } from './load.mjs';
import { startWithOwnStatsd } from './own_statsd.mjs';

const REQUESTS = IS_SANITIZED ? 4000 : 20_000;
const KILLS = 50;
const SEGMENTS = 10; // each with its share of both, so that kills and requests always meet
const seed = Number(process.env.CB_SEED ?? Math.floor(Math.random() * 2 ** 31));

// mulberry32
function random(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

let system, statsd;
after(async () => {
  await statsd?.child.stop();
  await system?.stop();
});

test(`${REQUESTS} requests, statsd killed ${KILLS} times`, async (t) => {
  t.diagnostic(`CB_SEED=${seed}`);
  const next = random(seed);
  ({ system, statsd } = await startWithOwnStatsd());
  const bodyFile = join(system.dir, 'body.json');
  writeFileSync(bodyFile, JSON.stringify({ model: 's:chunks?n=3&reasoning_tokens=7&credit=0.000123', messages: [user()], stream: true }));
  const load = async () => {
    const { stdout } = await promisify(execFile)(join(BIN_DIR, 'codebuddy2api-load'), [
      ...['--url', `${system.baseURL}/chat/completions`, '--header', `Authorization: Bearer ${system.password}`],
      ...['--body-file', bodyFile, '--expect-events', '3'],
      ...['--connections', '16', '--requests', String(REQUESTS / SEGMENTS)],
    ]).catch((error) => error); // what was wrong is in what it prints
    return JSON.parse(stdout);
  };
  const killing = async () => {
    for (let i = 0; i < KILLS / SEGMENTS; i++) {
      await new Promise((resolve) => setTimeout(resolve, next() * 150)); // the moment is the point
      await statsd.kill();
      await statsd.start();
    }
  };
  let answered = 0;
  for (let i = 0; i < SEGMENTS; i++) {
    const [result] = await Promise.all([load(), killing()]);
    assert.equal(result.errors, 0, JSON.stringify(result));
    answered += result.requests;
  }
  assert.equal(answered, REQUESTS);
  await until(async () => (await statsd.metric('codebuddy2api_ledger_failing')) === 0, 'statsd to answer');
  await until(async () => (await statsd.events().catch(() => 0)) >= REQUESTS, 'all events');

  const sums = await statsd.row(
    `SELECT count(*) AS events, count(DISTINCT request_id) AS ids, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
     sum(cached_tokens) AS cached_tokens, sum(reasoning_tokens) AS reasoning_tokens, sum(credit_micro) AS credit_micro FROM events WHERE outcome = 0 AND status = 200`,
  );
  const far = Object.values((await system.upstream.stats()).credentials);
  const served = (key) => far.reduce((all, row) => all + Number(row[key]), 0);
  assert.equal(served('answers'), REQUESTS);
  assert.deepEqual(sums, {
    events: REQUESTS,
    ids: REQUESTS,
    prompt_tokens: served('prompt_tokens'),
    completion_tokens: served('completion_tokens'),
    cached_tokens: served('cached_tokens'),
    reasoning_tokens: served('reasoning_tokens'),
    credit_micro: served('credit_nano') / 1000,
  });
  assert.equal(sums.credit_micro, REQUESTS * 123);
  assert.equal(await statsd.events(), REQUESTS);
});
