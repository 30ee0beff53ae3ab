// SPDX-License-Identifier: MIT
// Runs as a process of its own, so that nothing but reading disturbs its clock: opens streams and notes when
// each event arrives. Talks to its parent over IPC:
//   in   { port, password, model, count }   open so many streams
//   out  { started: true }                  every stream has had its first event
//   in   { from, to } (ms of the wall clock)
//   out  { gaps: [...] }                    the longest gap of each stream within that time
import net from 'node:net';

const clock = () => performance.timeOrigin + performance.now();
const streams = [];

function open({ port, password, model }, onFirst) {
  const arrivals = [];
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'go' }], stream: true });
  const socket = net.connect({ port, host: '127.0.0.1' });
  socket.setNoDelay(true);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${password}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  socket.on('data', (bytes) => {
    if (!bytes.includes('data: {')) return; // a head, or the rest of an event
    arrivals.push(clock());
    if (arrivals.length === 1) onFirst();
  });
  socket.on('error', (error) => process.send({ error: error.message }));
  streams.push({ arrivals, socket });
}

// Of the gaps that lie in that time, if only in part; one that is still open counts as it is.
function longestGap({ arrivals }, from, to) {
  const last = arrivals.at(-1);
  let longest = last <= to ? clock() - last : 0;
  for (let i = 1; i < arrivals.length; i++)
    if (arrivals[i] >= from && arrivals[i - 1] <= to) longest = Math.max(longest, arrivals[i] - arrivals[i - 1]);
  return longest;
}

process.on('message', (message) => {
  if (message.count) {
    let left = message.count;
    for (let i = 0; i < message.count; i++) open(message, () => --left === 0 && process.send({ started: true }));
  } else {
    process.send({ gaps: streams.map((stream) => longestGap(stream, message.from, message.to)) });
  }
});
process.on('disconnect', () => process.exit(0));
