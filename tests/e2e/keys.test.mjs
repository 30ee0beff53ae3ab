// SPDX-License-Identifier: MIT
// API keys and run-time settings, as an administrator makes them and clients meet them.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { credential, startSystem, user } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system;
before(async () => {
  system = await startSystem({
    credentials: { a: credential('a') },
    env: { CODEBUDDY_GATEWAYS: '2', CODEBUDDY_MODELS: 's:chunks,b' },
  });
});
after(() => system?.stop());

const send = (method, path, body, headers = {}) =>
  system.fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });

async function expectError(response, status, { param, code } = {}) {
  const { error } = await response.json();
  assert.equal(response.status, status, JSON.stringify(error));
  assert.equal(typeof error.message, 'string');
  if (param !== undefined) assert.equal(error.param, param);
  if (code !== undefined) assert.equal(error.code, code);
}

async function create(body) {
  const response = await send('POST', '/api/keys', body);
  assert.equal(response.status, 201);
  const made = await response.json();
  assert.match(made.key, /^cb-[A-Za-z0-9_-]{43}$/);
  return made;
}

const ask = (key, model = 's:chunks', more = {}) =>
  system.chat({ model, messages: [user()], ...more }, { headers: { authorization: `Bearer ${key}` } });

// Each request is a connection of its own, so that both gateways get some.
async function askOften(key, count = 12) {
  const responses = await Promise.all(Array.from({ length: count }, () => ask(key, 's:chunks', {})));
  await Promise.all(responses.map((response) => response.text()));
  return responses.map((response) => response.status);
}

test('a key is shown once, serves on every gateway, and dies at once', async () => {
  const made = await create({ name: 'ci' });
  await until(async () => (await askOften(made.key)).every((status) => status === 200));
  const { keys } = await (await send('GET', '/api/keys')).json();
  const shown = keys.find(({ id }) => id === made.id);
  assert.equal(shown.name, 'ci');
  assert.equal(shown.key, undefined);
  assert.ok(shown.last_used_at >= shown.created_at);
  const file = join(system.dataDir, 'credd', 'keys.json');
  assert.ok(!readFileSync(file, 'utf8').includes(made.key));
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal((await system.fetch('/v1/models', { headers: { authorization: `Bearer ${made.key}` } })).status, 200);
  const revoked = await send('DELETE', `/api/keys/${made.id}`);
  assert.equal(revoked.status, 200);
  await new Promise((done) => setTimeout(done, 100)); // what the contract allows
  assert.deepEqual([...new Set(await askOften(made.key, 6))], [401]);
  await expectError(await send('DELETE', `/api/keys/${made.id}`), 404);
  assert.ok(!system.log().includes(made.key));
});

test('a key does only what it may', async () => {
  const one = await create({ name: 'one model', models: ['s:chunks'] });
  await until(async () => (await ask(one.key)).status === 200);
  await expectError(await ask(one.key, 's:reasoning'), 404, { code: 'model_not_found' });
  const few = await create({ name: 'few', rpm: 2 });
  await until(async () => (await system.fetch('/v1/models', { headers: { 'x-api-key': few.key, authorization: '' } })).status === 200);
  for (let i = 0; i < 2; i++) assert.equal((await ask(few.key)).status, 200);
  const limited = await ask(few.key);
  assert.ok(Number(limited.headers.get('retry-after')) >= 1);
  await expectError(limited, 429, { code: 'rate_limit_exceeded' });
  assert.equal((await ask(one.key)).status, 200); // nobody else's business
  for (const path of ['/api/keys', '/api/settings', '/api/stats', '/codebuddy/v1/credentials'])
    await expectError(await system.fetch(path, { headers: { authorization: `Bearer ${one.key}` } }), 403);
});

test('what is wrong with a key is said by field, and nothing is made', async () => {
  const before = (await (await send('GET', '/api/keys')).json()).keys.length;
  const bad = [
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'a', models: [] }, 'models'],
    [{ name: 'a', models: 'm' }, 'models'],
    [{ name: 'a', rpm: 0 }, 'rpm'],
    [{ name: 'a', max_in_flight: 1.5 }, 'max_in_flight'],
    [{ name: 'a', expires_at: 1 }, 'expires_at'],
    [{ name: 'a', key: 'cb-mine' }, 'key'],
  ];
  for (const [body, param] of bad) await expectError(await send('POST', '/api/keys', body), 422, { param });
  await expectError(await send('POST', '/api/keys', []), 400);
  assert.equal((await (await send('GET', '/api/keys')).json()).keys.length, before);
  assert.equal((await send('PUT', '/api/keys', {})).status, 405);
  assert.equal((await send('PUT', '/api/keys', {})).headers.get('allow'), 'GET, HEAD, POST');
  assert.equal((await send('GET', '/api/keys/x')).status, 405);
  for (const method of ['GET', 'POST']) {
    const response = await send(method, '/api/keys', method === 'POST' ? {} : undefined, { authorization: '' });
    assert.equal(response.status, 401);
    assert.equal(response.headers.get('www-authenticate'), 'Bearer');
  }
});

test('a setting changes for the next request, everywhere, and back', async () => {
  const { settings } = await (await send('GET', '/api/settings')).json();
  assert.equal(settings.CODEBUDDY_MODELS.value, 's:chunks,b');
  assert.equal(settings.CODEBUDDY_MODELS.source, 'environment');
  assert.equal(settings.CODEBUDDY_PASSWORD.value, null);
  assert.ok(settings.CODEBUDDY_PORT.needs_restart && !settings.CODEBUDDY_MODELS.needs_restart);
  assert.match(settings.CODEBUDDY_MODELS.label.zh, /模型/);
  assert.ok(!JSON.stringify(settings).includes(system.password));
  const changed = await send('POST', '/api/settings', { settings: { CODEBUDDY_MODELS: 's:reasoning,c', CODEBUDDY_PASSWORD: '' } });
  assert.equal(changed.status, 200);
  const after = (await changed.json()).settings.CODEBUDDY_MODELS;
  assert.deepEqual([after.value, after.source, after.set_by], ['s:reasoning,c', 'run time', 'password']);
  await until(async () => {
    const { data } = await (await system.fetch('/v1/models')).json();
    return data[0].id === 's:reasoning';
  });
  await until(async () => {
    const response = await system.chat({ messages: [user()] }); // the default model is the first
    return (await response.json()).model === 's:reasoning';
  });
  const back = await send('POST', '/api/settings', { settings: { CODEBUDDY_MODELS: null } });
  assert.equal((await back.json()).settings.CODEBUDDY_MODELS.source, 'environment');
});

test('who changes a setting can say what it was, and two who do the same do not undo each other', async () => {
  const set = (value, expected) => send('POST', '/api/settings', { settings: { CODEBUDDY_KEEPALIVE_S: value }, expected: { CODEBUDDY_KEEPALIVE_S: expected } });
  const { settings } = await (await send('GET', '/api/settings')).json();
  const first = settings.CODEBUDDY_KEEPALIVE_S.value;
  const answers = await Promise.all([first + 1, first + 2, first + 3].map((value) => set(value, first)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409]);
  const won = first + 1 + answers.findIndex(({ status }) => status === 200);
  await expectError(answers.find(({ status }) => status === 409), 409, { param: 'CODEBUDDY_KEEPALIVE_S', code: 'changed_meanwhile' });
  assert.equal((await (await send('GET', '/api/settings')).json()).settings.CODEBUDDY_KEEPALIVE_S.value, won);
  await expectError(await set(first, 'text'), 409, { param: 'CODEBUDDY_KEEPALIVE_S' });
  assert.equal((await send('POST', '/api/settings', { settings: { CODEBUDDY_KEEPALIVE_S: null }, expected: { CODEBUDDY_KEEPALIVE_S: won, CODEBUDDY_PASSWORD: null, CODEBUDDY_MODELS: 's:chunks,b', CODEBUDDY_ACCESS_LOG: true } })).status, 200);
});

test('what is wrong with a setting is said by name, and nothing changes', async () => {
  const bad = [
    [{ CODEBUDDY_MODELS: 'x', CODEBUDDY_PORT: 1 }, 'CODEBUDDY_PORT'],
    [{ CODEBUDDY_API_ENDPOINT: 'https://evil.example' }, 'CODEBUDDY_API_ENDPOINT'],
    [{ CODEBUDDY_PASSWORD: 'new' }, 'CODEBUDDY_PASSWORD'],
    [{ CODEBUDDY_KEEPALIVE_S: 0 }, 'CODEBUDDY_KEEPALIVE_S'],
    [{ CODEBUDDY_LOG_LEVEL: 'LOUD' }, 'CODEBUDDY_LOG_LEVEL'],
    [{ no: 1 }, 'no'],
  ];
  for (const [settings, param] of bad) await expectError(await send('POST', '/api/settings', { settings }), 422, { param });
  await expectError(await send('POST', '/api/settings', { CODEBUDDY_MODELS: 'x' }), 422, { param: 'CODEBUDDY_MODELS' });
  await expectError(await send('POST', '/api/settings', {}), 422, { param: 'settings' });
  const { settings } = await (await send('GET', '/api/settings')).json();
  assert.equal(settings.CODEBUDDY_MODELS.value, 's:chunks,b');
  assert.equal((await send('DELETE', '/api/settings')).status, 405);
  assert.equal((await send('GET', '/api/settings', undefined, { authorization: '' })).status, 401);
});

test('a login is a cookie for our own pages, on every gateway', async () => {
  const login = (body, headers = {}) =>
    fetch(`${system.origin}/api/login`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
  await expectError(await login({ password: 'wrong' }), 401, { code: 'invalid_api_key' });
  await expectError(await login({ password: system.password, x: 1 }), 422, { param: 'x' });
  await expectError(await login({}), 422, { param: 'password' });
  await expectError(await login({ password: system.password }, { origin: 'https://evil.example' }), 403, { code: 'cross_site' });
  assert.equal((await fetch(`${system.origin}/api/login`)).status, 405);
  const response = await login({ password: system.password });
  assert.equal(response.status, 200);
  const cookie = response.headers.get('set-cookie');
  assert.match(cookie, /^codebuddy_session=[A-Za-z0-9_-]{75}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/);
  const session = { cookie: cookie.split(';')[0], 'content-type': 'application/json', connection: 'close' };
  const call = (method, headers = {}, body) =>
    fetch(`${system.origin}/api/settings`, { method, body, headers: { ...session, ...headers } });
  for (let i = 0; i < 8; i++) assert.equal((await call('GET')).status, 200);
  const nothing = JSON.stringify({ settings: {} });
  assert.equal((await call('POST', { 'sec-fetch-site': 'same-origin' }, nothing)).status, 200);
  assert.equal((await call('POST', { origin: system.origin }, nothing)).status, 200);
  await expectError(await call('POST', { 'sec-fetch-site': 'cross-site' }, nothing), 403, { code: 'cross_site' });
  await expectError(await call('POST', { origin: 'https://evil.example' }, nothing), 403, { code: 'cross_site' });
  await expectError(await call('POST', {}, nothing), 403, { code: 'cross_site' });
  await expectError(await call('GET', { cookie: session.cookie.slice(0, -1) + '!' }), 401);
  const out = await fetch(`${system.origin}/api/logout`, { method: 'POST', headers: session });
  assert.match(out.headers.get('set-cookie'), /^codebuddy_session=; .*Max-Age=0/);
});

test('keys, settings and sessions outlive credd', async () => {
  const made = await create({ name: 'kept' });
  await until(async () => (await ask(made.key)).status === 200);
  const { processes } = await system.status();
  process.kill(processes.find(({ name }) => name.startsWith('credd')).pid, 'SIGKILL');
  assert.equal((await ask(made.key)).status, 200); // it waits for the new one
  await until(async () => {
    const response = await send('GET', '/api/keys');
    return response.status === 200 && (await response.json()).keys.some(({ id }) => id === made.id);
  });
});
