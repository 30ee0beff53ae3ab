// SPDX-License-Identifier: MIT
// deploy/Dockerfile and deploy/compose.yaml on a real engine: the openai client's requests while services are scaled, killed and
// restarted, and whether usage adds up in the end. The tests build on one another: one deployment serves them all.
import assert from 'node:assert/strict';
import { test, before, after } from 'node:test';
import { user } from '../e2e/harness.mjs';
import { until } from '../e2e/process.mjs';
import { Deployment } from './compose.mjs';

const OURS = ['gateway', 'upstream-worker', 'credd', 'statsd'];
const deployment = new Deployment();
const textOf = (count) => Array.from({ length: count }, (_, k) => `t${k} `).join('');
let served = 0; // whole answers, by which usage must add up
let failed = false;

before(async () => {
  await deployment.build();
  await deployment.makeSecrets();
  await deployment.up();
});

after(async () => {
  if (failed) console.error(await deployment.logs());
  await deployment.remove();
});

// A test that shows the containers' logs when it fails.
const step = (name, body) =>
  test(name, async (t) => {
    try {
      await body(t);
    } catch (error) {
      failed = true;
      throw error;
    }
  });

async function askPlain(client, model, content) {
  const answer = await client.chat.completions.create({ model, messages: [user()] });
  assert.equal(answer.choices[0].message.content, content);
  served++;
}

async function askStream(client, model, content) {
  let text = '';
  let finish = null;
  for await (const chunk of await client.chat.completions.create({ model, messages: [user()], stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? '';
    finish ??= chunk.choices[0]?.finish_reason;
  }
  assert.equal(text, content);
  assert.equal(finish, 'stop');
  served++;
}

// Plain requests, and streams of two seconds, until stop(): nothing may fail. Each lane has a client of its own.
function load({ lanes = 6, streams = 4 } = {}) {
  let going = true;
  let count = 0;
  const lane = async (ask) => {
    const client = deployment.client();
    for (; going; count++) await ask(client);
  };
  const all = Promise.all([
    ...Array.from({ length: lanes }, () => lane((client) => askPlain(client, 's:chunks?n=5', textOf(5)))),
    ...Array.from({ length: streams }, () => lane((client) => askStream(client, 's:chunks?n=40&gap_ms=50', textOf(40)))),
  ]);
  all.catch(() => (going = false));
  return {
    more: (wanted) => {
      const from = count;
      return Promise.race([until(() => count >= from + wanted, `${wanted} more answers`), all]);
    },
    stop: async () => {
      going = false;
      await all;
      return count;
    },
  };
}

// Everything that was answered is in the ledger, once, and is what the upstream says it served.
async function assertUsageAddsUp() {
  await until(async () => (await deployment.get('/api/stats')).totals.requests >= served, `${served} requests in the ledger`);
  const { totals } = await deployment.get('/api/stats');
  assert.equal(totals.requests, served);
  assert.equal(totals.errors, 0);
  const upstream = await deployment.upstreamStats();
  assert.equal(upstream.completed, served);
  for (const key of ['prompt_tokens', 'completion_tokens', 'cached_tokens', 'reasoning_tokens'])
    assert.equal(totals[key], Object.values(upstream.credentials).reduce((sum, row) => sum + row[key], 0), key);
}

step('comes up healthy in order, and answers the openai client, plain and streamed', async () => {
  for (const service of OURS) await deployment.healthy(service);
  await deployment.processes('upstream-worker', 1);
  const client = deployment.client();
  await until(() => client.models.list().then(() => true, () => false), 'the front');
  await askPlain(client, 's:chunks?n=3', textOf(3));
  await askStream(client, 's:chunks?n=20', textOf(20));
});

step('each container is confined, and has no secret but its own', async () => {
  for (const container of await deployment.containers()) {
    const { Config, HostConfig, Name } = container;
    assert.equal(HostConfig.ReadonlyRootfs, true, Name);
    assert.deepEqual(HostConfig.CapDrop, ['ALL'], Name);
    assert.ok(HostConfig.SecurityOpt.some((option) => option.startsWith('no-new-privileges')), Name);
    assert.equal(Config.User, '10001:10001', Name);
    assert.ok(HostConfig.Memory > 0 && HostConfig.PidsLimit > 0, Name);
    assert.equal(HostConfig.RestartPolicy.Name, 'unless-stopped', Name);
    const published = Object.values(container.NetworkSettings.Ports).flat().filter(Boolean);
    const isFront = Config.Labels['com.docker.compose.service'] === 'front';
    assert.equal(published.length > 0, isFront, Name);
    assert.ok(published.every(({ HostIp }) => HostIp === '127.0.0.1'), Name);
  }
  const secretsOf = async (service) =>
    (await deployment.containers(service))[0].Mounts.map(({ Destination }) => Destination)
      .filter((path) => path.startsWith('/run/secrets/'))
      .sort();
  assert.deepEqual(await secretsOf('gateway'), ['/run/secrets/gateway.keys', '/run/secrets/password']);
  for (const service of ['upstream-worker', 'credd', 'statsd'])
    assert.deepEqual(await secretsOf(service), [`/run/secrets/${service}.keys`]);
});

step('workers 1 → 4 → 2 and gateways 1 → 2 under load: no request fails', async (t) => {
  const busy = load();
  await busy.more(20);
  await deployment.up({ 'upstream-worker': 4 });
  await deployment.processes('upstream-worker', 4);
  await busy.more(40);
  await deployment.up({ 'upstream-worker': 4, gateway: 2 });
  await deployment.processes('gateway', 2);
  await busy.more(60);
  await deployment.up({ 'upstream-worker': 2, gateway: 2 });
  await deployment.processes('upstream-worker', 2);
  await busy.more(40);
  t.diagnostic(`${await busy.stop()} answers under load`);
  await assertUsageAddsUp();
});

step('a worker killed with -9 is missed by nobody, and comes again', async () => {
  const [victim] = await deployment.containers('upstream-worker');
  process.kill(victim.State.Pid, 'SIGKILL');
  const client = deployment.client();
  await Promise.all(Array.from({ length: 20 }, () => askPlain(client, 's:chunks?n=5', textOf(5))));
  await deployment.healthy('upstream-worker', 2);
  await deployment.processes('upstream-worker', 2);
  const again = (await deployment.containers('upstream-worker')).find(({ Id }) => Id === victim.Id);
  assert.equal(again.RestartCount, 1);
  await assertUsageAddsUp();
});

step('credd and statsd restart with their volumes under load: keys, settings and usage are kept', async () => {
  const client = deployment.client();
  const response = await fetch(`http://127.0.0.1:${deployment.port}/api/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${deployment.password}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'kept' }),
  });
  assert.equal(response.status, 201);
  const busy = load({ streams: 2 });
  await busy.more(10);
  await deployment.compose('restart', 'statsd');
  await deployment.healthy('statsd');
  await busy.more(10);
  await deployment.compose('restart', 'credd');
  await deployment.healthy('credd');
  await busy.more(10);
  await busy.stop();
  await until(async () => (await deployment.get('/api/keys')).keys.some(({ name }) => name === 'kept'), 'the key');
  await askPlain(client, 's:chunks?n=2', textOf(2));
  await assertUsageAddsUp();
});

step('a container without a listed key gets nowhere', async () => {
  const id = await deployment.stranger('upstream-worker', 'codebuddy2api-upstream-worker', {
    CODEBUDDY_GATEWAY_ENDPOINTS: 'tcp://gateway:9101',
    CODEBUDDY_CREDD_ENDPOINT: 'tcp://credd:9102',
    CODEBUDDY_STATSD_ENDPOINT: 'tcp://statsd:9103',
    CODEBUDDY_LINK_KEYS_DIR: '/run/secrets',
  });
  const refusals = async () => {
    const logs = await deployment.compose('logs', '--no-color', '--tail=all', ...OURS);
    return ['gateway', 'credd', 'statsd'].every((service) => new RegExp(`${service}_1.*link_handshake_failed`).test(logs));
  };
  await until(refusals, 'a refusal by each server');
  await assert.rejects(deployment.docker('exec', id, 'codebuddy2api-upstream-worker', '--health'), /no link to credd/);
  await deployment.docker('exec', id, 'codebuddy2api-upstream-worker', '--alive');
  const { processes } = await deployment.get('/api/processes');
  assert.equal(processes.filter(({ role }) => role === 'upstream-worker').length, 2);
  const { State } = JSON.parse(await deployment.docker('inspect', id))[0];
  assert.equal(State.Running, true); // it tries on, and nothing comes of it
  await deployment.docker('rm', '--force', id);
  // Without any keys it does not even start.
  await assert.rejects(
    deployment.docker('run', '--rm', '--env=CODEBUDDY_CREDD_ENDPOINT=tcp://credd:9102', 'codebuddy2api:latest', 'codebuddy2api-upstream-worker'),
    /need CURVE keys/,
  );
});

step('SIGTERM drains: a stream under way is whole, and everything ends with status 0', async () => {
  const stream = askStream(deployment.client(), 's:chunks?n=60&gap_ms=50', textOf(60));
  await until(async () => (await deployment.upstreamStats()).streams_now >= 1, 'the stream to run');
  await deployment.compose('stop', '--timeout', '40', 'gateway', 'upstream-worker');
  await stream;
  await deployment.compose('stop', '--timeout', '40');
  const ids = (await deployment.compose('ps', '-q', ...OURS)).split('\n').filter(Boolean);
  for (const { Name, State } of JSON.parse(await deployment.docker('inspect', ...ids))) assert.equal(State.ExitCode, 0, Name);
});
