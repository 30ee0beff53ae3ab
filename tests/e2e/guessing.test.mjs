// SPDX-License-Identifier: MIT
// Who guesses the password on the login page is shut out. A system of its own: it shuts our address out too.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { secretText, startSystem } from './harness.mjs';

const ATTEMPTS_MAX = 10;
let system;
before(async () => {
  system = await startSystem({ env: { CODEBUDDY_GATEWAYS: '1' } }); // each gateway counts by itself
});
after(() => system?.stop());

const login = (password) =>
  fetch(`${system.origin}/api/login`, { method: 'POST', body: JSON.stringify({ password }), headers: { 'content-type': 'application/json' } });

test('ten wrong passwords, then 429 for all, the right one too; other calls that need no proof go on', async () => {
  const guesses = Array.from({ length: ATTEMPTS_MAX }, () => secretText('guess'));
  for (const guess of guesses) {
    const response = await login(guess);
    assert.equal(response.status, 401);
    assert.equal(response.headers.get('set-cookie'), null);
    assert.equal((await response.json()).error.code, 'invalid_api_key');
  }
  for (const password of [secretText('guess'), system.password]) {
    const response = await login(password);
    assert.equal(response.status, 429);
    assert.equal(response.headers.get('set-cookie'), null);
    const retry = Number(response.headers.get('retry-after'));
    assert.ok(retry >= 1 && retry <= 60, `Retry-After: ${retry}`);
    assert.equal((await response.json()).error.code, 'too_many_attempts');
  }
  assert.equal((await system.fetch('/v1/models')).status, 429); // guessing there would be as good
  assert.equal((await fetch(`${system.origin}/health`)).status, 200);
  assert.ok(!/what=logged_in/.test(system.log()));
  for (const guess of guesses) assert.ok(!system.log().includes(guess));
});
