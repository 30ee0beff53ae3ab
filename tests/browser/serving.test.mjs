// SPDX-License-Identifier: MIT
// How the gateway serves the page: headers, encodings, caching, nothing but what was built; and what it says when
// nothing was. Needs no browser.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { startSystem } from '../e2e/harness.mjs';
import { WEB_DIR } from './harness.mjs';

let system;
before(async () => (system = await startSystem({ env: { CODEBUDDY_WEB_DIR: WEB_DIR } })));
after(() => system?.stop());

const { files } = JSON.parse(readFileSync(join(WEB_DIR, 'manifest.json'), 'utf8'));
const asset = (part) => files.find(({ name }) => name.startsWith(part)).name;

// Without fetch's own ideas about paths and encodings. Resolves to { status, headers, body }.
const ask = (path, { method = 'GET', headers = {}, origin = system.origin } = {}) =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin);
    const asked = request({ hostname, port, path, method, headers }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces) }));
    });
    asked.on('error', reject);
    asked.end();
  });

function checkGuards({ headers }) {
  const policy = Object.fromEntries(headers['content-security-policy'].split('; ').map((part) => [part.split(' ')[0], part.split(' ').slice(1).join(' ')]));
  assert.equal(policy['default-src'], "'none'");
  assert.equal(policy['script-src'], "'self'");
  assert.equal(policy['style-src'], "'self'");
  assert.equal(policy['frame-ancestors'], "'none'");
  assert.equal(policy['base-uri'], "'none'");
  assert.equal(policy['require-trusted-types-for'], "'script'");
  assert.ok(!/unsafe|data:|\*/.test(headers['content-security-policy']));
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['x-frame-options'], 'DENY');
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
}

test('/, /admin and /admin/ are the page: asked for each time, guarded, without a line of inline script or style', async () => {
  for (const path of ['/', '/admin', '/admin/', '/?x=1']) {
    const page = await ask(path);
    assert.equal(page.status, 200, path);
    assert.equal(page.headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(page.headers['cache-control'], 'no-cache');
    checkGuards(page);
    const text = page.body.toString();
    assert.equal(text, readFileSync(join(WEB_DIR, 'index.html'), 'utf8'));
    assert.ok(!/<style|style=|<script>|<script [^>]*>[^<]| on\w+=/.test(text), text);
    for (const [, url] of text.matchAll(/(?:src|href)="([^"]+)"/g)) assert.equal((await ask(url)).status, 200, url);
    const again = await ask(path, { headers: { 'if-none-match': page.headers.etag } });
    assert.deepEqual([again.status, again.body.length], [304, 0]);
    checkGuards(again);
  }
});

test('files have names that change with their content, and are kept for good', async () => {
  for (const { name, type } of files.filter(({ name }) => name !== 'index.html')) {
    assert.match(name, /^[\w.]+-[0-9A-Za-z]{8,}\.\w+$/);
    const plain = await ask(`/assets/${name}`);
    assert.equal(plain.status, 200, name);
    assert.equal(plain.headers['content-type'], type);
    assert.equal(plain.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(plain.headers.vary, 'Accept-Encoding');
    checkGuards(plain);
    for (const [encoding, unpack] of [['br', brotliDecompressSync], ['gzip', gunzipSync]]) {
      const packed = await ask(`/assets/${name}`, { headers: { 'accept-encoding': encoding } });
      if (!packed.headers['content-encoding']) continue; // too small to gain
      assert.equal(packed.headers['content-encoding'], encoding);
      assert.ok(packed.body.length < plain.body.length);
      assert.ok(unpack(packed.body).equals(plain.body), `${name} ${encoding}`);
      assert.notEqual(packed.headers.etag, plain.headers.etag);
    }
  }
  const main = `/assets/${asset('main-')}`;
  const best = await ask(main, { headers: { 'accept-encoding': 'gzip, deflate, br, zstd' } });
  assert.equal(best.headers['content-encoding'], 'br');
  const kept = await ask(main, { headers: { 'accept-encoding': 'br', 'if-none-match': `"x", ${best.headers.etag}` } });
  assert.deepEqual([kept.status, kept.body.length, kept.headers.etag], [304, 0, best.headers.etag]);
  const head = await ask(main, { method: 'HEAD', headers: { 'accept-encoding': 'br' } });
  assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, String(best.body.length)]);
});

test('nothing else is served, however it is asked for', async () => {
  const main = asset('main-');
  const none = ['/assets/index.html', '/assets/manifest.json', `/assets/${main}.br`, `/assets/../${main}`, '/assets/..%2f..%2fetc%2fpasswd', '/assets//etc/passwd',
    `/assets/${main}%00`, `/assets/./${main}`, '/assets/none.js', '/index.html', '/admin/x', '/assets/%2e%2e/index.html', `/assets/${main}/`];
  for (const path of none) {
    const answer = await ask(path);
    assert.equal(answer.status, 404, path);
    assert.equal(JSON.parse(answer.body).error.code, 'not_found');
  }
  const wrong = await ask(`/assets/${main}`, { method: 'POST' });
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'GET, HEAD']);
});

test('the whole page is under 150 KB compressed', () => {
  const sizes = files.map(({ name }) => {
    const packed = readdirSync(WEB_DIR).filter((one) => one === `${name}.gz`).map((one) => statSync(join(WEB_DIR, one)).size);
    return [name, packed[0] ?? statSync(join(WEB_DIR, name)).size];
  });
  const total = sizes.reduce((sum, [, size]) => sum + size, 0);
  assert.ok(total < 150_000, `${total} bytes as gzip: ${JSON.stringify(sizes)}`);
});

test('a gateway without a page says so at /, and does everything else', async () => {
  const bare = await startSystem({ env: { CODEBUDDY_WEB_DIR: '/nonexistent' } });
  try {
    const page = await ask('/', { origin: bare.origin });
    assert.equal(page.status, 200);
    assert.match(page.body.toString(), /The admin page was not built/);
    checkGuards(page);
    assert.equal((await ask(`/assets/${asset('main-')}`, { origin: bare.origin })).status, 404);
    assert.equal((await bare.chat({ model: 's:chunks', messages: [{ role: 'user', content: 'x' }] })).status, 200);
    assert.match(bare.log(), /page_missing/);
  } finally {
    await bare.stop();
  }
});

test('whether somebody is signed in is told, not refused', async () => {
  const session = async (headers) => JSON.parse((await ask('/api/session', { headers })).body);
  assert.deepEqual(await session({}), { signed_in: false, expires_at: null });
  assert.deepEqual(await session({ cookie: 'codebuddy_session=forged' }), { signed_in: false, expires_at: null });
  const login = await system.fetch('/api/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ password: system.password }) });
  const cookie = login.headers.get('set-cookie').split(';')[0];
  const own = await session({ cookie });
  assert.equal(own.signed_in, true);
  assert.ok(own.expires_at > Date.now() / 1000 + 11 * 3600 && own.expires_at <= Date.now() / 1000 + 12 * 3600 + 1);
  const foreign = await ask('/api/session', { headers: { cookie, 'sec-fetch-site': 'cross-site' } });
  assert.equal(foreign.status, 403);
});
