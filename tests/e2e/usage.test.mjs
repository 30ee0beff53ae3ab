// SPDX-License-Identifier: MIT
// What the admin page asks: usage as series and as a table, the latest requests, the processes, the live feed.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { credential, startSystem, user } from './harness.mjs';
import { deadline } from './process.mjs';
import { until } from '../faults/load.mjs';

const MEASURES = [
  'requests', 'errors', 'cancelled', 'prompt_tokens', 'completion_tokens', 'cached_tokens', 'reasoning_tokens',
  'credit', 'first_event_mean_ms', 'first_event_p95_ms', 'duration_mean_ms',
];
const PLAN = { 's:chunks': 5, 's:reasoning': 3, 's:500': 2 };
const TOTAL = Object.values(PLAN).reduce((sum, n) => sum + n, 0);

let system, key, stats;
before(async () => {
  system = await startSystem({
    credentials: { a: credential('a'), b: credential('b') },
    env: { CODEBUDDY_ROTATION_COUNT: '1', CODEBUDDY_KEEPALIVE_S: '1' },
  });
  const made = await system.fetch('/api/keys', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'a client' }),
  });
  assert.equal(made.status, 201);
  key = await made.json();
  for (const [model, count] of Object.entries(PLAN))
    for (let i = 0; i < count; i++)
      await (await system.chat({ model, messages: [user()], stream: i % 2 === 0 }, i === 0 ? { headers: { authorization: `Bearer ${key.key}` } } : {})).text();
  stats = await until(async () => {
    const now = await (await system.fetch('/api/stats')).json();
    return now.totals.requests >= TOTAL && now;
  }, 'all events');
  assert.equal(stats.totals.requests, TOTAL);
});
after(() => system?.stop());

async function get(path, options) {
  const response = await system.fetch(path, options);
  assert.equal(response.status, 200, `${path}: ${response.status}`);
  return response.json();
}

const sum = (numbers) => numbers.reduce((all, n) => all + n, 0);

for (const by of ['', 'model', 'credential', 'key', 'status'])
  test(`usage by ${by || 'nothing'}: the points add up to what was asked for`, async () => {
    const usage = await get(`/api/usage${by && `?by=${by}`}`);
    assert.equal(usage.by, by || null);
    assert.equal(usage.missing_events, 0);
    assert.ok(usage.times.length > 0 && usage.times.length <= 300);
    assert.equal(usage.from, usage.times[0]);
    assert.equal(usage.to, usage.times.at(-1) + usage.step);
    assert.ok(usage.to * 1000 >= Date.now() - 60_000);
    for (const series of usage.series) {
      assert.deepEqual(Object.keys(series.points), MEASURES);
      assert.deepEqual(Object.keys(series.totals), MEASURES);
      for (const name of MEASURES) assert.equal(series.points[name].length, usage.times.length);
      for (const name of MEASURES.slice(0, 7)) assert.equal(sum(series.points[name]), series.totals[name], `${series.name} ${name}`);
      series.points.requests.forEach((n, i) => assert.equal(series.points.duration_mean_ms[i] === null, n === 0));
    }
    for (const name of ['requests', 'errors', 'prompt_tokens', 'completion_tokens', 'cached_tokens', 'reasoning_tokens'])
      assert.equal(sum(usage.series.map((series) => series.totals[name])), stats.totals[name], name);
    assert.ok(Math.abs(sum(usage.series.map((series) => series.totals.credit)) - stats.totals.credit) < 1e-6);
    const counts = usage.series.map((series) => series.totals.requests);
    assert.deepEqual(counts, [...counts].sort((a, b) => b - a), 'most first');
    const named = Object.fromEntries(usage.series.map((series) => [series.name, series.totals.requests]));
    if (by === '') assert.deepEqual(named, { all: TOTAL });
    if (by === 'model') assert.deepEqual(named, PLAN);
    if (by === 'key') assert.deepEqual(named, { password: TOTAL - 3, [key.id]: 3 });
    if (by === 'status') assert.deepEqual(named, { 200: TOTAL - 2, 502: 2 });
    if (by === 'credential') assert.deepEqual(Object.keys(named).sort(), Object.keys(stats.credential_usage).sort());
  });

test('usage as a table, by ?format=csv and by Accept', async () => {
  const usage = await get('/api/usage?by=model&step=3600');
  const query = `/api/usage?by=model&step=3600&from=${usage.from}&to=${usage.to}`;
  const response = await system.fetch(`${query}&format=csv`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/csv; charset=utf-8');
  const text = await response.text();
  assert.equal(await (await system.fetch(query, { headers: { accept: 'text/csv' } })).text(), text);
  assert.ok(text.endsWith('\r\n'));
  const [header, ...rows] = text.slice(0, -2).split('\r\n').map((line) => line.split(','));
  assert.deepEqual(header, ['time', 'by', ...MEASURES]);
  assert.equal(rows.length, usage.times.length * usage.series.length);
  for (const series of usage.series) {
    const own = rows.filter((row) => row[1] === `"${series.name}"`);
    assert.deepEqual(own.map((row) => Number(row[0])), usage.times);
    MEASURES.forEach((name, i) =>
      assert.deepEqual(own.map((row) => (row[2 + i] === '' ? null : Number(row[2 + i]))), series.points[name], name));
  }
});

test('the latest requests, by page and by filter', async () => {
  const all = [];
  for (let before = ''; before !== null; ) {
    const page = await get(`/api/requests?limit=4${before && `&before=${before}`}`);
    assert.ok(page.requests.length <= 4);
    all.push(...page.requests);
    before = page.next_before;
  }
  assert.equal(all.length, TOTAL);
  assert.equal(new Set(all.map(({ id }) => id)).size, TOTAL);
  for (let i = 1; i < all.length; i++) assert.ok(all[i - 1].started_at >= all[i].started_at);
  for (const row of all) {
    assert.deepEqual(Object.keys(row).sort(), [
      'cached_tokens', 'completion_tokens', 'credential_id', 'credit', 'duration_ms', 'error_code', 'first_event_ms', 'id',
      'key_id', 'model', 'outcome', 'prompt_tokens', 'reasoning_tokens', 'started_at', 'status', 'stream',
    ]);
    assert.equal(row.status, row.model === 's:500' ? 502 : 200);
    assert.equal(row.error_code, row.model === 's:500' ? 'upstream_error' : null);
    assert.ok(Math.abs(row.started_at * 1000 - Date.now()) < 600_000);
  }
  const filters = { model: 'model', credential: 'credential_id', key: 'key_id', status: 'status', outcome: 'outcome' };
  for (const [name, field] of Object.entries(filters))
    for (const value of new Set(all.map((row) => row[field]))) {
      const { requests } = await get(`/api/requests?${name}=${encodeURIComponent(value)}`);
      assert.deepEqual(requests, all.filter((row) => row[field] === value), `${name}=${value}`);
    }
  const both = await get(`/api/requests?model=s%3A500&key=${key.id}`);
  assert.deepEqual(both.requests, all.filter((row) => row.model === 's:500' && row.key_id === key.id));
  assert.deepEqual(await get('/api/requests?model=never+used'), { requests: [], next_before: null });
});

test('every process, the supervisor too', async () => {
  const { processes } = await until(async () => {
    const now = await get('/api/processes');
    return now.processes.length === 6 && now.processes.every(({ state }) => state === 'ready') && now;
  }, 'six processes');
  assert.deepEqual(processes.map(({ role }) => role), ['credd', 'gateway', 'statsd', 'supervisor', 'upstream-worker', 'upstream-worker']);
  assert.equal(new Set(processes.map(({ pid }) => pid)).size, 6);
  for (const row of processes) {
    assert.ok(row.rss_bytes > 100_000 && row.cpu_seconds >= 0 && row.open_files > 3, JSON.stringify(row));
    assert.ok(Math.abs(row.up_since * 1000 - Date.now()) < 600_000);
    assert.equal(typeof row.host, 'string');
    if (row.role !== 'supervisor') assert.equal(row.restarts, 0, `${JSON.stringify(row)}\n${system.log()}`);
    if (/gateway|worker/.test(row.role)) assert.equal(row.streams, 0);
  }
});

test('bad parameters are named', async () => {
  const bad = {
    '/api/usage?from=x': 'from', '/api/usage?from=-1': 'from', '/api/usage?from=9&to=9': 'from', '/api/usage?to=1e3': 'to',
    '/api/usage?step=0': 'step', '/api/usage?step=90': 'step', '/api/usage?from=0&step=3600': 'step',
    '/api/usage?by=outcome': 'by', '/api/usage?by=': 'by', '/api/usage?format=xml': 'format', '/api/usage?limit=1': 'limit',
    '/api/usage?by=key&by=key': 'by', '/api/usage?by=%zz': 'by', '/api/usage?by=%ff': 'by', '/api/usage?%00=1': null,
    '/api/requests?limit=0': 'limit', '/api/requests?limit=501': 'limit', '/api/requests?before=1': 'before',
    '/api/requests?status=ok': 'status', '/api/requests?outcome=fine': 'outcome', '/api/requests?from=1': 'from',
    [`/api/requests?model=${'x'.repeat(1000)}`]: 'model',
    '/api/processes?all=1': 'all', '/api/live?x': 'x',
  };
  for (const [path, name] of Object.entries(bad)) {
    const response = await system.fetch(path);
    const { error } = await response.json();
    assert.equal(response.status, 422, `${path}: ${JSON.stringify(error)}`);
    assert.equal(error.param, name, path);
    assert.equal(error.code, 'invalid_field');
  }
});

test('who may ask', async () => {
  for (const path of ['/api/usage', '/api/requests', '/api/processes', '/api/live']) {
    assert.equal((await system.fetch(path, { headers: { authorization: `Bearer ${key.key}` } })).status, 403, path);
    assert.equal((await fetch(`${system.origin}${path}`)).status, 401, path);
    const wrong = await system.fetch(path, { method: 'POST' });
    assert.equal(wrong.status, 405);
    assert.match(wrong.headers.get('allow'), /^GET/);
  }
});

// Reads a live stream as an EventSource does, until `enough` says so; gives every event as [name, data].
async function listen(enough, options) {
  const stop = new AbortController();
  const response = await system.fetch('/api/live', { ...options, signal: stop.signal });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  const events = [];
  let text = '';
  try {
    for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
      text += bytes;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const block = text.slice(0, end);
        const match = /^event: (\w+)\ndata: (.*)$/.exec(block);
        if (match) events.push([match[1], JSON.parse(match[2])]);
        else {
          assert.match(block, /^(: keepalive|retry: \d+)$/);
          events.push(['', block]);
        }
        if (await enough(events)) return events;
      }
    }
    return events;
  } finally {
    stop.abort();
  }
}

const last = (events, name) => events.findLast(([event]) => event === name)?.[1];

test('the live feed tells everything at once, then what changed', async () => {
  let asked = false;
  const events = await deadline(
    listen(async (sofar) => {
      const kinds = new Set(sofar.map(([name]) => name));
      if (!asked && ['health', 'stats', 'processes', 'credentials', 'requests'].every((name) => kinds.has(name))) {
        asked = true;
        await (await system.chat({ model: 's:chunks', messages: [user()] })).text();
      }
      return asked && last(sofar, 'stats').totals.requests === TOTAL + 1 && last(sofar, 'requests').requests.length === TOTAL + 1 &&
        sofar.some(([, data]) => data === ': keepalive');
    }),
    'the live feed',
  );
  assert.deepEqual(events[0], ['', 'retry: 1000']);
  const first = (name) => events.find(([event]) => event === name)[1];
  assert.deepEqual(first('health'), { status: 'healthy', reasons: [], ready: true });
  assert.equal(first('stats').totals.requests, TOTAL);
  assert.equal(first('stats').totals.cancelled, 0);
  for (const name of ['streams_in_flight', 'requests_per_s', 'events_per_s']) assert.equal(typeof first('stats')[name], 'number');
  assert.ok(first('stats').first_event_ms.p50 <= first('stats').first_event_ms.p95);
  assert.equal(first('processes').processes.length, 6);
  assert.deepEqual(first('credentials').credentials.map(({ state }) => state), ['ready', 'ready']);
  assert.equal(first('credentials').current.status, 'auto_rotation');
  assert.deepEqual(last(events, 'requests').requests[0], (await get('/api/requests?limit=1')).requests[0]);
});

test('at most 32 listen; one that leaves makes room', async () => {
  const stops = [];
  for (let i = 0; i < 32; i++) {
    const stop = new AbortController();
    const response = await until(async () => {
      const one = await system.fetch('/api/live', { signal: stop.signal });
      return one.status === 200 && one; // the listener of the test before may be leaving still
    }, 'a place');
    stops.push(stop);
    assert.equal(response.status, 200);
  }
  const refused = await system.fetch('/api/live');
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  assert.equal((await refused.json()).error.code, 'overloaded');
  stops.pop().abort();
  await until(async () => {
    const stop = new AbortController();
    const one = await system.fetch('/api/live', { signal: stop.signal });
    stop.abort();
    return one.status === 200;
  }, 'a place that was left');
  for (const stop of stops) stop.abort();
});

async function logIn() {
  const login = await fetch(`${system.origin}/api/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ password: system.password }),
  });
  assert.equal(login.status, 200);
  return { authorization: '', cookie: login.headers.getSetCookie()[0].split(';')[0] };
}

test('the feed ends with the session it was opened by', async () => {
  const headers = await logIn();
  let reset = false;
  // credd makes a new key for sessions when it finds none: from then on nobody is logged in.
  const endSessions = async (events) => {
    if (reset || !last(events, 'processes')) return;
    reset = true;
    rmSync(join(system.dataDir, 'credd', 'session.key'));
    process.kill(last(events, 'processes').processes.find(({ role }) => role === 'credd').pid, 'SIGKILL');
  };
  const byPassword = new AbortController();
  const stays = await system.fetch('/api/live', { signal: byPassword.signal });
  const ended = await deadline(listen(endSessions, { headers }), 'the end of the feed');
  assert.ok(reset && last(ended, 'stats'), 'it ended cleanly, after the session had');
  assert.equal((await system.fetch('/api/live', { headers })).status, 401);
  // Who proved the password needs no session: it is told of what happens after the end.
  const { headers: answered } = await system.chat({ model: 's:chunks', messages: [user()] });
  const reader = stays.body.getReader();
  for (let said = ''; !said.includes(answered.get('x-request-id')); ) {
    const { value, done } = await deadline(reader.read(), 'the other feed');
    assert.ok(!done, 'the other feed goes on');
    said += Buffer.from(value).toString();
  }
  byPassword.abort();
  await deadline(listen((events) => last(events, 'stats'), { headers: await logIn() }), 'a new session');
});

test('a listener comes again after the gateway was restarted', async () => {
  const headers = await logIn();
  const listenByCookie = (enough) => listen(enough, { headers }).catch((error) => ({ error }));
  const old = (await get('/api/processes')).processes.find(({ role }) => role === 'gateway').pid;
  let told = false;
  const tellToStop = (events) => {
    if (last(events, 'stats') && !told) told = process.kill(old, 'SIGTERM');
  };
  const ended = await deadline(listenByCookie(tellToStop), 'the end of the feed');
  assert.ok(!ended.error, 'a drain ends it cleanly');
  assert.ok(last(ended, 'stats'));
  const again = await until(async () => {
    const events = await listenByCookie((sofar) => last(sofar, 'processes'));
    return !events.error && last(events, 'processes').processes.some(({ role, pid }) => role === 'gateway' && pid !== old) && events;
  }, 'the next gateway');
  assert.match(last(again, 'health').status, /^(healthy|degraded|unhealthy)$/);
});
