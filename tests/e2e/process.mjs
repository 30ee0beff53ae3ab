// SPDX-License-Identifier: MIT
// A child process that is started, waited for by what it says, and always ended.
import { spawn } from 'node:child_process';
import { openSync, closeSync, watch, statSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

// Long: it only ends a test that would otherwise hang, on however busy a machine.
export const PATIENCE_MS = 60_000;

export function deadline(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`gave up after ${ms} ms waiting for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Polls `look` until it returns something true. For states that nobody announces; nothing is measured by it. `what` may be a
// function, asked when it was in vain.
export async function until(look, what, ms = PATIENCE_MS) {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`gave up after ${ms} ms waiting for ${typeof what === 'function' ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const alive = new Set();
// A test file that dies does not leave processes behind.
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export class Child {
  // Standard error goes to the file `log` (a slow reader of a pipe would slow the child down); standard
  // output and, with `extra`, descriptor 3 come line by line.
  constructor(program, args, { cwd, env, log, extra = false }) {
    const fd = openSync(log, 'a');
    this.log = log;
    this.name = basename(program);
    this.lines = [];
    this.listeners = new Set();
    this.process = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', fd, ...(extra ? ['pipe'] : [])] });
    closeSync(fd);
    alive.add(this.process);
    this.exited = new Promise((resolve) => {
      this.process.once('error', (error) => this.over(resolve, { error }));
      this.process.once('exit', (code, signal) => this.over(resolve, { code, signal }));
    });
    for (const stream of [this.process.stdout, this.process.stdio[3]]) if (stream) this.readLines(stream);
  }

  over(resolve, end) {
    alive.delete(this.process);
    this.end = end;
    resolve(end);
    for (const listener of this.listeners) listener();
  }

  readLines(stream) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('error', () => {});
    stream.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      this.lines.push(...lines);
      for (const listener of this.listeners) listener();
    });
  }

  // The match of the first line that fits; rejects if the child ends before.
  line(pattern, ms = PATIENCE_MS) {
    const wanted = new Promise((resolve, reject) => {
      const look = () => {
        for (const line of this.lines) {
          const match = pattern.exec(line);
          if (match) {
            this.listeners.delete(look);
            return resolve(match);
          }
        }
        if (this.end) {
          this.listeners.delete(look);
          reject(new Error(`${this.name} ended (${JSON.stringify(this.end)}):\n${this.tail()}`));
        }
      };
      this.listeners.add(look);
      look();
    });
    return deadline(wanted, `${this.name} to say ${pattern}`, ms).catch((error) => {
      error.message += `\n${this.tail()}`;
      throw error;
    });
  }

  // The match in what it says, on standard output or in its log; rejects if it ends before.
  async logged(pattern, ms = PATIENCE_MS) {
    const over = new AbortController();
    this.exited.then(() => over.abort());
    const inLog = waitForText(this.log, pattern, { ms, signal: over.signal });
    const inOutput = this.line(pattern, ms);
    inOutput.catch(() => {});
    const match = (await Promise.any([inLog, inOutput]).finally(() => over.abort())) ?? (await inOutput);
    return match;
  }

  // The last of what it said, for error messages.
  tail() {
    return `${this.lines.slice(-40).join('\n')}\n${this.logText().slice(-4000)}`;
  }

  logText() {
    return readFileSync(this.log, 'utf8');
  }

  kill(signal) {
    this.process.kill(signal);
  }

  // Ends it the polite way; its { code, signal }.
  async stop(ms = PATIENCE_MS) {
    if (!this.end) this.process.kill('SIGTERM');
    try {
      return await deadline(this.exited, `${this.name} to end`, ms);
    } catch (error) {
      this.process.kill('SIGKILL');
      await this.exited;
      error.message += `\n${this.tail()}`;
      throw error;
    }
  }
}

// Waits until `pattern` matches the file's text behind `from` (a size in bytes); resolves to the match.
// `signal` gives it up quietly: the promise then resolves to null.
export function waitForText(file, pattern, { from = 0, ms = PATIENCE_MS, signal } = {}) {
  let watcher;
  const found = new Promise((resolve, reject) => {
    signal?.addEventListener('abort', () => resolve(null));
    const look = () => {
      try {
        const match = pattern.exec(readFileSync(file).subarray(from).toString('utf8'));
        if (match) resolve(match);
      } catch (error) {
        reject(error);
      }
    };
    watcher = watch(file, look);
    look();
  });
  return deadline(found, `${pattern} in ${file}`, ms).finally(() => watcher.close());
}

// Throws if a sanitizer or an assertion has spoken in the file, with what it said.
export function assertNoComplaint(file) {
  const text = readFileSync(file, 'utf8');
  const complaint = /.*(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|UndefinedBehavior|Assertion)/.exec(text);
  if (complaint) throw new Error(`a process complained: ${text.slice(complaint.index, complaint.index + 4000)}\nsee ${file}`);
}

export const fileSize = (file) => statSync(file).size;
