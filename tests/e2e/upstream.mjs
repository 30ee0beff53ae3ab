// SPDX-License-Identifier: MIT
// The stand-in upstream as seen from a test: its process and its control calls (tests/upstream/README.md).
import { rmSync } from 'node:fs';
import { PATIENCE_MS } from './process.mjs';

export class Upstream {
  constructor(child, url, dir) {
    this.child = child;
    this.url = url;
    this.dir = dir;
  }

  async control(path, body) {
    const options = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(`${this.url}/_control/${path}`, options);
    const text = await response.text();
    if (!response.ok) throw new Error(`/_control/${path}: ${response.status} ${text}`);
    return response.headers.get('content-type').startsWith('application/json') ? JSON.parse(text) : text;
  }

  stats() {
    return this.control('stats');
  }

  // Names of all scenarios, without `s:`.
  async scenarios() {
    const table = await this.control('scenarios');
    return [...table.matchAll(/^\| `s:([^`]+)` \|/gm)].map(([, name]) => name);
  }

  // What the stand-in found wrong in what it received.
  async failures() {
    return (await this.stats()).failures;
  }

  // Requests with `token` (default: any) for `model` (default: any) get the scenario; '' removes the rule.
  setRule({ token = '', model = '', scenario, times = 0 }) {
    return this.control('rule', { token, model, scenario, times });
  }

  // Chat requests for a model, oldest first (of the last ones that the stand-in keeps).
  async requests(model) {
    const { requests } = await this.control('requests?kind=chat&limit=10000');
    const wanted = `"model":${JSON.stringify(model)}`;
    return requests.filter(({ body }) => body?.replace(/"model"\s*:\s*/g, '"model":').includes(wanted));
  }

  async lastRequest(model) {
    const last = (await this.requests(model)).at(-1);
    if (!last) throw new Error(`the upstream got no request for ${model}`);
    return last;
  }

  // Returns once the counter has reached the number; fails after a patience that only ends what hangs.
  async wait(counter, atLeast) {
    await this.control(`wait?counter=${counter}&at_least=${atLeast}&timeout_ms=${PATIENCE_MS}`);
  }

  // From here on: reaches(counter, n) returns once it has grown by n; since(counter) says by how much.
  async mark() {
    const before = await this.stats();
    return {
      reaches: (counter, more) => this.wait(counter, before[counter] + more),
      since: async (counter) => (await this.stats())[counter] - before[counter],
    };
  }

  async stop() {
    const end = await this.child.stop();
    if (end.code !== 0)
      throw new Error(`the upstream ended with ${JSON.stringify(end)}:\n${this.child.logText().slice(-3000)}`);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
