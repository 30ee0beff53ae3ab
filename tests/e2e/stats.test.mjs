// SPDX-License-Identifier: MIT
// Usage: what /api/stats and /metrics say is what the upstream served; and the ops endpoint.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { credential, startSystem, user } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system, upstream;
before(async () => {
  system = await startSystem({
    credentials: { a: credential('a'), b: credential('b') },
    env: { CODEBUDDY_ROTATION_COUNT: '3' },
  });
  upstream = system.upstream;
});
after(() => system?.stop());

const stats = async () => (await system.fetch('/api/stats')).json();

// A sample's labels and value, as { name, labels, value }.
function parseMetrics(text) {
  const typed = new Set();
  const samples = [];
  for (const line of text.split('\n')) {
    if (line === '' || line === '# EOF') continue;
    const comment = /^# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line);
    if (comment) {
      if (comment[1] === 'TYPE') {
        assert.match(comment[3], /^(counter|gauge|histogram|unknown|info)$/);
        assert.ok(!typed.has(comment[2]), `TYPE of ${comment[2]} twice`);
        typed.add(comment[2]);
      }
      continue;
    }
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.e+-]+|[+-]Inf|NaN)$/.exec(line);
    assert.ok(match, `not a sample: ${line}`);
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]));
    samples.push({ name: match[1], labels, value: Number(match[3].replace('Inf', 'Infinity')) });
  }
  const base = (name) => name.replace(/_(bucket|sum|count|total|info)$/, '');
  for (const { name } of samples) assert.ok(typed.has(name) || typed.has(base(name)), `${name} has no TYPE`);
  const keys = samples.map(({ name, labels }) => `${name}${JSON.stringify(labels)}`);
  assert.equal(new Set(keys).size, keys.length, 'a sample twice');
  return samples;
}

test('the sums are those of the upstream, per model and credential', async () => {
  const plan = ['s:chunks', 's:reasoning', 's:tools-proper', 's:usage-every', 's:usage-finish', 's:credit', 's:usage-none', 's:200-completion'];
  for (const [i, model] of plan.entries())
    for (let k = 0; k <= i; k++) {
      const response = await system.chat({ model, messages: [user()], stream: k % 2 === 0 });
      assert.equal(response.status, 200);
      await response.text();
    }
  const total = (plan.length * (plan.length + 1)) / 2;
  const failing = ['s:500', 's:eof-middle'];
  for (const model of failing) await (await system.chat({ model, messages: [user()], stream: true })).text();

  const seen = await until(async () => {
    const now = await stats();
    return now.totals.requests >= total + failing.length && now;
  }, 'all events');
  const far = Object.values((await upstream.stats()).credentials);
  const sum = (key) => far.reduce((all, row) => all + row[key], 0);
  assert.equal(seen.totals.requests, total + failing.length);
  assert.equal(seen.totals.errors, failing.length);
  for (const key of ['prompt_tokens', 'completion_tokens', 'cached_tokens', 'reasoning_tokens']) assert.equal(seen.totals[key], sum(key), key);
  assert.ok(Math.abs(seen.totals.credit - sum('credit')) < 1e-5 * total, `${seen.totals.credit} and ${sum('credit')}`);
  for (const [i, model] of plan.entries()) assert.equal(countOf(seen.model_usage[model]), i + 1, model);
  const perCredential = Object.values(seen.credential_usage).map(countOf);
  assert.equal(perCredential.reduce((all, count) => all + count, 0), total + failing.length);
  assert.equal(perCredential.length, 2);
});
const countOf = (entry) => (typeof entry === 'number' ? entry : entry.requests);

test('/metrics: sound Prometheus text, and the same numbers', async () => {
  const response = await system.ops('/metrics');
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const samples = parseMetrics(await response.text());
  const requests = samples.filter(({ name }) => name === 'codebuddy2api_requests_total');
  const { totals } = await stats();
  assert.equal(requests.reduce((all, { value }) => all + value, 0), totals.requests);
  for (const bad of ['prompt', 'Say hello.']) assert.ok(!samples.some(({ labels }) => Object.values(labels).includes(`${bad} `)));
});

test('nothing that our processes report is refused, and everything says what it is', async () => {
  const text = await until(async () => {
    const now = await (await system.ops('/metrics')).text();
    return now.includes('codebuddy2api_worker_attempts_total{') && now; // reported once a second
  }, 'the workers to report');
  for (const [line] of text.matchAll(/^# HELP .*Reported by our processes.*$/gm)) assert.fail(line);
  const refused = parseMetrics(text).filter(({ name }) => name === 'codebuddy2api_metrics_refused_total');
  assert.ok(refused.length > 0 && refused.every(({ value }) => value === 0));
});

test('an id that a client uses again hides nothing', async () => {
  const before = (await stats()).totals.requests;
  for (let i = 0; i < 3; i++) {
    const response = await system.chat({ model: 's:chunks?key=same-id', messages: [user()] }, { headers: { 'x-request-id': 'always-the-same' } });
    assert.match(response.headers.get('x-request-id'), /^[0-9a-f]{32}$/);
    await response.text();
  }
  await until(async () => (await stats()).totals.requests >= before + 3, 'three events', 5000);
});

test('/metrics: OpenMetrics by content negotiation', async () => {
  const response = await system.ops('/metrics', { headers: { accept: 'application/openmetrics-text; version=1.0.0' } });
  assert.match(response.headers.get('content-type'), /^application\/openmetrics-text/);
  const text = await response.text();
  assert.ok(text.endsWith('# EOF\n'));
  parseMetrics(text);
});

test('/livez and /readyz', async () => {
  for (const path of ['/livez', '/readyz']) assert.equal((await system.ops(path)).status, 200, path);
  assert.equal((await system.ops('/nothing')).status, 404);
  assert.equal((await system.ops('/metrics', { method: 'POST' })).status, 405);
});

test('counters go on over a restart of the whole', async () => {
  const before = (await stats()).totals;
  const end = await system.child.stop();
  assert.equal(end.code, 0);
  await system.start();
  const after = await until(async () => {
    const response = await system.fetch('/api/stats');
    return response.ok && (await response.json()).totals;
  }, 'stats');
  assert.deepEqual(after, before);
});
