// SPDX-License-Identifier: MIT
// Until statsd's part of the admin API is there: a proxy before the real gateway that answers /api/live, /api/usage,
// /api/requests and /api/processes itself when the gateway has no such route. Goes away with that.
import { createServer, request as send } from 'node:http';

const now = () => Date.now() / 1000;
const MODELS = ['gpt-5', 'claude-4.0', 'gemini-2.5-pro', '<img src=x onerror=alert(1)>'];
const OUTCOMES = [['ok', 200], ['ok', 200], ['ok', 200], ['ok', 200], ['cancelled', 499], ['rate_limited', 429], ['transient', 502], ['blameless', 400]];
const requests = Array.from({ length: 130 }, (_, i) => {
  const [outcome, status] = OUTCOMES[(i * 7) % OUTCOMES.length];
  return { id: `req-${String(1000 - i)}`, started_at: now() - i * 37, duration_ms: 400 + ((i * 977) % 9000), first_event_ms: outcome === 'ok' ? 120 + ((i * 131) % 900) : null,
    key_id: i % 3 ? 'password' : 'key_ab12', credential_id: 'c1', model: MODELS[i % MODELS.length], stream: i % 4 !== 0, status, outcome, error_code: outcome === 'ok' ? null : outcome,
    prompt_tokens: (i * 313) % 20000, completion_tokens: (i * 71) % 2500, cached_tokens: (i * 31) % 900, reasoning_tokens: i % 5 ? 0 : 300, credit: ((i * 13) % 90) / 100 };
});
const process = (role, name, more) => ({ role, name, pid: 4000 + name.length * 7, host: 'box', up_since: now() - 9000, restarts: 0, state: 'ready', streams: null, rss_bytes: 21e6 + name.length * 1e6, cpu_seconds: 33.2, loop_lag_ms: 0.4, open_files: 24, ...more });
const processes = [process('supervisor', 'supervisor'), process('gateway', 'gateway-0', { streams: 3 }), process('credd', 'credd'), process('statsd', 'statsd', { loop_lag_ms: 63 }), process('upstream-worker', 'upstream-worker-0', { streams: 2 }), process('upstream-worker', 'upstream-worker-1', { streams: 1, restarts: 2, up_since: now() - 61 })];

const METRICS = { requests: 40, errors: 3, cancelled: 2, prompt_tokens: 52000, completion_tokens: 9000, cached_tokens: 12000, reasoning_tokens: 800, credit: 1.7 };
function usage(url) {
  const to = Math.floor(Number(url.searchParams.get('to') ?? now()));
  const from = Number(url.searchParams.get('from') ?? to - 86400);
  const step = Number(url.searchParams.get('step')) || [60, 300, 900, 3600, 86400].find((one) => (to - from) / one <= 300);
  const by = url.searchParams.get('by');
  const times = [];
  for (let at = Math.floor(from / step) * step; at < to; at += step) times.push(at);
  const names = { model: MODELS, credential: ['c1', 'c2'], key: ['password', 'key_ab12'], status: ['200', '429', '502'] }[by] ?? ['all'];
  const series = names.map((name, k) => {
    const points = {};
    for (const [metric, size] of Object.entries(METRICS))
      points[metric] = times.map((at, i) => Math.max(0, Math.round(((Math.sin(i / 9 + k) + 1.1) * size * 100) / (k + 1)) / 100) * (step / 600));
    for (const metric of ['requests', 'errors', 'cancelled']) points[metric] = points[metric].map(Math.floor);
    points.first_event_mean_ms = times.map((at, i) => (i % 17 === 3 ? null : 300 + 120 * Math.sin(i / 5)));
    points.first_event_p95_ms = times.map((at, i) => (i % 17 === 3 ? null : 800 + 300 * Math.sin(i / 5)));
    points.duration_mean_ms = times.map(() => 2100);
    const totals = Object.fromEntries(Object.keys(METRICS).map((metric) => [metric, points[metric].reduce((a, b) => a + b, 0)]));
    return { name, totals: { ...totals, first_event_mean_ms: 320, first_event_p95_ms: 830, duration_mean_ms: 2100 }, points };
  });
  return { from, to, step, by, times, series };
}

function listRequests({ searchParams: is }) {
  const fits = (one) => ['model', 'status', 'outcome'].every((name) => !is.get(name) || String(one[name]) === is.get(name)) && (!is.get('credential') || one.credential_id === is.get('credential')) && (!is.get('key') || one.key_id === is.get('key'));
  const all = requests.filter(fits);
  const from = Number(is.get('before') ?? 0);
  const limit = Number(is.get('limit') ?? 50);
  return { requests: all.slice(from, from + limit), next_before: from + limit < all.length ? String(from + limit) : null };
}

export async function startStandIn(system) {
  const ask = async (path, cookie) => (await fetch(`${system.origin}${path}`, { headers: { cookie: cookie ?? '' } })).json();
  const live = async (req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const put = (event, data) => res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const totals = Object.fromEntries(Object.entries(METRICS).map(([name, size]) => [name, size * 1000]));
    const turn = async () => {
      const { credentials } = await ask('/codebuddy/v1/credentials', req.headers.cookie);
      const current = await ask('/codebuddy/v1/credentials/current', req.headers.cookie);
      const ready = credentials.some(({ state }) => state === 'ready');
      put('health', { status: ready ? 'healthy' : 'unhealthy', reasons: ready ? [] : [{ code: 'no_credential_ready', message: 'No credential is ready.' }], ready });
      put('credentials', { credentials, current });
      put('stats', { totals, streams_in_flight: 3, requests_per_s: 0.4, first_event_ms: { p50: 310, p95: 870 } });
      put('processes', { processes });
      put('requests', { requests: requests.slice(0, 20) });
    };
    const timer = setInterval(() => turn().catch(() => res.destroy()), 1000);
    res.on('close', () => clearInterval(timer));
    await turn().catch(() => res.destroy());
  };
  const server = createServer(async (req, res) => {
    const url = new URL(req.url, 'http://h');
    if (['/api/live', '/api/usage', '/api/requests', '/api/processes'].includes(url.pathname)) {
      const { signed_in: signedIn } = await ask('/api/session', req.headers.cookie).catch(() => ({}));
      if (signedIn === undefined) return res.destroy();
      if (!signedIn) return res.writeHead(401, { 'content-type': 'application/json' }).end('{"error":{"message":"no","code":"missing_api_key"}}');
      if (url.pathname === '/api/live') return live(req, res);
      const body = { '/api/usage': usage, '/api/requests': listRequests, '/api/processes': () => ({ processes }) }[url.pathname](url);
      return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }
    const passed = send(`${system.origin}${req.url}`, { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    passed.on('error', () => res.destroy());
    res.on('close', () => passed.destroy());
    req.pipe(passed);
    return undefined;
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, stop: () => (server.closeAllConnections(), server.close()) };
}
