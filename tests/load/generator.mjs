// SPDX-License-Identifier: MIT
// The load generator codebuddy2api-load, run against a target, and the requests it sends.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BIN_DIR } from '../e2e/harness.mjs';

export const BODY_BYTES = 600;
export const CHUNKS = 20;

// A request of exactly BODY_BYTES bytes. Parallel use of one file: the load generator only reads it.
export function bodyFile(dir, name, model, stream) {
  const body = (pad) =>
    JSON.stringify({
      model,
      stream,
      stream_options: stream ? { include_usage: true } : undefined,
      messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'x'.repeat(pad) }],
    });
  const path = join(dir, name);
  writeFileSync(path, body(BODY_BYTES - body(0).length));
  return path;
}

function start(target, args) {
  return spawn(
    join(BIN_DIR, 'codebuddy2api-load'),
    ['--url', target.url, ...target.headers.flatMap((header) => ['--header', header]), ...args.map(String)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
}

// Runs the load generator; `during` is called meanwhile and its result returned too.
export async function generate(target, args, during = async () => undefined) {
  const child = start(target, args);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece) => (text += piece));
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  const seen = await during();
  await ended;
  return { result: JSON.parse(text), seen };
}

// Has it run until end(): for clients who do nothing, of whom there is nothing to report.
export function hold(target, args) {
  const child = start(target, args);
  child.stdout.resume();
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  return {
    end() {
      child.kill();
      return ended;
    },
  };
}

// Arguments for small answers as fast as they come.
export function fastArguments(dir, connections, plain) {
  return ['--connections', connections, '--expect-events', CHUNKS, '--body-file', bodyFile(dir, 'fast.json', 's:load', !plain), ...(plain ? ['--plain'] : [])];
}
