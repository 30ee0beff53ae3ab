// SPDX-License-Identifier: MIT
// deploy/systemd: what `install` puts in place, and the unit in the eyes of systemd's own checker.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { BIN_DIR, root } from './harness.mjs';

const run = promisify(execFile);
const LIB = 'usr/local/lib/codebuddy2api';
let dest;
const install = () => run(join(root, 'deploy/systemd/install'), [dirname(BIN_DIR)], { env: { ...process.env, DESTDIR: dest } });
const installed = (path) => readFileSync(join(dest, path), 'utf8');
before(async () => {
  dest = mkdtempSync(join(tmpdir(), 'sd'));
  await install();
});
after(() => rmSync(dest, { recursive: true, force: true }));

test('an installed copy is whole: it takes its settings, sites are beside it', async () => {
  const etc = join(dest, 'etc/codebuddy2api');
  const env = { PATH: process.env.PATH, CODEBUDDY_PASSWORD_FILE: join(etc, 'password') };
  const { stdout } = await run(join(dest, LIB, 'bin/codebuddy2api'), ['--check'], { cwd: etc, env });
  assert.match(stdout, /good/);
  for (const site of ['cn', 'intl', 'custom']) JSON.parse(installed(`${LIB}/deploy/sites/${site}.json`));
});

test('an update keeps password and settings', async () => {
  const password = installed('etc/codebuddy2api/password');
  assert.ok(password.trim().length >= 32);
  assert.equal(statSync(join(dest, 'etc/codebuddy2api/password')).mode & 0o777, 0o600);
  writeFileSync(join(dest, 'etc/codebuddy2api/.env'), 'CODEBUDDY_PORT=8100\n');
  await install();
  assert.equal(installed('etc/codebuddy2api/password'), password);
  assert.equal(installed('etc/codebuddy2api/.env'), 'CODEBUDDY_PORT=8100\n');
});

test('systemd takes the unit without a word, and finds little that it exposes', async () => {
  const unit = join(dest, 'codebuddy2api.service');
  writeFileSync(unit, installed('etc/systemd/system/codebuddy2api.service').replaceAll('/usr/local/lib/', join(dest, 'usr/local/lib/')));
  const { stdout, stderr } = await run('systemd-analyze', ['verify', unit]);
  assert.equal(stdout + stderr, '');
  await run('systemd-analyze', ['security', '--offline=yes', '--threshold=20', unit]); // of 100; exit status 1 past it
  assert.doesNotMatch(installed('etc/systemd/system/codebuddy2api.service'), /PASSWORD=/);
});
