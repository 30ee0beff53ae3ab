// SPDX-License-Identifier: MIT
// TLS on both sides: our front with a certificate, and an upstream that is HTTPS with HTTP/2 (nginx in front of
// the stand-in, as an openresty is in front of the real one).
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeCertificate, startSystem, startUpstream, user } from './harness.mjs';
import { Child, until, waitForText } from './process.mjs';
import { RawConnection, rawRequest, requestBytes } from './raw.mjs';
import { readStream } from './sse.mjs';
import { allPaused } from '../faults/load.mjs';

const run = promisify(execFile);
let dir, certificate, upstream;
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tls'));
  certificate = await makeCertificate(dir);
  upstream = await startUpstream();
});
after(async () => {
  await upstream?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe('the front with a certificate', () => {
  let system;
  before(async () => {
    system = await startSystem({ upstream, env: { CODEBUDDY_TLS_CERT_FILE: certificate.cert, CODEBUDDY_TLS_KEY_FILE: certificate.key } });
    system.scheme = 'https';
  });
  after(() => system?.stop());
  const secure = () => ({ secure: true, ca: readFileSync(certificate.cert) });

  test('streams, strictly read', async () => {
    const model = 's:big-events';
    const headers = { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' };
    const request = { method: 'POST', path: '/v1/chat/completions', headers, body: { model, messages: [user()], stream: true } };
    const answer = readStream((await rawRequest(system.port, request, secure())).text, { model });
    assert.equal(answer.content.length, 3 << 20);
  });
  test('HTTP/1.1 only: h2 is not agreed on', async () => {
    const connection = new RawConnection(system.port, { ...secure(), alpn: ['h2', 'http/1.1'] });
    await connection.opened;
    assert.equal(connection.socket.alpnProtocol, 'http/1.1');
    assert.match(connection.socket.getProtocol(), /^TLSv1\.[23]$/);
    await connection.close();
  });
  test('the openai client, which trusts the certificate', async () => {
    const program = `
      import OpenAI from 'openai';
      const client = new OpenAI({ baseURL: process.env.BASE, apiKey: process.env.KEY, maxRetries: 0 });
      const stream = await client.chat.completions.create({ model: 's:chunks', messages: [{ role: 'user', content: 'x' }], stream: true });
      for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '');`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], {
      cwd: dirname(fileURLToPath(import.meta.url)),
      env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate.cert, BASE: `https://localhost:${system.port}/v1`, KEY: system.password },
    });
    assert.equal(stdout, 't0 t1 t2 t3 t4 ');
  });
  test('the session cookie never goes in clear, and serves', async () => {
    const call = (method, path, headers, body) => rawRequest(system.port, { method, path, headers: { 'Content-Type': 'application/json', ...headers }, body }, secure());
    const login = await call('POST', '/api/login', {}, { password: system.password });
    assert.equal(login.status, 200);
    const attributes = login.header('set-cookie').split('; ');
    assert.deepEqual(attributes.slice(1).sort(), ['HttpOnly', 'Max-Age=43200', 'Path=/', 'SameSite=Strict', 'Secure']);
    const session = { Cookie: attributes[0], Host: 'localhost' };
    assert.equal((await call('GET', '/api/settings', session)).status, 200);
    const nothing = { settings: {} };
    assert.equal((await call('POST', '/api/settings', { ...session, Origin: 'https://localhost' }, nothing)).status, 200);
    const elsewhere = [{ Origin: 'https://evil.example' }, { 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site' }, { Origin: 'null' }, {}];
    for (const headers of elsewhere) {
      const response = await call('POST', '/api/settings', { ...session, ...headers }, nothing);
      assert.equal(response.status, 403, JSON.stringify(headers));
    }
    const out = await call('POST', '/api/logout', { ...session, Origin: 'https://localhost' }, {});
    assert.equal(out.status, 200);
    assert.match(out.header('set-cookie'), /^codebuddy_session=; .*Max-Age=0; Secure$/);
    assert.equal((await call('POST', '/api/logout', { ...session, Origin: 'https://evil.example' }, {})).status, 403);
  });
  test('plain HTTP on the same port gets no answer in clear, and harms nothing', async () => {
    await assert.rejects(rawRequest(system.port, { path: '/health' }));
    assert.equal((await rawRequest(system.port, { path: '/health' }, secure())).status, 200);
  });
});

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// nginx cannot choose a port itself, so it is given a free one; should another program be faster, the next.
async function startNginx(far) {
  for (let attempt = 0; ; attempt++) {
    const port = await freePort();
    const home = mkdtempSync(join(dir, 'nginx'));
    writeFileSync(
      join(home, 'nginx.conf'),
      `daemon off; master_process off; pid ${home}/pid; error_log ${home}/error.log notice;
       events { worker_connections 4096; }
       http {
         log_format wire '$server_protocol $connection $request_uri $status $http_x_request_id';
         access_log ${home}/access.log wire;
         ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${home}/${name};`).join('\n')}
         client_max_body_size 64m;
         upstream far { server ${new URL(far.url).host}; keepalive 64; }
         server {
           listen 127.0.0.1:${port} ssl http2;
           http2_max_concurrent_streams 1000;
           ssl_certificate ${certificate.cert};
           ssl_certificate_key ${certificate.key};
           location / {
             proxy_pass http://far; proxy_http_version 1.1; proxy_set_header Connection "";
             proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 300s;
           }
         }
       }`,
    );
    const log = join(home, 'out.log');
    const child = new Child('nginx', ['-c', join(home, 'nginx.conf'), '-e', join(home, 'error.log')], { cwd: home, env: process.env, log });
    try {
      writeFileSync(join(home, 'error.log'), '', { flag: 'a' });
      await Promise.race([
        waitForText(join(home, 'error.log'), /start worker process|using the "epoll" event method/),
        child.exited.then(({ code }) => Promise.reject(new Error(`nginx ended: ${code} ${child.logText()}`))),
      ]);
      const lines = () => readFileSync(join(home, 'access.log'), 'utf8').trim().split('\n').filter(Boolean);
      return { url: `https://localhost:${port}`, child, lines };
    } catch (error) {
      await child.stop();
      if (attempt === 4) throw error;
    }
  }
}

describe('an upstream over HTTPS and HTTP/2', () => {
  let nginx, system;
  before(async () => {
    nginx = await startNginx(upstream);
    system = await startSystem({ upstream, endpoint: nginx.url, env: { CODEBUDDY_CA_FILE: certificate.cert, CODEBUDDY_WORKERS: '1' } });
  });
  after(async () => {
    await system?.stop();
    await nginx?.child.stop();
  });
  const chat = (model, more) => system.chat({ model, messages: [user()], ...more });

  test('streamed and plain', async () => {
    for (const stream of [true, false]) {
      const response = await chat('s:tools-text', { stream });
      assert.equal(response.status, 200, await response.clone().text());
      assert.ok((await response.text()).includes('get_weather'));
    }
  });
  test('many streams share a connection', async (t) => {
    const model = 's:slow?n=20&key=shared';
    const ask = async (_, i) =>
      (await system.chat({ model, messages: [user()], stream: true }, { headers: { 'x-request-id': `shared-${i}` } })).text();
    const answers = await Promise.all(Array.from({ length: 60 }, ask));
    for (const text of answers) assert.ok(text.endsWith('data: [DONE]\n\n') && text.includes('t19 '));
    // nginx writes a request's line when it is done with it, which may be after we are: also those of the test before.
    const ours = () => nginx.lines().filter((line) => / \/v2\/chat\/completions 200 shared-\d+$/.test(line));
    await until(() => ours().length >= 60, 'the lines of 60 requests');
    const lines = ours();
    assert.equal(lines.length, 60);
    assert.ok(lines.every((line) => line.startsWith('HTTP/2.0 ')), lines[0]);
    const connections = new Set(lines.map((line) => line.split(' ')[1]));
    t.diagnostic(`60 streams over ${connections.size} connection(s)`);
    assert.ok(connections.size <= 3, `${connections.size} connections`);
  });
  test('a reader who stops does not stop the streams that share its connection', async () => {
    const total = 20 << 20; // the kernel's queues take up to 7 of them
    const model = `s:big-body?total=${total}&key=stopped`;
    const before = nginx.lines().length;
    const reader = new RawConnection(system.port);
    await reader.opened;
    const headers = { Authorization: `Bearer ${system.password}`, 'Content-Type': 'application/json' };
    reader.socket.write(requestBytes({ method: 'POST', path: '/v1/chat/completions', headers, body: { model, messages: [user()], stream: true } }));
    reader.socket.pause();
    await allPaused(system, 1);
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 10 }, async () => (await chat('s:slow?n=10&key=beside', { stream: true })).text()));
      for (const text of answers) assert.ok(text.endsWith('data: [DONE]\n\n') && text.includes('t9 '));
    }
    const answer = reader.response();
    reader.socket.resume();
    assert.equal(readStream((await answer).text, { model }).content.length, total);
    await reader.close();
    const connections = new Set(nginx.lines().slice(before).map((line) => line.split(' ')[1]));
    assert.equal(connections.size, 1, 'they did not share a connection');
  });
  test('a client that leaves ends its stream only', async () => {
    const mark = await upstream.mark();
    const controller = new AbortController();
    const staying = chat('s:slow?n=40&key=stays', { stream: true });
    const leaving = await system.chat({ model: 's:slow?n=2000&key=leaves', messages: [user()], stream: true }, { signal: controller.signal });
    await leaving.body.getReader().read();
    controller.abort();
    await mark.reaches('aborts', 1);
    assert.ok((await (await staying).text()).endsWith('data: [DONE]\n\n'));
    assert.equal(await mark.since('aborts'), 1);
  });
  test('errors are the same as over HTTP/1.1', async () => {
    assert.equal((await chat('s:500')).status, 502);
    const cut = await (await chat('s:abort-middle', { stream: true })).json().catch(() => null);
    assert.equal(cut, null); // a stream
    assert.match(await (await chat('s:abort-middle', { stream: true })).text(), /"code":"upstream_incomplete"/);
  });
  test('a certificate that nobody vouches for: 502, and the token is not sent', async () => {
    const model = 's:chunks?key=untrusted';
    const wary = await startSystem({ upstream, endpoint: nginx.url });
    try {
      const response = await wary.chat({ model, messages: [user()] });
      assert.equal(response.status, 502);
      assert.equal((await response.json()).error.code, 'upstream_error');
      assert.deepEqual(await upstream.requests(model), []);
    } finally {
      await wary.stop();
    }
  });
  test('CODEBUDDY_SSL_VERIFY=false takes it, and says so in the log', async () => {
    const rash = await startSystem({ upstream, endpoint: nginx.url, env: { CODEBUDDY_SSL_VERIFY: 'false' } });
    try {
      assert.equal((await rash.chat({ model: 's:chunks', messages: [user()] })).status, 200);
      await rash.waitLog(/ WARNING .*(ssl|SSL|verify|certificate)/);
    } finally {
      await rash.stop();
    }
  });
});
