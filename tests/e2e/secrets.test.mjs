// SPDX-License-Identifier: MIT
// No token, password or other proof gets anywhere it does not belong: logs (in both forms), metrics, ledger and
// its WAL, state and run directory, status, what commands print, process lists, error bodies; at the most
// talkative log level, after requests of every kind, logins, sessions and API keys, over links with CURVE.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { credential, secretText, startSystem, user } from './harness.mjs';

let system, secrets;
const bodies = [];
before(async () => {
  const a = credential('a', { refresh_token: secretText('refresh'), session_state: secretText('session') });
  const b = credential('b');
  const intruder = secretText('wrong-proof');
  const prompt = secretText('prompt');
  system = await startSystem({ credentials: { a, b }, env: { CODEBUDDY_LOG_LEVEL: 'DEBUG', CODEBUDDY_ROTATION_COUNT: '1' } });
  secrets = {
    password: system.password,
    'token a': a.bearer_token,
    'token b': b.bearer_token,
    'refresh token': a.refresh_token,
    'session state': a.session_state,
    'a wrong password': intruder,
    'a prompt': prompt,
  };
  const models = ['s:chunks', 's:tools-index0', 's:500', 's:eof-middle', 's:error-object', 's:bad-json', 's:429', 's:11101', 's:404', 's:200-html', 's:401-html'];
  for (const model of models)
    for (const stream of [true, false]) bodies.push(await (await system.chat({ model, messages: [user(prompt)], stream })).text());
  bodies.push(await (await system.chat({ messages: prompt })).text());
  bodies.push(await (await system.chat(`{"messages": "${prompt}`)).text());
  for (const headers of [{ authorization: `Bearer ${intruder}` }, { authorization: `Basic ${intruder}` }, { 'x-api-key': intruder, authorization: '' }])
    bodies.push(await (await system.fetch('/v1/models', { headers })).text());
  bodies.push(await (await system.fetch(`/v1/models?key=${intruder}`)).text());
});
after(() => system?.stop());

function assertClean(text, where) {
  for (const [name, secret] of Object.entries(secrets)) assert.ok(!text.includes(secret), `${name} is in ${where}`);
}

test('logs', () => {
  const log = system.log();
  assert.ok(log.length > 1000);
  assertClean(log, 'the log');
});
test('bodies of answers', () => bodies.forEach((body) => assertClean(body, body.slice(0, 200))));
test('every file but the credentials, the ledger above all', () => {
  const files = [...system.files()].filter((file) => !file.startsWith(system.credsDir));
  assert.ok(files.some((file) => file.startsWith(system.dataDir)), files.join());
  for (const file of files) assertClean(readFileSync(file).toString('latin1'), file);
});
test('metrics, stats, status', async () => {
  assertClean(await (await system.ops('/metrics')).text(), '/metrics');
  assertClean(await (await system.fetch('/api/stats')).text(), '/api/stats');
  assertClean(JSON.stringify(await system.status()), 'status --json');
});
test('the list of processes', () => assertClean(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }), 'ps'));
test('files and directories are for us alone', () => {
  const modes = execFileSync('find', [system.dataDir, system.credsDir, `${system.dir}/run`, '-printf', '%m %y %p\n'], { encoding: 'utf8' });
  for (const line of modes.trim().split('\n')) assert.match(line, /^[0-7]?[0-7]00 /, line);
});
