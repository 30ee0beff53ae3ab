// SPDX-License-Identifier: MIT
// Every route that is no model API, one row each: what succeeds, what each field may not be, methods, proof.
// The routes are read from gateway/routes.c: one without a row fails, and so does a row without a route.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credential, root, secretText, startSystem } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system, ids, key, login;
before(async () => {
  system = await startSystem({
    credentials: { a: credential('a'), b: credential('b', { refresh_token: secretText('r') }) },
    env: { CODEBUDDY_MODELS: 's:chunks' },
  });
  ids = (await (await send('GET', '/codebuddy/v1/credentials')).json()).credentials.map(({ id }) => id);
  const made = await (await send('POST', '/api/keys', { name: 'a key' })).json();
  key = made.key;
  await until(async () => (await system.fetch('/v1/models', { headers: as(key) })).status === 200, 'the key');
});
after(() => system?.stop());

const as = (proof) => ({ authorization: proof ? `Bearer ${proof}` : '' });
const send = (method, path, body, headers = {}) =>
  system.fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });

// An entry of the C table: {"name", "METHOD", "/path", …, ID("/suffix")}.
function routesOf(source) {
  const table = source.slice(source.indexOf('static const struct route table[]'), source.indexOf('enum { COUNT'));
  return [...table.matchAll(/\{"[a-z_]+",\s*"([A-Z]+)",\s*"([^"]+)"([^{}]*)\}/g)].map(([, method, path, rest]) => {
    const suffix = /ID\("([^"]*)"\)/.exec(rest)?.[1];
    return {
      name: `${method} ${path}${suffix === undefined ? '' : `{id}${suffix}`}`,
      method,
      path: suffix === undefined ? path : `${path}{id}${suffix}`,
      audience: /\bOPEN\b/.test(rest) ? 'anyone' : /\bCLIENT\b/.test(rest) ? 'client' : 'admin',
      takesBody: method === 'POST',
      hasQuery: /QUERY\(/.test(rest),
    };
  });
}

const one = () => ({ id: ids[0] });
const bothOrNeither = () => [[{}, 'id'], [{ id: 1 }, 'id'], [{ index: 'a' }, 'index'], [{ id: ids[0], index: 0 }, 'id']];
// id: what stands for {id} (default: the first credential); body: sent where it succeeds; status: of success;
// bad: [body, the field that 422 names]; query: [query, the name that 422 gives]; missing: [body, 404].
const CREDENTIALS = '/codebuddy/v1/credentials';
const token = () => secretText('tok');
const rows = {
  [`GET ${CREDENTIALS}`]: {},
  [`POST ${CREDENTIALS}`]: {
    body: () => ({ bearer_token: token(), user_id: 'u', filename: 'made', refresh_token: token(), expires_in: 3600, site: 'custom' }),
    status: 201,
    bad: () => [
      [{}, 'bearer_token'], [{ bearer_token: 1 }, 'bearer_token'], [{ bearer_token: 'two words' }, 'bearer_token'],
      [{ bearer_token: 't', user_id: 1 }, 'user_id'], [{ bearer_token: 't', user_id: 'a\nb' }, 'user_id'],
      [{ bearer_token: 't', filename: 1 }, 'filename'], [{ bearer_token: 't', filename: '' }, 'filename'], [{ bearer_token: 't', filename: 'a' }, 'filename'],
      [{ bearer_token: 't', refresh_token: 1 }, 'refresh_token'], [{ bearer_token: 't', refresh_token: 'a\nb' }, 'refresh_token'],
      [{ bearer_token: 't', expires_in: 'x' }, 'expires_in'], [{ bearer_token: 't', expires_in: -1 }, 'expires_in'],
      [{ bearer_token: 't', site: 1 }, 'site'], [{ bearer_token: 't', site: 'nowhere' }, 'site'],
    ],
  },
  [`POST ${CREDENTIALS}/select`]: { body: one, bad: bothOrNeither, missing: () => [{ id: 'none' }, { index: 99 }] },
  [`POST ${CREDENTIALS}/auto`]: { body: () => ({}) },
  [`POST ${CREDENTIALS}/toggle-rotation`]: { body: () => ({}) },
  [`GET ${CREDENTIALS}/current`]: {},
  [`POST ${CREDENTIALS}/delete`]: { body: () => ({ index: 2 }), bad: bothOrNeither, missing: () => [{ id: 'none' }, { index: 99 }] },
  [`POST ${CREDENTIALS}/{id}/refresh`]: { id: () => ids[1], body: () => ({}), unknownId: 404 },
  [`POST ${CREDENTIALS}/{id}/enable`]: { body: () => ({}), unknownId: 404 },
  [`POST ${CREDENTIALS}/{id}/disable`]: { body: () => ({}), unknownId: 404 },
  [`POST ${CREDENTIALS}/{id}/test`]: { body: () => ({}), unknownId: 404 },
  'GET /codebuddy/auth/start': {},
  'POST /codebuddy/auth/start': { body: () => ({}) },
  'POST /codebuddy/auth/poll': {
    body: async () => ({ auth_state: (login = (await (await send('POST', '/codebuddy/auth/start', {})).json()).auth_state) }),
    status: 400, // authorization_pending: RFC 8628's way of saying that all is well
    bad: () => [[{}, 'auth_state'], [{ auth_state: 1 }, 'auth_state']],
  },
  'POST /codebuddy/auth/cancel': {
    body: () => ({ auth_state: login }), // the one that was polled
    bad: () => [[{}, 'auth_state'], [{ auth_state: 1 }, 'auth_state']],
    missing: () => [{ auth_state: 'none' }],
  },
  'GET /api/settings': {},
  'POST /api/settings': {
    body: () => ({ settings: { CODEBUDDY_KEEPALIVE_S: 9 } }),
    bad: () => [
      [{}, 'settings'], [{ settings: [] }, 'settings'], [{ settings: { CODEBUDDY_NO_SUCH: 1 } }, 'CODEBUDDY_NO_SUCH'],
      [{ settings: { CODEBUDDY_KEEPALIVE_S: 'soon' } }, 'CODEBUDDY_KEEPALIVE_S'], [{ settings: { CODEBUDDY_PORT: 1 } }, 'CODEBUDDY_PORT'],
      [{ settings: { CODEBUDDY_KEEPALIVE_S: [] } }, 'CODEBUDDY_KEEPALIVE_S'], [{ settings: {}, expected: 9 }, 'expected'], [{ settings: {}, expected: { no: 1 } }, 'no'], [{ settings: { CODEBUDDY_PASSWORD: 'new' } }, 'CODEBUDDY_PASSWORD'],
    ],
  },
  'GET /api/keys': {},
  'POST /api/keys': {
    body: () => ({ name: 'k', models: ['m'], rpm: 5, max_in_flight: 2, expires_at: 4102444800 }),
    status: 201,
    bad: () => [
      [{}, 'name'], [{ name: '' }, 'name'], [{ name: 1 }, 'name'], [{ name: 'x'.repeat(65) }, 'name'], [{ name: 'a\nb' }, 'name'],
      [{ name: 'a', models: [] }, 'models'], [{ name: 'a', models: [1] }, 'models'], [{ name: 'a', rpm: 0 }, 'rpm'], [{ name: 'a', rpm: '5' }, 'rpm'],
      [{ name: 'a', max_in_flight: 0 }, 'max_in_flight'], [{ name: 'a', max_in_flight: 1.5 }, 'max_in_flight'],
      [{ name: 'a', expires_at: 1 }, 'expires_at'], [{ name: 'a', expires_at: 'never' }, 'expires_at'],
    ],
  },
  'DELETE /api/keys/{id}': {
    id: async () => (await (await send('POST', '/api/keys', { name: 'short-lived' })).json()).id,
    unknownId: 404,
  },
  'GET /api/stats': {},
  'GET /api/usage': { query: [['from=x', 'from'], ['to=x', 'to'], ['step=0', 'step'], ['by=moon', 'by'], ['format=xml', 'format']] },
  'GET /api/requests': { query: [['limit=0', 'limit'], ['limit=x', 'limit'], ['before=%21', 'before'], ['status=x', 'status'], ['outcome=%21', 'outcome']] },
  'GET /api/processes': {},
  'GET /api/live': { isStream: true },
};
// Open to anyone: admin.test.mjs and the tests of the page show what these take.
const open = ['GET /health', 'GET /', 'GET /admin', 'GET /admin/', 'GET /assets/', 'POST /api/login', 'POST /api/logout', 'GET /api/session', 'GET /codebuddy/auth/callback'];

const routes = routesOf(readFileSync(join(root, 'gateway/routes.c'), 'utf8'));
const pathOf = (route, id) => route.path.replace('{id}', id);
const idFor = async (row) => (row.id ? row.id() : ids[0]);

async function refused(response, status, param, where) {
  const text = await response.text();
  assert.equal(response.status, status, `${where}: ${text}`);
  const { error } = JSON.parse(text);
  assert.equal(typeof error.message, 'string', where);
  if (param !== undefined) assert.equal(error.param, param, `${where}: ${text}`);
}

test('every route has a row, and every row a route', () => {
  assert.ok(routes.length > 30, `${routes.length} routes found: has the table another form?`);
  const named = (audience) => routes.filter((route) => route.audience === audience).map(({ name }) => name);
  assert.deepEqual(named('admin').sort(), Object.keys(rows).sort());
  assert.deepEqual(named('anyone').sort(), [...open].sort());
  for (const name of named('client')) assert.match(name, / (\/codebuddy)?\/v1\/(models|chat\/completions)/);
});

for (const route of routes.filter(({ audience }) => audience === 'admin')) {
  const row = rows[route.name] ?? {};

  test(`${route.name}: proof and methods`, async () => {
    const path = pathOf(route, ids[0]);
    const nobody = await send(route.method, path, undefined, as(''));
    assert.equal(nobody.headers.get('www-authenticate'), 'Bearer');
    await refused(nobody, 401, undefined, route.name);
    await refused(await send(route.method, path, undefined, as(key)), 403, undefined, route.name);
    const wrong = await send('PATCH', path);
    assert.ok(wrong.headers.get('allow').split(', ').includes(route.method), route.name);
    await refused(wrong, 405, undefined, route.name);
  });

  test(`${route.name}: fields`, async () => {
    const path = pathOf(route, ids[0]);
    if (route.takesBody) {
      await refused(await send(route.method, path, { no_such_field: 1 }), 422, 'no_such_field', route.name);
      await refused(await send(route.method, path, []), 400, undefined, route.name);
    }
    for (const [body, param] of row.bad?.() ?? []) await refused(await send(route.method, path, body), 422, param, `${route.name} ${JSON.stringify(body)}`);
    for (const body of row.missing?.() ?? []) await refused(await send(route.method, path, body), 404, undefined, `${route.name} ${JSON.stringify(body)}`);
    if (route.hasQuery) await refused(await send(route.method, `${path}?no_such_name=1`), 422, 'no_such_name', route.name);
    for (const [query, param] of row.query ?? []) await refused(await send(route.method, `${path}?${query}`), 422, param, `${route.name}?${query}`);
    if (row.unknownId) await refused(await send(route.method, pathOf(route, 'none')), row.unknownId, undefined, route.name);
  });

  test(`${route.name}: success`, async () => {
    const controller = new AbortController();
    const path = pathOf(route, await idFor(row));
    const body = await row.body?.();
    const response = await system.fetch(path, {
      method: route.method,
      body: body && JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
      signal: controller.signal,
    });
    if (response.status !== (row.status ?? 200)) assert.fail(`${route.name}: ${response.status} ${await response.text()}`);
    assert.equal(response.headers.get('cache-control')?.includes('no-store') || row.isStream, true, route.name);
    if (row.isStream) assert.match(response.headers.get('content-type'), /^text\/event-stream/);
    else assert.equal(typeof (await response.json()), 'object');
    controller.abort();
  });
}
