// SPDX-License-Identifier: MIT
// The one command of a person with a fresh copy of this repository: deploy/start, with and without --demo.
// Runs in a copy, since it builds and writes a .env there.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { credential, startUpstream, user } from './harness.mjs';
import { Child } from './process.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
let copy;
before(() => {
  copy = mkdtempSync(join(tmpdir(), 'copy'));
  // What git would hand out, with changes that are not committed yet.
  execFileSync('sh', ['-c', 'git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null | tar -cf - -T - | tar -xf - -C "$0"', copy], { cwd: root });
  assert.throws(() => statSync(join(copy, 'build')), 'a fresh copy has no build');
});
after(() => rmSync(copy, { recursive: true, force: true }));

const run = (args, env, name) =>
  new Child(join(copy, 'deploy/start'), args, { cwd: copy, env: { ...process.env, ...env }, log: join(copy, `${name}.log`) });
const BUILD_MS = 600_000;

// The admin page, built and served.
async function checkPage(port) {
  const page = await (await fetch(`http://127.0.0.1:${port}/`)).text();
  const main = /src="(\/assets\/main-\w+\.js)"/.exec(page)?.[1];
  assert.ok(main, page);
  assert.equal((await fetch(`http://127.0.0.1:${port}${main}`)).status, 200);
}

async function answersOf(port, apiKey) {
  const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey, maxRetries: 0 });
  const answer = await client.chat.completions.create({ model: 'gpt-5', messages: [user()] });
  return answer.choices[0].message.content;
}

test('--demo: two completions as a person reads them, then it serves until Ctrl-C', async () => {
  const demo = run(['--demo'], {}, 'demo');
  try {
    await demo.line(/Serving until Ctrl-C/, BUILD_MS);
    const key = (await demo.line(/API key +(\S+)/))[1];
    const port = (await demo.line(/base URL +http:\/\/127\.0\.0\.1:(\d+)\/v1/))[1];
    const shown = demo.lines.filter((line) => line.includes('Hello! I am the stand-in upstream'));
    assert.equal(shown.length, 2, demo.lines.join('\n'));
    assert.equal(await answersOf(port, key), 'Hello! I am the stand-in upstream: these words came one by one, and your client put them together.');
    await checkPage(port);
    const log = (await demo.line(/log +(\/\S+)/))[1];
    demo.kill('SIGINT');
    assert.deepEqual(await demo.exited, { code: 0, signal: null });
    assert.throws(() => statSync(dirname(log)), 'its directory is left behind');
  } finally {
    await demo.stop();
  }
});

test('without: writes a .env with a password, serves the credentials that are there', async () => {
  const upstream = await startUpstream();
  const creds = join(copy, '.codebuddy_creds');
  mkdirSync(creds, { mode: 0o700 });
  writeFileSync(join(creds, 'one.json'), JSON.stringify(credential('one')), { mode: 0o600 });
  const env = { CODEBUDDY_PORT: '0', CODEBUDDY_OPS_PORT: '0', CODEBUDDY_API_ENDPOINT: upstream.url, CODEBUDDY_RUN_DIR: join(copy, 'run') };
  const server = run([], env, 'start');
  try {
    const text = () => `${server.lines.join('\n')}\n${server.logText()}`;
    const ready = await server.logged(/http:\/\/127\.0\.0\.1:(\d+)/, BUILD_MS);
    const file = join(copy, '.env');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const password = /^CODEBUDDY_PASSWORD=(\S{20,})$/m.exec(readFileSync(file, 'utf8'))[1];
    assert.ok(!text().includes(password), 'the password is shown');
    assert.ok(text().includes('.env'), 'where the password is, is not said');
    assert.equal(await answersOf(ready[1], password), 't0 t1 t2 t3 t4 ');
    await checkPage(ready[1]);
    server.kill('SIGINT');
    assert.deepEqual(await server.exited, { code: 0, signal: null });
  } finally {
    await server.stop();
    await upstream.stop();
  }
});
