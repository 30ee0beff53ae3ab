// SPDX-License-Identifier: MIT
// The way to the upstream, which can be refused, reset and stalled: a TCP proxy in front of the stand-in.
import net from 'node:net';

export class Proxy {
  constructor(targetUrl) {
    this.target = Number(new URL(targetUrl).port);
    this.pairs = new Set();
    this.isStalled = false;
  }

  async start(port = 0) {
    this.server = net.createServer((client) => this.relay(client));
    await new Promise((resolve, reject) => {
      this.server.once('error', reject).listen({ port, host: '127.0.0.1', backlog: 4096 }, resolve);
    });
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  relay(client) {
    const server = net.connect({ port: this.target, host: '127.0.0.1' });
    const pair = [client, server];
    this.pairs.add(pair);
    for (const [from, to] of [pair, [server, client]]) {
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => {
        if (!this.isStalled) from.resume();
      });
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        this.pairs.delete(pair);
      });
    }
    if (this.isStalled) for (const socket of pair) socket.pause();
  }

  // No new connections; those that are there live on.
  refuse() {
    return new Promise((resolve) => {
      this.server.close();
      setImmediate(resolve);
    });
  }

  accept() {
    return this.start(this.port);
  }

  // RST to every connection that `isChosen`; how many those were.
  reset(isChosen) {
    const chosen = [...this.pairs].filter(isChosen);
    for (const [client, server] of chosen) {
      client.resetAndDestroy();
      server.destroy();
    }
    return chosen.length;
  }

  // Nothing goes through, nothing breaks.
  stall(isStalled) {
    this.isStalled = isStalled;
    for (const pair of this.pairs) for (const socket of pair) isStalled ? socket.pause() : socket.resume();
  }

  stop() {
    this.server.close();
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
  }
}
