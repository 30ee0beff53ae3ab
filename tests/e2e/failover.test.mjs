// SPDX-License-Identifier: MIT
// What becomes of a request, and of the credential, when the upstream says no (upstream.md 6, design.md "Leases
// and credentials"): the client sees the answer of the next credential, or an error that is true.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credential, root, startSystem, startUpstream, user } from './harness.mjs';
import { until } from '../faults/load.mjs';

let upstream;
before(async () => {
  upstream = await startUpstream();
});
after(() => upstream?.stop());

// A system with credentials a, b, c … in that order, which the stand-in tells apart by their tokens. Rules of
// the stand-in are for these tokens only.
async function withSystem({ names = ['a', 'b'], rules = {}, env, credentials = {}, endpoint }, work) {
  const files = { ...Object.fromEntries(names.map((name) => [name, credential(name)])), ...credentials };
  for (const [name, scenario] of Object.entries(rules)) await upstream.setRule({ token: files[name].bearer_token, scenario });
  const system = await startSystem({ upstream, endpoint, credentials: files, env: { CODEBUDDY_ROTATION_COUNT: '0', ...env } });
  const nameOf = (header) => Object.keys(files).find((name) => header === `Bearer ${files[name].bearer_token}`);
  // Who was asked for this model, in order.
  system.asked = async (model) => (await upstream.requests(model)).map((request) => nameOf(request.headers.authorization));
  try {
    await work(system, files);
  } finally {
    await system.stop();
  }
}

let unique = 0;
const newModel = (name = 'chunks') => `s:${name}${name.includes('?') ? '&' : '?'}key=fail${unique++}`;

async function chat(system, model, more = {}, options) {
  const response = await system.chat({ model, messages: [user()], ...more }, options);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
}

async function assertServed(system, model, more, options) {
  const answer = await chat(system, model, more, options);
  assert.equal(answer.status, 200, answer.text);
  assert.ok(answer.text.includes('t4 '), answer.text);
}

describe('a credential that is refused is left, and the client sees nothing', () => {
  for (const scenario of ['s:401-html', 's:401-json', 's:403-html', 's:403-json'])
    for (const stream of [false, true])
      test(`${scenario}, ${stream ? 'streamed' : 'plain'}: the next credential; it is not asked again`, () =>
        withSystem({ rules: { a: scenario } }, async (system) => {
          const [first, second] = [newModel(), newModel()];
          await assertServed(system, first, { stream });
          assert.deepEqual((await system.asked(first)).slice(-1), ['b']);
          assert.ok((await system.asked(first)).includes('a'));
          await assertServed(system, second, { stream });
          assert.deepEqual(await system.asked(second), ['b']);
        }));

  test('429: cooled for this model only', () =>
    withSystem({ rules: { a: 's:429-retry?retry_after=3600' } }, async (system, files) => {
      const [limited, other] = [newModel(), newModel()];
      await assertServed(system, limited);
      assert.deepEqual(await system.asked(limited), ['a', 'b']);
      await assertServed(system, limited);
      assert.deepEqual(await system.asked(limited), ['a', 'b', 'b']);
      await upstream.setRule({ token: files.a.bearer_token, scenario: '' });
      await upstream.setRule({ token: files.b.bearer_token, scenario: 's:429-retry?retry_after=3600' });
      await assertServed(system, other);
      assert.deepEqual(await system.asked(other), ['b', 'a']);
    }));

  test('429: after the time it named, the credential is asked again', () =>
    withSystem({ names: ['a'], rules: {} }, async (system) => {
      const model = newModel('429-retry?fail_times=1&retry_after=1');
      const answer = await chat(system, model);
      assert.equal(answer.status, 429, answer.text);
      const wait_s = Number(answer.headers.get('retry-after'));
      assert.ok(wait_s >= 1 && wait_s <= 2, `Retry-After: ${wait_s}`);
      await new Promise((resolve) => setTimeout(resolve, wait_s * 1000)); // what a client does
      await assertServed(system, model);
    }));

  test('14018: exhausted for every model', () =>
    withSystem({ rules: { a: 's:429-14018' } }, async (system) => {
      const [first, second] = [newModel(), newModel()];
      await assertServed(system, first);
      assert.deepEqual(await system.asked(first), ['a', 'b']);
      await assertServed(system, second);
      assert.deepEqual(await system.asked(second), ['b']);
    }));
});

test('a token that is refused and can be refreshed: refreshed once for all that wait, and the client sees nothing', async () => {
  const a = credential('a', { refresh_token: 'refresh-a' });
  await withSystem({ names: [], credentials: { a }, rules: { a: 's:401-json' } }, async (system) => {
    const mark = await upstream.mark();
    const model = newModel();
    await Promise.all(Array.from({ length: 10 }, (_, i) => assertServed(system, model, { stream: i % 2 === 0 })));
    assert.equal(await mark.since('refresh_done'), 1);
    const { bearer_token: kept } = JSON.parse(readFileSync(join(system.credsDir, 'a.json')));
    assert.notEqual(kept, a.bearer_token, 'the new token is not on disk');
    assert.ok((await upstream.requests(model)).some(({ headers }) => headers.authorization === `Bearer ${kept}`));
  });
});

test('11140, risk control: the request goes nowhere else, the credential is disabled', () =>
  withSystem({ rules: { a: 's:403-11140' } }, async (system) => {
    const [first, second] = [newModel(), newModel()];
    const answer = await chat(system, first);
    assert.equal(answer.status, 502, answer.text);
    assert.deepEqual(await system.asked(first), ['a']);
    await assertServed(system, second);
    assert.deepEqual(await system.asked(second), ['b']);
    await system.waitLog(/ ERROR /); // a person must act
  }));

describe('upstream trouble', () => {
  for (const stream of [false, true]) {
    const mode = stream ? 'streamed' : 'plain';
    for (const name of ['500', '502', '503', '504', 'reset-header', 'abort-header', 'eof-first', 'reset-first'])
      test(`${name} once, ${mode}: tried again, and the client sees nothing`, () =>
        withSystem({}, async (system) => {
          const model = newModel(`${name}?fail_times=1&n=5`);
          await assertServed(system, model, { stream });
          assert.equal((await system.asked(model)).length, 2);
        }));
    test(`500 for ever, ${mode}: tried twice, then 502; the credential is fine`, () =>
      withSystem({ names: ['a'] }, async (system) => {
        const model = newModel('500');
        assert.equal((await chat(system, model, { stream })).status, 502);
        assert.equal((await system.asked(model)).length, 2);
        await assertServed(system, newModel(), { stream });
      }));
  }
  test('after the first byte nothing is replayed', () =>
    withSystem({}, async (system) => {
      for (const name of ['eof-middle', 'reset-middle', 'abort-middle', 'error-object']) {
        const model = newModel(name);
        const answer = await chat(system, model, { stream: true });
        assert.equal(answer.status, 200);
        assert.ok(answer.text.includes('"error"'));
        assert.equal((await system.asked(model)).length, 1, name);
      }
    }));
  test('what is our fault is not tried again and harms no credential', () =>
    withSystem({ names: ['a'] }, async (system) => {
      for (const name of ['11101', '11128', '400']) {
        const model = newModel(name);
        assert.ok((await chat(system, model)).status >= 400);
        assert.equal((await system.asked(model)).length, 1, name);
      }
      await assertServed(system, newModel());
    }));
  test('nobody listens there: 502', () =>
    withSystem({ names: ['a'], endpoint: 'http://127.0.0.1:1' }, async (system) => {
      const answer = await chat(system, newModel());
      assert.equal(answer.status, 502, answer.text);
      assert.equal(answer.json().error.code, 'upstream_error');
    }));
});

describe('what is left of the credits', () => {
  const listed = async (system) => (await (await system.fetch('/codebuddy/v1/credentials')).json()).credentials;
  // As the upstream writes it: the service's home is 8 hours ahead.
  const homeDate = (wall_s) => new Date((wall_s + 8 * 3600) * 1000).toISOString().replace('T', ' ').slice(0, 19);

  test('14018: the quota is asked once, and says when the credential returns', () =>
    withSystem({ rules: { a: 's:429-14018' } }, async (system) => {
      const resets_s = Math.floor(Date.now() / 1000) + 7200;
      const accounts = [{ CapacitySize: 100, CapacityRemain: 0, CycleEndTime: homeDate(resets_s) }];
      await upstream.control('account', { quota_personal: { code: 0, data: { Response: { Data: { Accounts: accounts } } } } });
      try {
        const mark = await upstream.mark();
        await assertServed(system, newModel());
        const a = await until(async () => (await listed(system)).find((row) => row.state === 'exhausted' && row.quota_total !== null), 'the quota');
        assert.deepEqual([a.filename, a.quota_remaining, a.quota_total, a.quota_resets_at], ['a.json', 0, 100, resets_s]);
        assert.ok(Math.abs(a.until - resets_s) <= 1, `until ${a.until}, not ${resets_s}`);
        const b = (await listed(system)).find(({ filename }) => filename === 'b.json');
        assert.deepEqual([b.quota_remaining, b.quota_total, b.quota_resets_at], [null, null, null]);
        for (let i = 0; i < 5; i++) await assertServed(system, newModel());
        assert.equal(await mark.since('quota_personal'), 1);
      } finally {
        await upstream.control('account', { quota_personal: {} });
      }
    }));
  test('14018, and the quota says nothing of use: the usual time', () =>
    withSystem({ rules: { a: 's:429-14018' } }, async (system) => {
      await upstream.control('answer', { call: 'quota_personal', status: 500, html: true, times: 1 });
      const mark = await upstream.mark();
      await assertServed(system, newModel());
      await upstream.wait('quota_personal', (await upstream.stats()).quota_personal - (await mark.since('quota_personal')) + 1);
      const a = (await listed(system)).find(({ filename }) => filename === 'a.json');
      assert.deepEqual([a.state, a.quota_total], ['exhausted', null]);
      assert.ok(Math.abs(a.until - Date.now() / 1000 - 3600) < 60);
    }));
  test('a test of a credential shows its quota', () =>
    withSystem({ names: ['a'], env: { CODEBUDDY_MODELS: 's:chunks' } }, async (system) => {
      const [{ id }] = await listed(system);
      assert.equal((await system.fetch(`/codebuddy/v1/credentials/${id}/test`, { method: 'POST' })).status, 200);
      const a = await until(async () => (await listed(system)).find((row) => row.quota_total !== null), 'the quota');
      assert.deepEqual([a.state, a.quota_remaining, a.quota_total], ['ready', 1249.25, 1500]);
    }));
});

describe('when none is left', () => {
  test('no credential at all: 503 no_credential', () =>
    withSystem({ names: [] }, async (system) => {
      const answer = await chat(system, newModel());
      assert.equal(answer.status, 503);
      assert.equal(answer.json().error.code, 'no_credential');
    }));
  test('all cooling: 429 with Retry-After, never a 401', () =>
    withSystem({ rules: { a: 's:429-retry?retry_after=100', b: 's:429-retry?retry_after=50' } }, async (system) => {
      const model = newModel();
      for (let i = 0; i < 2; i++) {
        const answer = await chat(system, model);
        assert.equal(answer.status, 429, answer.text);
        assert.equal(answer.json().error.type, 'rate_limit_error');
        const wait_s = Number(answer.headers.get('retry-after'));
        assert.ok(wait_s > 30 && wait_s <= 50, `Retry-After: ${wait_s}`); // the first that is back
      }
      assert.deepEqual(await system.asked(model), ['a', 'b'], 'a cooling credential was asked');
    }));
  // Every way in which none is left, and mixes of them: the client is told which.
  const limited = (s) => `s:429-retry?retry_after=${s}`;
  const mixes = [
    ['all exhausted', { a: 's:429-14018', b: 's:429-14018' }, 429, /credits of every usable credential are used up/, [3000, 3600]],
    ['one cooling, one exhausted', { a: limited(100), b: 's:429-14018' }, 429, /cools down for this model, or has used up its credits/, [60, 100]],
    ['one exhausted, one cooling', { a: 's:429-14018', b: limited(5000) }, 429, /cools down for this model, or has used up its credits/, [3000, 3600]],
    ['one cooling, one that needs a login', { a: limited(100), b: 's:401-json' }, 429, /cooling down for this model/, [60, 100]],
    ['all need a login', { a: 's:401-json', b: 's:401-html' }, 503, /each needs a new login/],
  ];
  for (const [name, rules, status, words, [least_s, most_s] = []] of mixes)
    test(`${name}: ${status}, and why; nobody is asked twice`, () =>
      withSystem({ rules }, async (system) => {
        const model = newModel();
        for (let i = 0; i < 2; i++) {
          const answer = await chat(system, model);
          assert.equal(answer.status, status, answer.text);
          assert.match(answer.json().error.message, words);
          assert.equal(answer.json().error.type, status === 429 ? 'rate_limit_error' : answer.json().error.type);
          const wait_s = Number(answer.headers.get('retry-after'));
          if (status === 429) assert.ok(wait_s > least_s && wait_s <= most_s, `Retry-After: ${wait_s}`);
        }
        assert.deepEqual(await system.asked(model), ['a', 'b']);
      }));
  test('all disabled, then one of them needs a login: 503, and which', () =>
    withSystem({ rules: { b: 's:401-json' } }, async (system) => {
      const act = async (index, verb) => {
        const { credentials } = await (await system.fetch('/codebuddy/v1/credentials')).json();
        assert.equal((await system.fetch(`/codebuddy/v1/credentials/${credentials[index].id}/${verb}`, { method: 'POST' })).status, 200);
      };
      await act(0, 'disable');
      await act(1, 'disable');
      const model = newModel();
      const answer = await chat(system, model);
      assert.equal(answer.status, 503, answer.text);
      assert.equal(answer.json().error.code, 'no_credential');
      assert.match(answer.json().error.message, /each is disabled/);
      assert.deepEqual(await system.asked(model), []);
      await act(1, 'enable');
      assert.equal((await chat(system, model)).status, 503);
      const mixed = await chat(system, model);
      assert.match(mixed.json().error.message, /expired, disabled or needs a login/);
      assert.deepEqual(await system.asked(model), ['b']);
    }));
  test('one busy, one cooling: the request waits for the busy one', () =>
    withSystem({ rules: { b: limited(100) }, env: { CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT: '1' } }, async (system) => {
      const slow = newModel('slow?n=40&gap_ms=25');
      const first = chat(system, slow);
      while ((await system.asked(slow)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      const model = newModel();
      await assertServed(system, model);
      assert.deepEqual(await system.asked(model), ['b', 'a']);
      assert.equal((await first).status, 200);
    }));
  test('all refused: 503, never a 401', () =>
    withSystem({ rules: { a: 's:401-json', b: 's:403-html' } }, async (system) => {
      for (let i = 0; i < 2; i++) {
        const answer = await chat(system, newModel());
        assert.equal(answer.status, 503, answer.text);
        assert.equal(answer.json().error.code, 'no_credential');
        assert.ok(!/token expired|openresty/.test(answer.text));
      }
    }));
  test('expired ones are not used', () =>
    withSystem(
      { credentials: { a: credential('a', { created_at: 1_700_000_000, expires_in: 3600 }), b: credential('b') }, names: [] },
      async (system) => {
        const model = newModel();
        await assertServed(system, model);
        assert.deepEqual(await system.asked(model), ['b']);
      },
    ));
});

describe('whose turn it is', () => {
  test('rotation by count, in the order of the files', () =>
    withSystem({ names: ['c', 'a', 'b'], env: { CODEBUDDY_ROTATION_COUNT: '2' } }, async (system) => {
      const model = newModel();
      for (let i = 0; i < 7; i++) await assertServed(system, model);
      assert.equal((await system.asked(model)).join(''), 'aabbcca');
    }));
  test('a conversation stays with its credential', () =>
    withSystem({ names: ['a', 'b', 'c'], env: { CODEBUDDY_ROTATION_COUNT: '1' } }, async (system) => {
      const model = newModel();
      for (let i = 0; i < 4; i++) await assertServed(system, model, {}, { headers: { 'x-conversation-id': 'talk-7' } });
      assert.equal(new Set(await system.asked(model)).size, 1);
    }));
  test('a token goes to its own site only', async () => {
    const other = await startUpstream();
    try {
      const sites = mkdtempSync(join(tmpdir(), 'sites'));
      cpSync(join(root, 'deploy/sites'), sites, { recursive: true });
      writeFileSync(join(sites, 'elsewhere.json'), JSON.stringify({ ...JSON.parse(readFileSync(join(sites, 'custom.json'))), base_url: other.url }));
      const b = credential('b', { site_type: 'elsewhere' });
      const stray = credential('stray', { api_endpoint: 'https://nobody.example' });
      const env = { CODEBUDDY_ROTATION_COUNT: '1', CODEBUDDY_SITES_DIR: sites };
      await withSystem({ names: ['a'], credentials: { b, stray }, env }, async (system, files) => {
        const model = newModel();
        for (let i = 0; i < 4; i++) await assertServed(system, model);
        const seenBy = async (far) => new Set((await far.requests(model)).map((request) => request.headers.authorization));
        assert.deepEqual([...(await seenBy(upstream))], [`Bearer ${files.a.bearer_token}`]);
        assert.deepEqual([...(await seenBy(other))], [`Bearer ${b.bearer_token}`]);
      });
      rmSync(sites, { recursive: true });
    } finally {
      await other.stop();
    }
  });
  test('the files of other programs load: an alias, and the desktop client’s form', () => {
    const alias = credential('alias');
    const token = alias.bearer_token;
    const { bearer_token, ...rest } = alias;
    const desk = credential('desk').bearer_token; // far from its end, so that it is not refreshed
    const credentials = {
      alias: { access_token: token, ...rest },
      desk: { auth: { accessToken: desk, refreshToken: 'r', expiresAt: Date.now() + 30 * 86_400_000, domain: 'www.codebuddy.ai' }, account: { uid: 'uid-9', nickname: 'N' } },
      manager_state: { auto_rotation_enabled: true, current_index: 0 },
      broken: 'no credential',
    };
    return withSystem({ names: [], credentials, env: { CODEBUDDY_ROTATION_COUNT: '1', CODEBUDDY_API_ENDPOINT: upstream.url } }, async (system) => {
      const model = newModel();
      for (let i = 0; i < 2; i++) await assertServed(system, model);
      const seen = (await upstream.requests(model)).map((request) => request.headers.authorization);
      assert.deepEqual(seen, [`Bearer ${token}`, `Bearer ${desk}`]);
      assert.equal((await upstream.lastRequest(model)).headers['x-user-id'], 'uid-9');
    });
  });
});
