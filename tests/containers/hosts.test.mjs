// SPDX-License-Identifier: MIT
// Services on two hosts, in network namespaces: a line with delay and loss, and one that is cut and heals.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { user } from '../e2e/harness.mjs';
import { until } from '../e2e/process.mjs';
import { Hosts } from './hosts.mjs';

const textOf = (count) => Array.from({ length: count }, (_, k) => `t${k} `).join('');

async function withHosts(options, body) {
  const hosts = new Hosts();
  try {
    await hosts.start(options);
    await body(hosts);
    await hosts.stop();
  } finally {
    hosts.kill();
  }
}

const plain = (client, n) =>
  client.chat.completions.create({ model: `s:chunks?n=${n}`, messages: [user()] }).then((answer) => answer.choices[0].message.content);

async function stream(client, model) {
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model, messages: [user()], stream: true }))
    text += chunk.choices[0]?.delta?.content ?? '';
  return text;
}

const recorded = (hosts, count) =>
  until(async () => (await hosts.get('/api/stats')).totals.requests >= count, `${count} requests in the ledger`);

test('over a line with 40 ms of delay and 2 % loss every answer is whole, and usage adds up', async () => {
  await withHosts({ line: { delay_ms: 40, seed: 7 } }, async (hosts) => {
    const client = hosts.client();
    const answers = await Promise.all([
      ...Array.from({ length: 40 }, () => plain(client, 5)),
      ...Array.from({ length: 20 }, () => stream(client, 's:chunks?n=30&gap_ms=20')),
    ]);
    assert.deepEqual(answers, [...Array(40).fill(textOf(5)), ...Array(20).fill(textOf(30))]);
    await recorded(hosts, 60);
    const { totals } = await hosts.get('/api/stats');
    assert.deepEqual([totals.requests, totals.errors], [60, 0]);
  });
});

test('a cable that is cut is noticed, requests wait or are refused, and all is well once it heals', async () => {
  await withHosts({}, async (hosts) => {
    const client = hosts.client();
    assert.equal(await plain(client, 3), textOf(3));
    await recorded(hosts, 1);
    const running = stream(client, 's:chunks?n=2000&gap_ms=50').then(
      (text) => ({ text }),
      (error) => ({ error }),
    );
    await until(async () => (await hosts.get('/api/stats')).totals.requests >= 1, 'the gateway to answer');
    hosts.cut();
    const end = await running; // a stream that had begun ends with an error, it does not hang
    assert.ok(end.error, 'the stream ended well though its worker was gone');
    await hosts.workersReady(0);
    await assert.rejects(plain(client, 3), ({ status }) => status === 503);
    assert.equal((await fetch(`${hosts.origin}/health`)).status, 503);
    const waiting = plain(client, 4); // waits for a worker, 10 s at most
    hosts.heal();
    assert.equal(await waiting, textOf(4));
    await hosts.workersReady(2);
    assert.equal(await stream(client, 's:chunks?n=10'), textOf(10));
    assert.match(hosts.log('gateway'), /peer_down.*upstream-worker/);
  });
});
