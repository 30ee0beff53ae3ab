// SPDX-License-Identifier: MIT
// Starts a whole system of its own for a test file: a stand-in upstream, a supervisor with all its processes,
// and a directory that holds everything they write. Nothing is shared, every port is a free one, and nothing
// is waited for by time: readiness comes on descriptors, everything else by calls that return when it is so.
import { randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdtempSync, mkdirSync, writeFileSync, rmSync, readFileSync, readdirSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { Child, assertNoComplaint, fileSize, waitForText } from './process.mjs';
import { Upstream } from './upstream.mjs';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const BIN_DIR = process.env.CB_BIN_DIR ?? join(root, 'build/bin');
export const IS_SANITIZED = /\/(dev|tsan)\/bin$/.test(BIN_DIR);
const run = promisify(execFile);

export const secretText = (prefix) => `${prefix}-${randomBytes(16).toString('hex')}`;

// One credential file's content, in the reference implementation's form.
export function credential(name, more = {}) {
  return {
    bearer_token: secretText(`tok-${name}`),
    user_id: `${name}@example.com`,
    created_at: Math.floor(Date.now() / 1000),
    expires_in: 86400 * 30,
    ...more,
  };
}

// What processes may have of our environment: enough to run, nothing that changes settings.
function cleanEnvironment() {
  const { PATH, HOME, LANG, TZ } = process.env;
  return {
    PATH,
    HOME,
    LANG: LANG ?? 'C.UTF-8',
    ...(TZ ? { TZ } : {}),
    ASAN_OPTIONS: 'detect_leaks=1:abort_on_error=0:exitcode=99',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  };
}

// Starts an upstream alone.
export async function startUpstream({ args = [] } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'up'));
  const child = new Child(join(BIN_DIR, 'codebuddy2api-upstream'), args, {
    cwd: dir,
    env: cleanEnvironment(),
    log: join(dir, 'upstream.log'),
  });
  const [, url] = await child.line(/^listening (http:\/\/127\.0\.0\.1:\d+)/);
  return new Upstream(child, url, dir);
}

export class System {
  constructor({ upstream, ownsUpstream, credentials, env, args = [], endpoint, within = [] }) {
    this.upstream = upstream;
    this.ownsUpstream = ownsUpstream;
    this.credentials = credentials;
    this.password = secretText('pw');
    this.dir = mkdtempSync(join(tmpdir(), 's'));
    this.credsDir = join(this.dir, 'creds');
    this.dataDir = join(this.dir, 'data');
    this.logFile = join(this.dir, 'log');
    this.env = env;
    this.args = args;
    this.within = within;
    this.program = join(BIN_DIR, 'codebuddy2api');
    this.endpoint = endpoint ?? upstream.url;
    mkdirSync(this.credsDir, { mode: 0o700 });
    for (const [name, content] of Object.entries(credentials)) this.writeCredential(name, content);
  }

  writeCredential(name, content) {
    writeFileSync(join(this.credsDir, `${name}.json`), JSON.stringify(content), { mode: 0o600 });
  }

  get environment() {
    return {
      ...cleanEnvironment(),
      CODEBUDDY_PASSWORD: this.password,
      CODEBUDDY_PORT: '0',
      CODEBUDDY_OPS_PORT: '0',
      CODEBUDDY_API_ENDPOINT: this.endpoint,
      CODEBUDDY_CREDS_DIR: this.credsDir,
      CODEBUDDY_DATA_DIR: this.dataDir,
      CODEBUDDY_RUN_DIR: join(this.dir, 'run'),
      CODEBUDDY_SITES_DIR: join(root, 'deploy/sites'), // builds may be outside the repository
      CODEBUDDY_WORKERS: '2',
      ...this.env,
    };
  }

  async start() {
    const [program, ...args] = [...this.within, this.program, ...this.args];
    this.child = new Child(program, args, {
      cwd: this.dir,
      env: { ...this.environment, SUPERVISOR_READY_FD: '3' },
      log: this.logFile,
      extra: true,
    });
    const settled = new AbortController();
    const ready = this.child.line(/^ready http=(\d+) ops=(\d+)/).finally(() => settled.abort());
    const parked = this.waitLog(/process_parked/, { signal: settled.signal }).then((match) => {
      if (match) throw new Error(`a process is parked:\n${this.log()}`);
      return ready;
    });
    const [, http, ops] = await parked;
    this.port = Number(http);
    this.opsPort = Number(ops);
    return this;
  }

  get origin() {
    return `${this.scheme ?? 'http'}://127.0.0.1:${this.port}`;
  }

  get baseURL() {
    return `${this.origin}/v1`;
  }

  // An openai client. It never retries by itself, so that what a test sees is what was answered.
  client(options = {}) {
    return new OpenAI({ baseURL: this.baseURL, apiKey: this.password, maxRetries: 0, ...options });
  }

  // Our own command, about this system: status --json and so on.
  async command(...args) {
    const { stdout } = await run(join(BIN_DIR, 'codebuddy2api'), args, { cwd: this.dir, env: this.environment });
    return stdout;
  }

  // Also while not everything is ready, which the exit status of the command says.
  async status() {
    const text = await this.command('status', '--json').catch((error) => {
      if (error.code !== 1) throw error;
      return error.stdout;
    });
    return JSON.parse(text);
  }

  async fetch(path, { headers = {}, ...options } = {}) {
    return fetch(`${this.origin}${path}`, {
      ...options,
      headers: { authorization: `Bearer ${this.password}`, ...headers },
    });
  }

  async ops(path, options) {
    return fetch(`http://127.0.0.1:${this.opsPort}${path}`, options);
  }

  // POST /v1/chat/completions with a body (an object, or bytes as they are).
  async chat(body, options = {}) {
    return this.fetch('/v1/chat/completions', {
      method: 'POST',
      body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
      ...options,
      headers: { 'content-type': 'application/json', ...options.headers },
    });
  }

  log() {
    return readFileSync(this.logFile, 'utf8');
  }

  logSize() {
    return fileSize(this.logFile);
  }

  waitLog(pattern, options) {
    return waitForText(this.logFile, pattern, options);
  }

  // All files below the data and run directories, for looking for what must not be there.
  *files(dir = this.dir) {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) yield* this.files(path);
      else if (entry.isFile()) yield path;
    }
  }

  // Ends everything as SIGTERM does. Throws if the system did not end well, or if a sanitizer had complaints;
  // then the directory stays.
  async stop({ expectCode = 0 } = {}) {
    const end = await this.child.stop();
    if (this.ownsUpstream) await this.upstream.stop();
    const logs = readdirSync(this.dir).filter((name) => /^log$|\.log$/.test(name));
    for (const name of logs) assertNoComplaint(join(this.dir, name)); // of a statsd of the test's own, too
    const log = this.log();
    if (expectCode !== null && (end.code !== expectCode || end.signal))
      throw new Error(`the supervisor ended with ${JSON.stringify(end)}\nsee ${this.logFile}\n${log.slice(-3000)}`);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

// A running system. Options: credentials (name → file content; default: one), env (CODEBUDDY_*), upstream (one
// that is already there), endpoint (where the system finds the upstream, if not at its own address), prepare (called with the
// system before it starts), within (a command that runs the supervisor in its place: path and arguments).
export async function startSystem({ credentials, env = {}, upstream, args, endpoint, prepare, within } = {}) {
  const up = upstream ?? (await startUpstream());
  const system = new System({
    upstream: up,
    ownsUpstream: !upstream,
    credentials: credentials ?? { one: credential('one') },
    env,
    args,
    endpoint,
    within,
  });
  try {
    prepare?.(system);
    return await system.start();
  } catch (error) {
    system.child?.kill('SIGKILL');
    if (!upstream) await up.stop().catch(() => {});
    throw error;
  }
}

// A self-signed certificate for localhost: { cert, key } (paths).
export async function makeCertificate(dir) {
  const cert = join(dir, 'cert.pem');
  const key = join(dir, 'key.pem');
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
    ...['-keyout', key, '-out', cert],
  ]);
  chmodSync(key, 0o600);
  return { cert, key };
}

export const user = (content = 'Say hello.') => ({ role: 'user', content });
