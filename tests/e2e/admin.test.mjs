// SPDX-License-Identifier: MIT
// Credentials as an administrator handles them: over HTTP, and with our own command line.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BIN_DIR, credential, secretText, startSystem, user } from './harness.mjs';
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

// Runs `codebuddy2api …` as a person would. Resolves to { code, out, err }.
function command(args, input) {
  return new Promise((resolve) => {
    const child = execFile(join(BIN_DIR, 'codebuddy2api'), [...args, '--url', system.origin], { cwd: system.dir, env: system.environment }, (error, out, err) =>
      resolve({ code: error ? error.code : 0, out, err }));
    child.stdin.end(input ?? '');
  });
}

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

test('every admin route says what is wrong', async () => {
  const key = (await (await send('POST', '/api/keys', { name: 'k' })).json()).key;
  await until(async () => (await system.fetch('/v1/models', { headers: { authorization: `Bearer ${key}` } })).status === 200);
  const routes = [
    ['GET', CREDENTIALS], ['POST', CREDENTIALS, 422], ['POST', `${CREDENTIALS}/select`, 422], ['POST', `${CREDENTIALS}/auto`],
    ['POST', `${CREDENTIALS}/toggle-rotation`], ['GET', `${CREDENTIALS}/current`], ['POST', `${CREDENTIALS}/delete`, 422],
    ['POST', `${CREDENTIALS}/none/refresh`, 404], ['POST', `${CREDENTIALS}/none/enable`, 404], ['POST', `${CREDENTIALS}/none/disable`, 404],
    ['POST', `${CREDENTIALS}/none/test`], ['GET', '/codebuddy/auth/start'], ['POST', '/codebuddy/auth/start'], ['POST', '/codebuddy/auth/poll', 422], ['POST', '/codebuddy/auth/cancel', 422],
    ['GET', '/api/settings'], ['POST', '/api/settings', 422], ['GET', '/api/keys'], ['POST', '/api/keys', 422],
    ['DELETE', '/api/keys/none', 404], ['GET', '/api/stats'],
  ];
  for (const [method, path, withoutFields] of routes) {
    const where = `${method} ${path}`;
    assert.equal((await send(method, path, undefined, { authorization: '' })).status, 401, where);
    assert.equal((await send(method, path, undefined, { authorization: `Bearer ${key}` })).status, 403, where);
    const wrong = await send('PATCH', path);
    assert.equal(wrong.status, 405, where);
    assert.ok(wrong.headers.get('allow').split(', ').includes(method), where);
    if (method === 'POST') {
      const unknown = await send(method, path, { no_such_field: 1 });
      assert.equal(unknown.status, 422, where);
      assert.equal((await unknown.json()).error.param, 'no_such_field');
      assert.equal((await send(method, path, [])).status, 400, where);
    }
    if (withoutFields) assert.equal((await send(method, path, method === 'POST' ? {} : undefined)).status, withoutFields, where);
  }
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

test('the command line does what the page will', async () => {
  const token = secretText('tok-d');
  const file = join(system.dir, 'd.credential');
  writeFileSync(file, JSON.stringify({ bearer_token: token, filename: 'd' }), { mode: 0o600 });
  assert.equal((await command(['credentials', 'add', file])).code, 0);
  const listed = await command(['credentials', 'list']);
  assert.match(listed.out, /^id +filename/);
  assert.match(listed.out, /d\.json/);
  assert.ok(!listed.out.includes(token));
  const { credentials } = JSON.parse((await command(['credentials', 'list', '--json'])).out);
  const { id } = credentials.find(({ filename }) => filename === 'd.json');
  assert.match((await command(['credentials', 'test', id])).out, /^it works/);
  assert.equal((await command(['credentials', 'delete', id])).code, 0);
  const refused = await command(['credentials', 'delete', id]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /\(404\)/);

  const made = JSON.parse((await command(['keys', 'create', 'cli', '--models', 's:chunks, b', '--rpm', '5', '--json'])).out);
  assert.deepEqual([made.models, made.rpm], [['s:chunks', 'b'], 5]);
  await until(async () => (await system.chat({ model: 's:chunks', messages: [user()] }, { headers: { authorization: `Bearer ${made.key}` } })).status === 200);
  assert.match((await command(['keys', 'list'])).out, new RegExp(made.id));
  assert.equal((await command(['keys', 'revoke', made.id])).code, 0);
  assert.equal((await command(['keys', 'create', 'x', '--rpm', '0'])).code, 1);

  assert.match((await command(['settings', 'set', 'CODEBUDDY_KEEPALIVE_S', '7'])).out, /value: 7\nsource: run time/);
  assert.equal((await command(['settings', 'set', 'CODEBUDDY_SYSTEM_MESSAGE', '-'], 'Be brief.\n')).code, 0);
  assert.match((await command(['settings', 'get'])).out, /CODEBUDDY_SYSTEM_MESSAGE +Be brief\. +run time/);
  assert.match((await command(['settings', 'unset', 'CODEBUDDY_KEEPALIVE_S'])).out, /source: default/);
  assert.match((await command(['settings', 'set', 'CODEBUDDY_PORT', '1'])).err, /CODEBUDDY_PORT.*restart.*\(422\)/);
});

test('the command line says what it cannot do', async () => {
  assert.equal((await command(['keys'])).code, 64);
  assert.equal((await command(['keys', 'create'])).code, 64);
  assert.equal((await command(['credentials', 'add', '/nonexistent'])).code, 64);
  const nobody = await new Promise((resolve) =>
    execFile(join(BIN_DIR, 'codebuddy2api'), ['keys', 'list', '--url', 'http://127.0.0.1:1'], { cwd: system.dir, env: system.environment }, (error) => resolve(error)));
  assert.equal(nobody.code, 3);
});

test('a login through the command line', async () => {
  const { code, out, err } = await command(['credentials', 'login']);
  assert.equal(code, 0, err);
  assert.match(err, /http/);
  assert.match(out, /saved: true/);
});
