// SPDX-License-Identifier: MIT
// Our own command, as people and scripts use it: every verb, with --json and without, and every exit status.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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

// Runs `codebuddy2api …` as a person would. Resolves to { code, out, err }.
function run(args, { input = '', env = {} } = {}) {
  return new Promise((resolve) => {
    const child = execFile(join(BIN_DIR, 'codebuddy2api'), args, { cwd: system.dir, env: { ...system.environment, ...env } }, (error, out, err) =>
      resolve({ code: error ? error.code : 0, out, err }));
    child.stdin.on('error', () => {}); // it may be over before it reads
    child.stdin.end(input);
  });
}
const command = (args, input, env) => run([...args, '--url', system.origin], { input, env });

async function json(args, input) {
  const { code, out, err } = await command([...args, '--json'], input);
  assert.equal(code, 0, `${args.join(' ')}: ${err}`);
  return JSON.parse(out);
}

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

test('every verb gives scripts the answer of the API with --json', async () => {
  const token = secretText('tok-json');
  const added = await json(['credentials', 'add', '-'], JSON.stringify({ bearer_token: token, filename: 'json' }));
  assert.equal(added.filename, 'json.json');
  assert.ok((await json(['credentials', 'list'])).credentials.some(({ id }) => id === added.id));
  assert.equal((await json(['credentials', 'test', added.id])).object, 'chat.completion');
  assert.equal((await json(['credentials', 'delete', added.id])).id, added.id);
  const saved = await json(['credentials', 'login']);
  assert.deepEqual([saved.saved, typeof saved.id], [true, 'string']);
  const expires_at = Math.floor(Date.now() / 1000) + 3600;
  const made = await json(['keys', 'create', 'all', '--models', 'a,b', '--rpm', '7', '--max-in-flight', '3', '--expires-at', `${expires_at}`]);
  assert.deepEqual([made.models, made.rpm, made.max_in_flight, made.expires_at], [['a', 'b'], 7, 3, expires_at]);
  assert.match(made.key, /^cb-/);
  assert.ok((await json(['keys', 'list'])).keys.some(({ id }) => id === made.id));
  assert.equal((await json(['keys', 'revoke', made.id])).id, made.id);
  assert.equal((await json(['settings', 'set', 'CODEBUDDY_KEEPALIVE_S', '8'])).settings.CODEBUDDY_KEEPALIVE_S.value, 8);
  assert.equal((await json(['settings', 'get'])).settings.CODEBUDDY_KEEPALIVE_S.set_by, 'password');
  assert.equal((await json(['settings', 'unset', 'CODEBUDDY_KEEPALIVE_S'])).settings.CODEBUDDY_KEEPALIVE_S.source, 'default');
});

test('refusals: exit 1, the reason on standard error, nothing on standard output', async () => {
  writeFileSync(join(system.credsDir, 'broken.json'), '{', { mode: 0o600 });
  const broken = await until(async () => (await json(['credentials', 'list'])).credentials.find(({ filename }) => filename === 'broken.json'), 'the broken file');
  const past = `${Math.floor(Date.now() / 1000) - 10}`;
  const refused = [
    [['credentials', 'test', 'none'], /There is no such credential.*\(404\)/],
    [['credentials', 'test', broken.id], /\(503\)/],
    [['credentials', 'delete', 'none'], /\(404\)/],
    [['credentials', 'add', '-'], /bearer_token.*\(422\)/, '{}'],
    [['keys', 'revoke', 'key_none'], /There is no such key.*\(404\)/],
    [['keys', 'create', 'x', '--rpm', 'many'], /rpm.*\(422\)/],
    [['keys', 'create', 'x', '--max-in-flight', '0'], /max_in_flight.*\(422\)/],
    [['keys', 'create', 'x', '--expires-at', past], /expires_at.*\(422\)/],
    [['settings', 'set', 'CODEBUDDY_NO_SUCH', '1'], /CODEBUDDY_NO_SUCH.*\(422\)/],
  ];
  for (const [args, reason, input] of refused) {
    const { code, out, err } = await command(args, input);
    assert.deepEqual([code, out], [1, ''], args.join(' '));
    assert.match(err, reason);
  }
});

test('a credential that the upstream refuses: the test says so, exit 1', async () => {
  const refusals = [
    ['s:403-11140', /\(502\)/],
    ['s:429-14018', /\(429\)/],
    ['s:401-json', /\((502|503)\)/],
  ];
  for (const [scenario, reason] of refusals) {
    const made = credential('refused');
    const { id } = await json(['credentials', 'add', '-'], JSON.stringify({ bearer_token: made.bearer_token, filename: 'refused' }));
    await system.upstream.setRule({ token: made.bearer_token, scenario });
    const { code, out, err } = await command(['credentials', 'test', id]);
    assert.deepEqual([code, out], [1, ''], `${scenario}: ${err}`);
    assert.match(err, reason, scenario);
    assert.ok(!err.includes(made.bearer_token));
    assert.equal((await command(['credentials', 'delete', id])).code, 0);
  }
});

test('a login that fails: exit 1 and why', async () => {
  await system.upstream.control('answer', { call: 'poll', code: 12005, msg: 'no seat', times: 1 });
  const { code, err } = await command(['credentials', 'login']);
  assert.equal(code, 1);
  assert.match(err, /no seat.*\(400\)/);
});

test('a wrong password: exit 1; settings that are wrong: exit 78', async () => {
  const wrong = await command(['keys', 'list'], '', { CODEBUDDY_PASSWORD: secretText('wrong') });
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /\(401\)/);
  const bad = await command(['keys', 'list'], '', { CODEBUDDY_PORT: 'http' });
  assert.equal(bad.code, 78);
  assert.match(bad.err, /CODEBUDDY_PORT/);
  const none = await command(['keys', 'list'], '', { CODEBUDDY_PASSWORD: '' });
  assert.equal(none.code, 78);
});

test('what is no command: exit 64, with the usage', async () => {
  for (const args of [['credentials'], ['credentials', 'burn'], ['credentials', 'add'], ['credentials', 'list', 'x'], ['keys', 'create', 'a', '--token', 'x'], ['settings', 'set', 'A'], ['burn']]) {
    const { code, err } = await run(args);
    assert.equal(code, 64, args.join(' '));
    assert.match(err, /codebuddy2api /);
  }
  const alone = (await run(['keys'])).err;
  assert.match(alone, /keys revoke ID/);
  assert.ok(!/unknown|credentials/.test(alone), alone); // a known word, and what it knows
  assert.match((await run(['keys', 'create'])).err, /^codebuddy2api: too few arguments\n\n  codebuddy2api keys create NAME .*\n$/);
  assert.equal((await command(['credentials', 'add', '-'], 'no JSON')).code, 64);
});

test('the credentials directory is sealed and unsealed by command', async () => {
  const dir = join(system.dir, 'sealed');
  const keyFile = join(system.dir, 'secret.key');
  const token = secretText('tok-sealed');
  const text = JSON.stringify({ bearer_token: token });
  mkdirSync(dir, { mode: 0o700 });
  writeFileSync(join(dir, 'one.json'), text, { mode: 0o600 });
  writeFileSync(join(dir, 'foreign.json'), '{"kind":"other"}', { mode: 0o600 });
  writeFileSync(keyFile, 'ab'.repeat(32), { mode: 0o600 });
  const env = { CODEBUDDY_CREDS_DIR: dir, CODEBUDDY_SECRET_KEY_FILE: keyFile };
  assert.match((await run(['--help'])).out, /seal\|unseal/);
  assert.equal((await run(['credentials', 'seal'], { env: { CODEBUDDY_CREDS_DIR: dir } })).code, 78); // no key
  const sealed = await run(['credentials', 'seal'], { env });
  assert.equal(sealed.code, 71); // the foreign one could not be: it is as it was
  assert.match(sealed.err, /foreign\.json/);
  assert.equal(readFileSync(join(dir, 'foreign.json'), 'utf8'), '{"kind":"other"}');
  assert.ok(!readFileSync(join(dir, 'one.json'), 'utf8').includes(token));
  writeFileSync(join(dir, 'foreign.json'), text);
  assert.equal((await run(['credentials', 'seal'], { env })).code, 0);
  assert.equal((await run(['credentials', 'unseal'], { env })).code, 0);
  for (const name of ['one.json', 'foreign.json']) assert.equal(JSON.parse(readFileSync(join(dir, name), 'utf8')).bearer_token, token);
});
