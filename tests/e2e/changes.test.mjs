// SPDX-License-Identifier: MIT
// What an administrator changes reaches the requests of clients, and the log says who changed what.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credential, secretText, startSystem, user } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system;
before(async () => {
  system = await startSystem({ credentials: { a: credential('a'), b: credential('b') } });
});
after(() => system?.stop());

const CREDENTIALS = '/codebuddy/v1/credentials';
const send = (method, path, body, headers = {}) =>
  system.fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });

async function done(method, path, body) {
  const response = await send(method, path, body);
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.json();
}

const as = (key) => ({ authorization: `Bearer ${key}` });
const statusFor = async (key) => (await system.fetch('/v1/models', { headers: as(key) })).status;

test('a key with max_in_flight: the request after that waits for nothing, 429; once one is over, 200', async () => {
  const { key } = await done('POST', '/api/keys', { name: 'one at a time', max_in_flight: 1 });
  await until(async () => (await statusFor(key)) === 200, 'the key');
  const ask = (model, more, options) => system.chat({ model, messages: [user()], ...more }, { headers: as(key), ...options });
  const controller = new AbortController();
  const stream = await ask('s:slow?n=4000&key=holds', { stream: true }, { signal: controller.signal });
  assert.equal(stream.status, 200);
  const reader = stream.body.getReader();
  assert.ok((await reader.read()).value.length > 0);
  const refused = await ask('s:chunks');
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.equal((await refused.json()).error.code, 'rate_limit_exceeded');
  assert.equal((await system.chat({ model: 's:chunks', messages: [user()] })).status, 200); // the password has no such limit
  assert.ok((await reader.read()).value.length > 0); // the first goes on
  controller.abort();
  await until(async () => (await ask('s:chunks')).status === 200, 'room for the key');
});

test('a key with expires_at: good until then, 401 after', async () => {
  const expires_at = Math.floor(Date.now() / 1000) + 4;
  const made = await done('POST', '/api/keys', { name: 'short', expires_at });
  assert.equal(made.expires_at, expires_at);
  await until(async () => (await statusFor(made.key)) === 200, 'the key');
  const ends = [];
  await until(async () => ends.push(await statusFor(made.key)) && ends.at(-1) !== 200, 'the key to expire');
  assert.equal(ends.at(-1), 401);
  assert.ok(Date.now() / 1000 >= expires_at, 'it died too early');
  assert.equal((await system.chat({ model: 's:chunks', messages: [user()] }, { headers: as(made.key) })).status, 401);
});

let unique = 0;
// The first message of what the upstream got, for some requests at once, so that every worker has some.
async function firstMessages() {
  const models = Array.from({ length: 6 }, () => `s:slow?n=2&key=live${unique++}`);
  const answers = await Promise.all(models.map((model) => system.chat({ model, messages: [user()] })));
  for (const answer of answers) assert.equal(answer.status, 200, await answer.text());
  return Promise.all(models.map(async (model) => JSON.parse((await system.upstream.lastRequest(model)).body).messages[0]));
}

test('a system message that is set reaches the upstream with the next requests, on every worker, and leaves again', async () => {
  const [original] = await firstMessages();
  const text = 'Answer as "Ada" 中.\n\nBe brief.';
  const all = (content) => async () => (await firstMessages()).every((message) => message.role === 'system' && message.content === content);
  await done('POST', '/api/settings', { settings: { CODEBUDDY_SYSTEM_MESSAGE: text } });
  await until(all(text), 'the new system message');
  await done('POST', '/api/settings', { settings: { CODEBUDDY_SYSTEM_MESSAGE: null } });
  await until(all(original.content), 'the old system message');
});

test('the log level that is set holds in every process, statsd and the supervisor too', async () => {
  const from = system.logSize();
  await done('POST', '/api/settings', { settings: { CODEBUDDY_LOG_LEVEL: 'ERROR' } });
  const { settings } = await done('GET', '/api/settings');
  assert.deepEqual([settings.CODEBUDDY_LOG_LEVEL.value, settings.CODEBUDDY_LOG_LEVEL.set_by], ['ERROR', 'password']);
  const levels = async () => (await system.status()).processes.map(({ numbers }) => numbers.log_level);
  await until(async () => (await levels()).every((level) => level === 3), 'ERROR everywhere');
  const [worker] = (await system.status()).processes.filter(({ name }) => name.startsWith('upstream-worker'));
  process.kill(worker.pid, 'SIGKILL'); // the supervisor would say so in a WARNING
  await until(async () => (await system.status()).processes.find(({ name }) => name === worker.name).pid > 0 && (await system.status()).processes.every(({ state, pid }) => state === 'ready' && pid !== worker.pid), 'the worker again');
  assert.ok(!/ WARNING supervisor /.test(system.log().slice(from)), system.log().slice(from));
  await done('POST', '/api/settings', { settings: { CODEBUDDY_LOG_LEVEL: null } });
  await until(async () => (await levels()).every((level) => level === 1), 'INFO everywhere');
});

test('a key that is in use keeps its limit over a restart of credd', async () => {
  const { key, id } = await done('POST', '/api/keys', { name: 'over a restart', max_in_flight: 1 });
  await until(async () => (await statusFor(key)) === 200, 'the key');
  const controller = new AbortController();
  const stream = await system.chat({ model: 's:slow?n=4000&key=restart', messages: [user()], stream: true }, { headers: as(key), signal: controller.signal });
  assert.equal(stream.status, 200);
  const reader = stream.body.getReader();
  await reader.read();
  const credd = (await system.status()).processes.find(({ name }) => name.startsWith('credd'));
  process.kill(credd.pid, 'SIGKILL');
  // The new one counts what workers hold as they come back to it, each with its first RENEW.
  const inFlight = async () => (await (await system.fetch('/api/keys')).json()).keys?.find((one) => one.id === id)?.in_flight;
  await until(async () => (await system.status()).processes.find(({ name }) => name.startsWith('credd')).pid !== credd.pid && (await inFlight()) === 1, 'the new credd to know of the stream');
  const refused = await system.chat({ model: 's:chunks', messages: [user()] }, { headers: as(key) });
  assert.equal(refused.status, 429, await refused.text());
  controller.abort();
  await until(async () => (await system.chat({ model: 's:chunks', messages: [user()] }, { headers: as(key) })).status === 200, 'room for the key');
});

test('what a key began in the last minute counts after a restart of credd, too', async () => {
  const { key, id } = await done('POST', '/api/keys', { name: 'three a minute', rpm: 3 });
  await until(async () => (await statusFor(key)) === 200, 'the key');
  const ask = () => system.chat({ model: 's:chunks', messages: [user()] }, { headers: as(key) });
  for (let i = 0; i < 3; i++) assert.equal((await ask()).status, 200);
  const file = join(system.dataDir, 'credd', 'key_paces.json');
  const written = () => JSON.parse(readFileSync(file, 'utf8')).keys[id]?.reduce((sum, [, count]) => sum + count, 0);
  await until(() => existsSync(file) && written() === 3, 'the count on disk');
  const credd = (await system.status()).processes.find(({ name }) => name.startsWith('credd'));
  process.kill(credd.pid, 'SIGKILL');
  const refused = await ask(); // it waits for the new one
  assert.equal(refused.status, 429, await refused.text());
  const wait = Number(refused.headers.get('retry-after'));
  assert.ok(wait >= 1 && wait <= 60, `Retry-After: ${wait}`);
});

test('the log tells who changed what, and no secret', async () => {
  const { id } = (await done('GET', CREDENTIALS)).credentials[0];
  const from = system.logSize();
  const steps = [
    ['credential_select', `${CREDENTIALS}/select`, { id }],
    ['credential_auto', `${CREDENTIALS}/auto`],
    ['credential_disable', `${CREDENTIALS}/${id}/disable`],
    ['credential_enable', `${CREDENTIALS}/${id}/enable`],
    ['setting_set', '/api/settings', { settings: { CODEBUDDY_KEEPALIVE_S: 9 } }],
    ['logged_in', '/api/login', { password: system.password }],
  ];
  const secrets = [system.password, ...Object.values(system.credentials).map((one) => one.bearer_token)];
  for (const [, path, body] of steps) await done('POST', path, body);
  const made = await done('POST', '/api/keys', { name: 'audited' });
  await done('DELETE', `/api/keys/${made.id}`);
  const added = secretText('tok-audit');
  const { id: addedId } = await done('POST', CREDENTIALS, { bearer_token: added, filename: 'audited' });
  await done('POST', `${CREDENTIALS}/delete`, { id: addedId });
  const subjects = { credential_select: id, credential_disable: id, credential_enable: id, setting_set: 'CODEBUDDY_KEEPALIVE_S', key_created: made.id, key_revoked: made.id, credential_add: addedId, credential_delete: addedId };
  for (const what of [...steps.map(([name]) => name), 'key_created', 'key_revoked', 'credential_add', 'credential_delete'])
    await system.waitLog(new RegExp(` audit .*actor=password what=${what}\\b${subjects[what] ? `.*${subjects[what]}` : ''}`), { from });
  for (const secret of [...secrets, made.key, added]) assert.ok(!system.log().includes(secret));
});
