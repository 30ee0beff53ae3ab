// SPDX-License-Identifier: MIT
// A login at the upstream, begun and finished over our HTTP calls: how it ends well, and how it does not.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startSystem, user } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system;
before(async () => {
  system = await startSystem({ credentials: {} });
});
after(() => system?.stop());

const post = async (path, body) => {
  const response = await system.fetch(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  return { status: response.status, body: await response.json() };
};
const poll = (auth_state) => post('/codebuddy/auth/poll', { auth_state });
const cancel = (auth_state) => post('/codebuddy/auth/cancel', { auth_state });

async function start() {
  const { status, body } = await post('/codebuddy/auth/start', {});
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual([body.success, body.status], [true, 'pending']);
  assert.match(body.verification_uri, /^https?:\/\//);
  assert.ok(body.expires_in > 0 && body.interval > 0);
  return body.auth_state;
}

async function refused(answer, error) {
  const { status, body } = await answer;
  assert.deepEqual([status, body.error], [400, error]);
  assert.ok(body.error_description.length > 0);
}

test('pending, then done: the credential is there and serves, its token is nowhere to be seen', async () => {
  const state = await start();
  await refused(poll(state), 'authorization_pending');
  const { status, body } = await poll(state);
  assert.equal(status, 200);
  assert.deepEqual([Object.keys(body).sort(), body.saved], [['id', 'saved', 'user_id'], true]);
  const [file] = readdirSync(system.credsDir).filter((name) => name.endsWith('.json'));
  const saved = JSON.parse(readFileSync(join(system.credsDir, file), 'utf8'));
  const list = await until(async () => {
    const { credentials } = await (await system.fetch('/codebuddy/v1/credentials')).json();
    return credentials.some(({ id }) => id === body.id) && credentials;
  }, 'the new credential');
  assert.deepEqual([list.length, list[0].filename, list[0].state], [1, file, 'ready']);
  assert.equal((await system.chat({ model: 's:chunks', messages: [user()] })).status, 200);
  assert.equal((await system.upstream.lastRequest('s:chunks')).headers.authorization, `Bearer ${saved.bearer_token}`);
  for (const secret of [saved.bearer_token, saved.refresh_token])
    for (const text of [JSON.stringify(body), JSON.stringify(list), system.log()]) assert.ok(secret.length > 8 && !text.includes(secret));
  await refused(poll(state), 'invalid_grant'); // used once
});

test('an account that may not: access denied, and the login is over', async () => {
  const state = await start();
  await system.upstream.control('answer', { call: 'poll', code: 12005, msg: 'no seat', times: 1 });
  await refused(poll(state), 'access_denied');
  await refused(poll(state), 'invalid_grant');
});

test('a state that nobody gave: 400', async () => {
  for (const state of ['unknown', '', '0'.repeat(64)]) await refused(poll(state), 'invalid_grant');
});

test('three logins are open: the fourth is refused until one is cancelled', async () => {
  const states = [await start(), await start(), await start()];
  assert.equal(new Set(states).size, 3);
  const fourth = await system.fetch('/codebuddy/auth/start', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
  assert.equal(fourth.status, 429);
  const wait = Number(fourth.headers.get('retry-after')); // until the oldest is over
  assert.ok(wait > 1000 && wait <= 1800, `Retry-After: ${wait}`);
  assert.equal((await fourth.json()).error.code, 'too_many_logins');
  await refused(poll(states[1]), 'authorization_pending'); // the others go on
  assert.equal((await cancel(states.shift())).status, 200);
  states.push(await start());
  for (const state of states) assert.equal((await cancel(state)).status, 200);
  assert.equal((await cancel(states[0])).status, 404);
  await system.waitLog(/ audit .*what=login_cancel/);
});
