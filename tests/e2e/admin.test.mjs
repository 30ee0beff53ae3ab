// SPDX-License-Identifier: MIT
// Credentials as an administrator handles them over HTTP, and the routes that are open. Every admin route has its row in
// routes.test.mjs, the command line is cli.test.mjs.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credential, secretText, startSystem } from './harness.mjs';
import { until } from '../faults/load.mjs';

let system;
before(async () => {
  system = await startSystem({
    credentials: { a: credential('a'), b: credential('b') },
    env: { CODEBUDDY_MODELS: 's:chunks' },
  });
});
after(() => system?.stop());

const CREDENTIALS = '/codebuddy/v1/credentials';
const send = (method, path, body, headers = {}) =>
  system.fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
const list = async () => (await (await send('GET', CREDENTIALS)).json()).credentials;

test('credentials are listed, added, pinned, switched off, tested and deleted', async () => {
  const [a, b] = await list();
  assert.deepEqual([a.filename, b.filename, a.state], ['a.json', 'b.json', 'ready']);
  const token = secretText('tok-c');
  const added = await send('POST', CREDENTIALS, { bearer_token: token, user_id: 'c@example.com', filename: 'c' });
  assert.equal(added.status, 201);
  const { id } = await added.json();
  assert.equal((await send('POST', `${CREDENTIALS}/select`, { id })).status, 200);
  const current = await (await send('GET', `${CREDENTIALS}/current`)).json();
  assert.deepEqual([current.status, current.id], ['manual_selected', id]);
  const tested = await send('POST', `${CREDENTIALS}/${id}/test`);
  assert.equal(tested.status, 200);
  assert.equal((await tested.json()).object, 'chat.completion');
  assert.equal((await send('POST', `${CREDENTIALS}/${id}/disable`)).status, 200);
  assert.equal((await list()).find((one) => one.id === id).state, 'disabled');
  assert.equal((await send('POST', `${CREDENTIALS}/${id}/enable`)).status, 200);
  assert.equal((await send('POST', `${CREDENTIALS}/auto`)).status, 200);
  assert.equal((await send('POST', `${CREDENTIALS}/delete`, { id })).status, 200);
  assert.equal((await list()).length, 2);
  for (const text of [JSON.stringify(await list()), system.log()]) assert.ok(!text.includes(token));
});

test('every route that is open says what is wrong', async () => {
  const open = (method, path, body) =>
    fetch(`${system.origin}${path}`, { method, body, headers: { 'content-type': 'application/json', connection: 'close' } });
  const routes = [['POST', '/api/login', 'POST'], ['POST', '/api/logout', 'POST'], ['GET', '/codebuddy/auth/callback', 'GET, HEAD'], ['GET', '/api/session', 'GET, HEAD']];
  for (const [method, path, allow] of routes) {
    for (const other of ['PATCH', method === 'GET' ? 'POST' : 'GET']) {
      const wrong = await open(other, path);
      assert.equal(wrong.status, 405, `${other} ${path}`);
      assert.equal(wrong.headers.get('allow'), allow, path);
      assert.equal((await wrong.json()).error.code, 'method_not_allowed');
    }
    if (method === 'GET') continue;
    const unknown = await open(method, path, JSON.stringify({ no_such_field: 1 }));
    assert.equal(unknown.status, 422, path);
    assert.equal((await unknown.json()).error.param, 'no_such_field');
    for (const body of ['[]', '{"a":', 'text']) assert.equal((await open(method, path, body)).status, 400, `${path} ${body}`);
  }
  assert.equal((await open('POST', '/api/login', JSON.stringify({ password: secretText('pw') }))).status, 401);
  for (const body of [undefined, '{}']) assert.equal((await open('POST', '/api/logout', body)).status, 200); // nobody is logged in
});

test('the landing page after a login echoes nothing', async () => {
  const mark = secretText('echo');
  const plain = await fetch(`${system.origin}/codebuddy/auth/callback`);
  const response = await fetch(`${system.origin}/codebuddy/auth/callback?state=${mark}&code=%3Cscript%3E${mark}&error=${mark}`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/plain/);
  assert.match(response.headers.get('content-security-policy'), /default-src 'none'/);
  const text = await response.text();
  assert.equal(text, await plain.text());
  assert.ok(!text.includes(mark) && ![...response.headers.values()].some((value) => value.includes(mark)));
  assert.ok(!system.log().includes(mark));
});

test('files that cannot be used are listed by name with what is wrong, and left alone', async () => {
  const files = { 'broken.json': '{"bearer_token":', 'foreign.json': '{"kind":"service_account"}', 'elsewhere.json': '{"bearer_token":"t","site":"nowhere"}' };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(system.credsDir, name), text, { mode: 0o600 });
  symlinkSync('/etc/hostname', join(system.credsDir, 'link.json'));
  const reasons = { 'broken.json': /^not valid JSON at line 1/, 'foreign.json': /^bearer_token is missing/, 'elsewhere.json': /^site is not a known/, 'link.json': /^is a symbolic link/ };
  const rows = await until(async () => {
    const all = await list();
    return Object.keys(reasons).every((name) => all.some(({ filename }) => filename === name)) && all;
  }, 'the files in the list');
  for (const [name, reason] of Object.entries(reasons)) {
    const row = rows.find(({ filename }) => filename === name);
    assert.deepEqual([row.state, row.has_token, row.token_preview], ['needs_login', false, null], name);
    assert.match(row.state_reason, reason);
    const tested = await send('POST', `${CREDENTIALS}/${row.id}/test`);
    assert.equal(tested.status, 503, name);
    await tested.text();
  }
  for (const [name, text] of Object.entries(files)) assert.equal(readFileSync(join(system.credsDir, name), 'utf8'), text);
  for (const name of Object.keys(reasons)) rmSync(join(system.credsDir, name));
  await until(async () => (await list()).length === 2, 'the list without them');
});
