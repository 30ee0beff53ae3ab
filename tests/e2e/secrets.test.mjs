// SPDX-License-Identifier: MIT
// No token, password or other proof gets anywhere it does not belong: logs (in both forms), metrics, ledger and
// its WAL, state and run directory, status, what commands print, process lists, error bodies; at the most
// talkative log level, after requests of every kind, a login, a session and an API key; over links with CURVE.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BIN_DIR, credential, secretText, startSystem, user } from './harness.mjs';
import { curveLinks } from './links.mjs';
import { until } from '../faults/load.mjs';

const json = { 'content-type': 'application/json' };

for (const [format, hasCurve] of [['text', false], ['json', true]])
  describe(`logs as ${format}${hasCurve ? ', links with CURVE' : ''}`, () => {
    let system, secrets, keysDir;
    const printed = []; // bodies of answers, output of commands: [what, text]

    async function askEverything(prompt, intruder) {
      const models = ['s:chunks', 's:tools-index0', 's:500', 's:eof-middle', 's:error-object', 's:bad-json', 's:429', 's:11101', 's:404', 's:200-html', 's:401-html'];
      const note = async (response) => printed.push([`the answer ${response.status}`, await response.text()]);
      for (const model of models)
        for (const stream of [true, false]) await note(await system.chat({ model, messages: [user(prompt)], stream }));
      await note(await system.chat({ messages: prompt }));
      await note(await system.chat(`{"messages": "${prompt}`));
      for (const headers of [{ authorization: `Bearer ${intruder}` }, { authorization: `Basic ${intruder}` }, { 'x-api-key': intruder, authorization: '' }, { cookie: `codebuddy_session=${intruder}`, authorization: '' }, { traceparent: intruder, tracestate: intruder }])
        await note(await system.fetch('/v1/models', { headers }));
      await note(await system.fetch(`/v1/models?key=${intruder}`));
      await note(await system.fetch(`/v1/${intruder}`));
      await note(await system.fetch('/v1/models', { method: 'POST', body: JSON.stringify({ password: intruder }), headers: json }));
      await note(await fetch(`${system.origin}/api/login`, { method: 'POST', body: JSON.stringify({ password: intruder }), headers: json }));
      for (const what of [['credentials', 'list'], ['keys', 'list'], ['settings', 'get'], ['--print-env'], ['--check']])
        printed.push([what.join(' '), await system.command(...what).catch((error) => `${error.stdout}${error.stderr}`)]);
    }

    // A session, an API key and a login at the upstream: the secrets that are made on the way.
    async function makeSecrets() {
      // 503 until the gateway has heard from credd, which has the key that signs sessions.
      const session = await until(async () => {
        const answer = await fetch(`${system.origin}/api/login`, { method: 'POST', body: JSON.stringify({ password: system.password }), headers: json });
        assert.ok([200, 503].includes(answer.status), `${answer.status}`);
        return answer.ok && answer;
      }, 'a session');
      const [cookie] = session.headers.get('set-cookie').split(';');
      assert.equal((await fetch(`${system.origin}/api/settings`, { headers: { cookie } })).status, 200);
      const made = await (await system.fetch('/api/keys', { method: 'POST', headers: json, body: JSON.stringify({ name: 'secrets' }) })).json();
      const key = made.key ?? made.secret;
      assert.equal((await system.chat({ messages: [user()] }, { headers: { authorization: `Bearer ${key}` } })).status, 200);
      const post = async (path, body) => (await system.fetch(path, { method: 'POST', headers: json, body: JSON.stringify(body) })).json();
      const { auth_state } = await post('/codebuddy/auth/start', {});
      await until(async () => (await post('/codebuddy/auth/poll', { auth_state })).status !== 'pending' && readdirSync(system.credsDir).length > 2, 'the login to be over');
      return { 'session cookie': cookie.slice('codebuddy_session='.length), 'API key': key };
    }

    // Whatever credential files hold by now: a login and refreshes have made new tokens.
    function tokensOnDisk() {
      const found = {};
      for (const name of readdirSync(system.credsDir).filter((file) => file.endsWith('.json'))) {
        const file = JSON.parse(readFileSync(join(system.credsDir, name), 'utf8'));
        for (const key of ['bearer_token', 'refresh_token', 'session_state']) if (file[key]) found[`${key} of ${name}`] = file[key];
      }
      return found;
    }

    function curveKeys() {
      const found = {};
      for (const name of readdirSync(join(keysDir, 'keys')))
        found[`CURVE key of ${name}`] = /secret-key = "(.{40})"/.exec(readFileSync(join(keysDir, 'keys', name), 'utf8'))[1];
      assert.equal(Object.keys(found).length, 4);
      return found;
    }

    before(async () => {
      const a = credential('a', { refresh_token: secretText('refresh'), session_state: secretText('session') });
      const b = credential('b');
      const intruder = secretText('wrong-proof');
      const prompt = secretText('prompt');
      keysDir = mkdtempSync(join(tmpdir(), 'k'));
      system = await startSystem({
        credentials: { a, b },
        env: { CODEBUDDY_LOG_LEVEL: 'DEBUG', CODEBUDDY_LOG_FORMAT: format, CODEBUDDY_ROTATION_COUNT: '1', ...(hasCurve ? await curveLinks(keysDir) : {}) },
      });
      secrets = { password: system.password, 'token a': a.bearer_token, 'token b': b.bearer_token, 'refresh token': a.refresh_token, 'session state': a.session_state, 'a wrong password': intruder, 'a prompt': prompt };
      Object.assign(secrets, await makeSecrets());
      await askEverything(prompt, intruder);
      Object.assign(secrets, tokensOnDisk(), hasCurve ? curveKeys() : {});
      assert.ok(Object.keys(secrets).length >= 12, Object.keys(secrets).join());
    });
    after(async () => {
      await system?.stop();
      rmSync(keysDir, { recursive: true, force: true });
    });

    function assertClean(text, where) {
      for (const [name, secret] of Object.entries(secrets)) assert.ok(!text.includes(secret), `${name} is in ${where}`);
    }

    test('logs', () => {
      const log = system.log();
      assert.ok(log.length > 1000);
      for (const service of ['supervisor', 'gateway', 'upstream-worker', 'credd', 'statsd']) assert.ok(log.includes(service), service);
      assertClean(log, 'the log');
    });
    test('bodies of answers and what commands print', () => printed.forEach(([what, text]) => assertClean(text, `${what}: ${text.slice(0, 200)}`)));
    test('every file but the credentials, the ledger and its WAL above all', () => {
      const files = [...system.files()].filter((file) => !file.startsWith(system.credsDir));
      for (const name of ['usage.db', 'usage.db-wal']) assert.ok(files.includes(join(system.dataDir, 'statsd', name)), files.join());
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
  });
