// SPDX-License-Identifier: MIT
// The demo's pods, run by podman as far as it can (play.mjs): they find one another over CURVE, serve completions, are
// locked up as the manifests say, and workers come and go without a failed request.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { user } from '../e2e/harness.mjs';
import { Copy } from './manifests.mjs';
import { Podman } from './play.mjs';
import { component, containers, named, probes, workloads } from './references.mjs';

const PODS = [['StatefulSet', 'credd'], ['StatefulSet', 'statsd'], ['Deployment', 'gateway'], ['Deployment', 'upstream-worker']];
let podman;
let copy;
let objects;
let client;
let statsd;

// Asked again until it is so, as a kubelet asks its probes.
async function until(what, ask, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  do {
    last = await ask().catch((error) => error);
    if (last === true) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  } while (Date.now() < deadline);
  assert.fail(`${what}: ${last}`);
}
const ready = async () => {
  const answer = await fetch(`http://${statsd}:8002/readyz`);
  return answer.status === 200 || (await answer.text());
};
const workersOf = async (count) => {
  const page = await (await fetch(`http://${statsd}:8002/metrics`)).text();
  const found = /^codebuddy2api_workers_ready\{.*\} (\d+)/m.exec(page)?.[1];
  return Number(found) === count || `${found} workers`;
};
const ask = (stream = false) => client.chat.completions.create({ model: 'gpt-5', messages: [user()], stream });

before(async () => {
  copy = await Copy.make();
  objects = await copy.objects('demo');
  podman = await Podman.make();
  await podman.makeImages();
  await podman.prepare(objects);
  for (const [kind, name] of PODS) await podman.start(named(objects, kind, name), name);
  statsd = await podman.address('statsd');
  const gateway = `http://${await podman.address('gateway')}:8001`;
  client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: copy.password, maxRetries: 0 });
  await until('the gateway answers', async () => (await fetch(gateway)).status === 200);
});

after(async () => {
  await podman?.close();
  copy?.close();
});

test('a credential is added as the README says; then the deployment is ready', async () => {
  const file = JSON.stringify({ bearer_token: 'demo-token', user_id: 'demo' });
  await podman.run(['exec', '-i', 'gateway-gateway', 'codebuddy2api-admin', 'credentials', 'add', '-'], { input: file });
  await until('ready', ready);
});

test('completions, plain and streamed', async () => {
  const plain = await ask();
  assert.ok(plain.choices[0].message.content.length > 0);
  let text = '';
  for await (const chunk of await ask(true)) text += chunk.choices[0]?.delta.content ?? '';
  assert.equal(text, plain.choices[0].message.content);
});

test('each process is locked up as its manifest says', async () => {
  for (const [, name] of PODS) {
    const status = await podman.processStatus(name, name);
    assert.match(status.Uid, /^10001\b/, name);
    assert.match(status.Gid, /^10001\b/, name);
    assert.equal(Number(`0x${status.CapEff}`) | Number(`0x${status.CapPrm}`), 0, name);
    assert.equal(status.NoNewPrivs, '1', name);
    assert.equal((await podman.container(name, name)).HostConfig.ReadonlyRootfs, true, name);
    assert.doesNotMatch(await podman.logs(name, name), /"level":"(ERROR|WARNING)".*"event":"(link_keys_open|bad_link_keys|no_health_file|ledger_failing)"/, name);
  }
});

test('probes that are commands', async () => {
  for (const workload of workloads(objects).filter((one) => component(one) !== 'demo-credential'))
    for (const container of containers(workload))
      for (const { exec } of probes(container))
        if (exec) await until(exec.command.join(' '), async () => (await podman.run(['exec', `${component(workload)}-${container.name}`, ...exec.command])) !== undefined);
});

test('workers come and go: no request fails', async () => {
  await podman.start(named(objects, 'Deployment', 'upstream-worker'), 'upstream-worker-2');
  await until('the second is found', () => workersOf(2));
  let stopped = false;
  // The worker alone: in a cluster its sidecar, the stand-in, ends after it, which podman's pods do not know.
  const stop = podman.run(['stop', '--time', '130', 'upstream-worker-upstream-worker']).finally(() => (stopped = true));
  let answered = 0;
  while (!stopped || answered < 20) {
    assert.ok((await ask()).choices[0].message.content.length > 0);
    answered++;
  }
  await stop;
  await until('the first is gone', () => workersOf(1));
  assert.ok((await ask()).choices[0].message.content.length > 0);
});
