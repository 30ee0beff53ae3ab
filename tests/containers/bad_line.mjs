// SPDX-License-Identifier: MIT
// A bad line between two hosts, for the links: a TCP relay that delays every byte, and now and then holds them all back for as long
// as a lost segment takes to come again. Run as a program: bad_line.mjs SEED DELAY_MS LISTEN:HOST:PORT…; it says `ready`.
import net from 'node:net';

const LOSS = 0.02; // of the pieces that pass
const RESEND_MS = 250; // the kernel's first tries come after 200 ms and more

// Small, and the same for the same seed.
function randomFrom(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

// Bytes leave in the order they came, none before its time. One timer for the first in line: timers of their own could change places.
function relay(from, to, delayMs, random) {
  const queue = [];
  let freeAt = 0;
  from.setNoDelay(true);
  const leave = () => {
    while (queue.length && queue[0].at <= performance.now()) queue.shift().act();
    if (queue.length) setTimeout(leave, Math.ceil(queue[0].at - performance.now()));
  };
  const later = (act) => {
    const now = performance.now();
    freeAt = Math.max(freeAt, now + delayMs + (random() < LOSS ? RESEND_MS : 0));
    queue.push({ at: freeAt, act });
    if (queue.length === 1) setTimeout(leave, freeAt - now);
  };
  from.on('data', (bytes) => later(() => to.writable && to.write(bytes)));
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => later(() => to.destroy()));
}

const [seed, delayMs, ...lines] = process.argv.slice(2);
const random = randomFrom(Number(seed));
await Promise.all(
  lines.map((line) => {
    const [listen, host, port] = line.split(':');
    const server = net.createServer((near) => {
      const far = net.connect({ host, port: Number(port) });
      relay(near, far, Number(delayMs), random);
      relay(far, near, Number(delayMs), random);
    });
    return new Promise((resolve) => server.listen(Number(listen), '127.0.0.1', resolve));
  }),
);
console.log('ready');
process.on('SIGTERM', () => process.exit(0));
