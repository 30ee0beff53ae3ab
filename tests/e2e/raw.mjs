// SPDX-License-Identifier: MIT
// HTTP/1.1 over a bare socket: sends the very bytes it is given and reads answers strictly, byte by byte.
// Anything that RFC 9112 does not allow a server to send is thrown as an error, with the bytes around it.
import net from 'node:net';
import tls from 'node:tls';
import assert from 'node:assert/strict';

const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

function fail(what, bytes) {
  throw new Error(`${what}: ${JSON.stringify(bytes.toString('latin1').slice(0, 200))}`);
}

// One answer, fed piece by piece. `bodyless`: the request was a HEAD.
export class StrictResponse {
  constructor({ bodyless = false } = {}) {
    this.bodyless = bodyless;
    this.state = 'head';
    this.pending = Buffer.alloc(0);
    this.status = 0;
    this.headers = [];
    this.pieces = []; // of the body, as the chunked coding (or the reads) cut it
    this.over = false;
    this.framing = '';
  }

  header(name) {
    const found = this.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase());
    assert.ok(found.length <= 1, `${name} is there ${found.length} times`);
    return found.length ? found[0][1] : undefined;
  }

  get body() {
    return Buffer.concat(this.pieces);
  }

  get text() {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.body);
  }

  json() {
    return JSON.parse(this.text);
  }

  // Returns the bytes that come after this answer.
  feed(bytes) {
    this.pending = Buffer.concat([this.pending, bytes]);
    while (!this.over && this.step());
    if (!this.over) return Buffer.alloc(0);
    const rest = this.pending;
    this.pending = Buffer.alloc(0);
    return rest;
  }

  // The connection ended.
  end() {
    if (this.over) return;
    if (this.state === 'until-close') {
      this.over = true;
      return;
    }
    fail(`the connection ended inside the ${this.state}`, this.pending);
  }

  take(size) {
    const taken = this.pending.subarray(0, size);
    this.pending = this.pending.subarray(size);
    return taken;
  }

  // A line without its CRLF, or undefined if it is not whole yet.
  line() {
    const lf = this.pending.indexOf(10);
    if (lf < 0) return undefined;
    if (lf === 0 || this.pending[lf - 1] !== 13) fail('a line does not end in CRLF', this.pending);
    const line = this.take(lf + 1).subarray(0, lf - 1);
    for (const byte of line) if ((byte < 0x20 && byte !== 9) || byte === 0x7f) fail('a control character', line);
    return line.toString('latin1');
  }

  step() {
    switch (this.state) {
      case 'head':
        return this.stepHead();
      case 'chunk size':
        return this.stepChunkSize();
      case 'chunk data':
        if (this.pending.length < this.left + 2) return false;
        this.pieces.push(Buffer.from(this.take(this.left)));
        if (this.take(2).toString('latin1') !== '\r\n') fail('a chunk does not end in CRLF', this.pending);
        this.state = 'chunk size';
        return true;
      case 'trailers': {
        const line = this.line();
        if (line === undefined) return false;
        if (line !== '') fail('trailers', Buffer.from(line));
        this.over = true;
        return true;
      }
      case 'sized body': {
        if (this.pending.length === 0 && this.left > 0) return false;
        const piece = this.take(Math.min(this.left, this.pending.length));
        if (piece.length) this.pieces.push(Buffer.from(piece));
        this.left -= piece.length;
        this.over = this.left === 0;
        return true;
      }
      case 'until-close':
        if (this.pending.length) this.pieces.push(Buffer.from(this.take(this.pending.length)));
        return false;
      default:
        throw new Error(this.state);
    }
  }

  stepChunkSize() {
    const line = this.line();
    if (line === undefined) return false;
    if (!/^[0-9a-fA-F]{1,8}$/.test(line)) fail('a chunk size', Buffer.from(line));
    this.left = parseInt(line, 16);
    this.state = this.left === 0 ? 'trailers' : 'chunk data';
    return true;
  }

  stepHead() {
    const line = this.line();
    if (line === undefined) return false;
    if (!this.status) {
      const match = /^HTTP\/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*$/.exec(line);
      if (!match) fail('a status line', Buffer.from(line));
      this.status = Number(match[1]);
      return true;
    }
    if (line !== '') {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon);
      const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
      if (colon < 1 || !TOKEN.test(name)) fail('a header line', Buffer.from(line));
      if (!/^[\t\x20-\x7e]*$/.test(value)) fail('a header value', Buffer.from(line));
      this.headers.push([name, value]);
      return true;
    }
    if (this.status >= 100 && this.status < 200) {
      this.status = 0; // an interim answer; the real one follows
      this.headers = [];
      return true;
    }
    this.chooseFraming();
    return true;
  }

  chooseFraming() {
    const length = this.header('content-length');
    const coding = this.header('transfer-encoding');
    if (length !== undefined && coding !== undefined) throw new Error('both Content-Length and Transfer-Encoding');
    if (this.bodyless || this.status === 204 || this.status === 304) {
      this.framing = 'none';
      this.over = true;
    } else if (coding !== undefined) {
      if (coding !== 'chunked') throw new Error(`Transfer-Encoding: ${coding}`);
      this.framing = 'chunked';
      this.state = 'chunk size';
    } else if (length !== undefined) {
      if (!/^[0-9]+$/.test(length)) throw new Error(`Content-Length: ${length}`);
      this.framing = 'sized';
      this.left = Number(length);
      this.state = 'sized body';
    } else {
      this.framing = 'until-close';
      this.state = 'until-close';
    }
  }
}

// A connection that answers are read from one after the other.
export class RawConnection {
  constructor(port, { secure = false, ca, alpn, host = '127.0.0.1' } = {}) {
    this.queue = []; // answers waited for
    this.early = Buffer.alloc(0);
    this.ended = false;
    this.socket = secure
      ? tls.connect({ port, host, ca, servername: 'localhost', ALPNProtocols: alpn })
      : net.connect({ port, host });
    this.socket.setNoDelay(true);
    this.opened = new Promise((resolve, reject) => {
      this.socket.once(secure ? 'secureConnect' : 'connect', resolve);
      this.socket.once('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.on('data', (bytes) => this.take(bytes));
    this.socket.on('error', (error) => (this.error = error));
    this.socket.on('close', () => {
      this.ended = true;
      for (const { response, resolve, reject } of this.queue.splice(0)) this.settle(response, resolve, reject);
    });
  }

  settle(response, resolve, reject) {
    try {
      if (this.error && !response.over) throw this.error;
      response.end();
      resolve(response);
    } catch (error) {
      error.response = response;
      reject(error);
    }
  }

  take(bytes) {
    let rest = Buffer.concat([this.early, bytes]);
    this.early = Buffer.alloc(0);
    while (rest.length && this.queue.length) {
      const entry = this.queue[0];
      try {
        rest = entry.response.feed(rest);
        entry.onBytes?.(entry.response);
      } catch (error) {
        this.queue.shift();
        error.response = entry.response;
        entry.reject(error);
        this.socket.destroy();
        return;
      }
      if (!entry.response.over) return;
      this.queue.shift();
      entry.resolve(entry.response);
    }
    this.early = rest;
  }

  write(bytes) {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  // The next answer, whole. onBytes(response) is called as it grows.
  response({ bodyless = false, onBytes } = {}) {
    const response = new StrictResponse({ bodyless });
    return new Promise((resolve, reject) => {
      this.queue.push({ response, resolve, reject, onBytes });
      if (this.early.length) this.take(Buffer.alloc(0));
      if (this.ended && !response.over) {
        this.queue.pop();
        this.settle(response, resolve, reject);
      }
    });
  }

  close() {
    this.socket.destroy();
    return this.closed;
  }
}

// The bytes of a request. `headers` is an object; `body` a string, a Buffer or something to say as JSON.
export function requestBytes({ method = 'GET', path = '/', headers = {}, body }) {
  let payload = body;
  if (payload !== undefined && !Buffer.isBuffer(payload))
    payload = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  const all = { Host: 'localhost', ...headers };
  const named = (name) => Object.keys(all).some((key) => key.toLowerCase() === name);
  if (payload !== undefined && !named('content-length') && !named('transfer-encoding'))
    all['Content-Length'] = String(payload.length);
  const lines = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
  return payload === undefined ? head : Buffer.concat([head, payload]);
}

// One request on a connection of its own. After the answer nothing may follow.
export async function rawRequest(port, request, options = {}) {
  const connection = new RawConnection(port, options);
  try {
    await connection.opened;
    await connection.write(requestBytes(request));
    const response = await connection.response({ bodyless: request.method === 'HEAD', onBytes: options.onBytes });
    assert.equal(connection.early.length, 0, `bytes after the answer: ${connection.early}`);
    return response;
  } finally {
    await connection.close();
  }
}
