// SPDX-License-Identifier: MIT
// The page of a system that has done requests of all kinds: promtool and a real Prometheus take it, and whatever
// rules, dashboard and autoscalers ask for is there.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credential, root, secretText, startSystem, user } from '../e2e/harness.mjs';
import { ask, until } from '../faults/load.mjs';
import { DIR, Prometheus, checkMetrics, nameOf, samplesOf, typesOf } from './prometheus.mjs';

let system, prometheus, page;

// The list, sentence by sentence.
const PROMISED = [
  /^codebuddy2api_gateway_requests_total\{route="completions",status="200",outcome="ok"/,
  /^codebuddy2api_gateway_requests_total\{route="completions",status="400",outcome="refused"/,
  /^codebuddy2api_gateway_requests_total\{.*outcome="cancelled"/,
  /^codebuddy2api_requests_total\{status="200",outcome="ok",mode="stream"\}/,
  ...['prompt', 'completion', 'cached', 'reasoning'].map((kind) => new RegExp(`^codebuddy2api_tokens_total\\{kind="${kind}"`)),
  /^codebuddy2api_credit_total/,
  ...['time_to_first_event', 'request_duration', 'event_gap'].map((name) => new RegExp(`^codebuddy2api_${name}_seconds_bucket\\{.*le="\\+Inf"`)),
  ...['gateway', 'upstream-worker'].map((role) => new RegExp(`^codebuddy2api_streams\\{role="${role}"`)),
  /^codebuddy2api_gateway_overloaded_total/,
  /^codebuddy2api_request_moves_total/,
  /^codebuddy2api_upstream_retries_total/,
  ...['state', 'in_flight', 'uses_total', 'expires_timestamp_seconds', 'refresh_due_timestamp_seconds'].map((name) => new RegExp(`^codebuddy2api_credential_${name}\\{credential="`)),
  /^codebuddy2api_leases\{role="credd"/,
  ...['waiting', 'lease_waiters', 'reporter_events_pending', 'ledger_queued_events', 'ledger_backlog_events', 'reporter_events_dropped_total'].map((name) => new RegExp(`^codebuddy2api_${name}\\{`)),
];

async function doAllKinds() {
  const say = (model, more = {}) => system.chat({ model, messages: [user()], ...more }).then((response) => response.text());
  await say('s:chunks');
  await say('s:slow?n=5&gap_ms=20', { stream: true });
  await say('s:reasoning', { stream: true, stream_options: { include_usage: true } });
  await say('s:silent?idle=1', { stream: true, messages: 'wrong' }); // refused: 400
  await system.fetch('/v1/models').then((response) => response.text());
  await system.fetch('/v1/nothing').then((response) => response.text());
  await system.fetch('/api/stats', { headers: { authorization: 'Bearer wrong' } }).then((response) => response.text());
  await say('s:503?fail_times=1&n=5', { stream: true }); // tried again, silently
  const left = new AbortController();
  const leaving = await system.chat({ model: 's:slow?n=1000&gap_ms=50', messages: [user()], stream: true }, { signal: left.signal });
  await leaving.body.getReader().read();
  left.abort();
}

before(async () => {
  system = await startSystem({ credentials: { a: credential('a', { refresh_token: secretText('refresh-a') }), b: credential('b') } });
  prometheus = await Prometheus.start(system.opsPort);
  await doAllKinds();
  // Each process tells its numbers in its own time.
  let missing;
  await until(async () => {
    page = await (await system.ops('/metrics')).text();
    const series = [...samplesOf(page).keys()];
    missing = [...PROMISED, /^codebuddy2api_requests_total\{.*cancelled/, /process_restarts_total/].find((pattern) => !series.some((name) => pattern.test(name)));
    return !missing && /event_gap_seconds_count\S+ [1-9]/.test(page);
  }, 'the numbers of all requests').catch((error) => assert.fail(`${error.message}; missing: ${missing}`));
});
after(async () => {
  await prometheus?.stop();
  await system?.stop();
});

test('promtool check metrics has nothing to say', async () => {
  assert.equal(await checkMetrics(page), '');
});

test('everything says what it is, and nothing was refused', () => {
  for (const family of typesOf(page).keys()) assert.ok(page.includes(`# HELP ${family} `), family);
  assert.doesNotMatch(page, /see the README of the role/);
  assert.equal(samplesOf(page).get('codebuddy2api_metrics_refused_total{role="statsd"}'), 0);
});

test('what operators were promised is there', () => {
  const series = [...samplesOf(page).keys()];
  for (const pattern of PROMISED) assert.ok(series.some((name) => pattern.test(name)), String(pattern));
  const perProcess = ['up', 'restarts_total', 'resident_memory_bytes', 'cpu_seconds_total', 'open_fds', 'max_fds', 'start_time_seconds'];
  for (const role of ['gateway', 'upstream-worker', 'credd', 'statsd', 'supervisor'])
    for (const name of [...perProcess, 'loop_lag_seconds'].map((end) => `codebuddy2api_process_${end}`).concat('codebuddy2api_build_info')) {
      if (role === 'supervisor' && /restarts|loop_lag/.test(name)) continue; // nobody restarts it; it has no such loop
      assert.ok(series.some((text) => nameOf(text) === name && text.includes(`role="${role}",process="`)), `${name} of ${role}`);
    }
});

test('labels are few', () => {
  for (const series of samplesOf(page).keys()) assert.ok((series.match(/="/g) ?? []).length <= 6, series);
});

test('Prometheus reads it as OpenMetrics, all of it', async () => {
  const response = await system.ops('/metrics', { headers: { accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' } });
  assert.match(response.headers.get('content-type'), /^application\/openmetrics-text/); // what this Prometheus asks for
  const openMetrics = await response.text();
  assert.match(openMetrics, /# EOF\n$/);
  const target = await prometheus.scraped();
  assert.equal(target.health, 'up');
  const there = new Set((await prometheus.query('count by (__name__) ({job="codebuddy2api"})')).map(({ metric }) => metric.__name__));
  for (const series of samplesOf(page).keys()) assert.ok(there.has(nameOf(series)), nameOf(series));
  const described = (await prometheus.api('targets/metadata')).filter(({ metric }) => metric.startsWith('codebuddy2api_'));
  assert.deepEqual(new Map(described.map(({ metric, type }) => [metric, type])), typesOf(openMetrics));
});

// The names that an expression asks for.
const namesIn = (expression) => expression.match(/[a-z_]*:?codebuddy2api_[a-z0-9_:]+/g) ?? [];

test('rules ask for what there is, and none fires', async () => {
  const names = new Set([...samplesOf(page).keys()].map(nameOf));
  const { groups } = await prometheus.api('rules');
  const rules = groups.flatMap((group) => group.rules);
  for (const rule of rules) if (rule.type === 'recording') names.add(rule.name);
  assert.ok(rules.length > 25);
  for (const rule of rules) {
    const wanted = namesIn(rule.query);
    assert.ok(wanted.length > 0 || rule.name === 'CodebuddyUnreachable', rule.name);
    for (const name of wanted) assert.ok(names.has(name), `${rule.name} asks for ${name}`);
    assert.notEqual(rule.health, 'err', `${rule.name}: ${rule.lastError}`);
    assert.notEqual(rule.state, 'firing', rule.name);
  }
});

test('every query of the dashboard asks for what there is', async () => {
  const names = new Set([...samplesOf(page).keys()].map(nameOf));
  for (const group of (await prometheus.api('rules')).groups) for (const rule of group.rules) names.add(rule.name);
  const dashboard = JSON.parse(readFileSync(join(DIR, 'grafana/codebuddy2api.json'), 'utf8'));
  const queries = [...dashboard.panels.flatMap(({ targets = [] }) => targets), ...dashboard.annotations.list].map(({ expr }) => expr);
  assert.ok(queries.length > 40);
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  for (const query of queries) {
    assert.ok(namesIn(query).length > 0, query);
    for (const name of namesIn(query)) assert.ok(names.has(name), `${query} asks for ${name}`);
    await prometheus.query(query.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'codebuddy2api').replaceAll('$instance', '.+'));
  }
  for (const { name, query } of dashboard.templating.list.filter(({ type }) => type === 'query')) for (const wanted of namesIn(query)) assert.ok(names.has(wanted), name);
});

// Kubernetes' autoscalers get their numbers by this rule, of a Prometheus that names the namespace.
test("prometheus-adapter's rule finds the streams of each role", async () => {
  const rule = readFileSync(join(root, 'deploy/kubernetes/autoscaler/prometheus-adapter.yaml'), 'utf8');
  const [, series] = /seriesQuery: '(.+)'/.exec(rule);
  const [, metrics] = /metricsQuery: (.+)/.exec(rule);
  assert.ok((await prometheus.query(series)).length >= 2);
  for (const role of ['gateway', 'upstream-worker']) {
    const query = metrics.replace('<<.LabelMatchers>>', `namespace="here",role="${role}"`).replace('<<.GroupBy>>', 'namespace');
    const [{ metric, value }, ...more] = await prometheus.query(query);
    assert.deepEqual([metric, more], [{ namespace: 'here' }, []]);
    assert.ok(Number(value[1]) >= 0, query);
  }
});
