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

  async stop() {
    const end = await this.child.stop();
    if (end.code !== 0) throw new Error(`the upstream ended with ${JSON.stringify(end)}:\n${this.child.logText().slice(-3000)}`);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
