// SPDX-License-Identifier: MIT
// deploy/kubernetes as kustomize makes it: right by Kubernetes' schemas, right in what objects say of one another, and
// nothing open that need not be. Each check is also shown a fault that it must find.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { BIN_DIR, credential, root, startSystem } from '../e2e/harness.mjs';
import { Copy, parse } from './manifests.mjs';
import { allowedPairs, outsideRules } from './network.mjs';
import { containers, findLaxPods, findLooseLinks, findLoosePods, findLooseSelectors, kinds, named, probes, workloads } from './references.mjs';
import { findSchemaProblems } from './schema.mjs';

const run = promisify(execFile);
const variants = {};
let copy;
let known;

before(async () => {
  copy = await Copy.make();
  copy.addKustomization('own', { resources: ['../base'], components: ['../autoscaler'] });
  for (const name of ['base', 'demo', 'own']) variants[name] = await copy.objects(name);
  const { stdout } = await run(join(BIN_DIR, 'proto_table'), ['settings']);
  known = { settings: new Set(stdout.match(/CODEBUDDY_\w+/g)), programs: new Set(readdirSync(BIN_DIR)) };
});

after(() => copy?.close());

// A variant with one thing changed.
function changed(change, name = 'base') {
  const objects = structuredClone(variants[name]);
  change(objects);
  return objects;
}
const gatewayPod = (objects) => named(objects, 'Deployment', 'gateway').spec.template.spec;

const checks = { findLooseSelectors, findLoosePods: (objects) => findLoosePods(objects, known), findLooseLinks, findLaxPods };

for (const name of ['base', 'demo', 'own'])
  test(`${name}: references, limits`, () => {
    for (const check of Object.values(checks)) assert.deepEqual(check(variants[name]), [], check.name);
  });

// What, an object with that fault, what is said of it.
const wrong = [
  ['an unknown field', (o) => (gatewayPod(o).containers[0].imag = 'x'), /imag/],
  ['an unknown field of a field', (o) => (gatewayPod(o).containers[0].readinessProbe.httpGet.pth = '/'), /pth/],
  ['a value of another type', (o) => (named(o, 'Deployment', 'gateway').spec.replicas = 'two'), /replicas/],
  ['a field that is missing', (o) => delete named(o, 'Deployment', 'gateway').spec.selector, /selector/],
  ['a kind that there is not', (o) => (named(o, 'Deployment', 'gateway').kind = 'Deploiment'), /no such kind/],
];

// All in one go: most of the time is the compiler's start.
test('schemas', async () => {
  const faulty = wrong.map(([what, change]) => {
    const objects = structuredClone(variants.base);
    const object = named(objects, 'Deployment', 'gateway');
    change(objects);
    object.metadata.name = what;
    return object;
  });
  const problems = await findSchemaProblems([...Object.values(variants).flat(), ...faulty]);
  for (const [what, , pattern] of wrong) assert.match(problems.filter((problem) => problem.includes(` ${what}:`)).join('\n'), pattern);
  assert.deepEqual(problems.filter((problem) => !wrong.some(([what]) => problem.includes(` ${what}:`))), []);
});

const faults = [
  ['a Service without pods', 'findLooseSelectors', (o) => (named(o, 'Service', 'credd').spec.selector['app.kubernetes.io/component'] = 'cred'), /selects 0/],
  ['a port without a name', 'findLooseSelectors', (o) => (named(o, 'Service', 'gateway').spec.ports[0].targetPort = 'web'), /no port web/],
  ['a budget of nobody', 'findLooseSelectors', (o) => (named(o, 'PodDisruptionBudget', 'gateway').spec.selector.matchLabels.x = 'y'), /selects no workload/],
  ['a budget that stops a drain', 'findLooseSelectors', (o) => (named(o, 'PodDisruptionBudget', 'gateway').spec = { ...named(o, 'PodDisruptionBudget', 'gateway').spec, maxUnavailable: undefined, minAvailable: '75%' }), /stops every drain/, 'own'],
  ['a budget of the only pod', 'findLooseSelectors', (o) => (named(o, 'PodDisruptionBudget', 'gateway').spec = { minAvailable: 1, selector: named(o, 'StatefulSet', 'credd').spec.selector }), /stops every drain/],
  ['replicas beside an autoscaler', 'findLooseSelectors', (o) => (named(o, 'Deployment', 'gateway').spec.replicas = 2), /set back/, 'own'],
  ['a setting that there is not', 'findLoosePods', (o) => gatewayPod(o).containers[0].env.push({ name: 'CODEBUDDY_PROT', value: '1' }), /CODEBUDDY_PROT/],
  ['a Secret that there is not', 'findLoosePods', (o) => (gatewayPod(o).volumes[0].secret.secretName = 'gatway'), /no Secret gatway/],
  ['a probe of no port', 'findLoosePods', (o) => (gatewayPod(o).containers[0].livenessProbe.httpGet.port = 'ops'), /no port ops/],
  ['a program that there is not', 'findLoosePods', (o) => (gatewayPod(o).containers[0].command = ['codebuddy2api-gatway']), /no program/],
  ['a link to nowhere', 'findLooseLinks', (o) => (kinds(o, 'ConfigMap')[0].data.CODEBUDDY_CREDD_ENDPOINT = 'tcp://cred:9102'), /no headless Service/],
  ['a link to another port', 'findLooseLinks', (o) => (kinds(o, 'ConfigMap')[0].data.CODEBUDDY_STATSD_BIND = 'tcp://*:9104'), /bound elsewhere/],
  ['a root that may be written', 'findLaxPods', (o) => (gatewayPod(o).containers[0].securityContext.readOnlyRootFilesystem = false), /may write/],
  ['too little time to drain', 'findLaxPods', (o) => (gatewayPod(o).terminationGracePeriodSeconds = 125), /killed before/],
];

for (const [what, check, change, pattern, variant] of faults)
  test(`found: ${what}`, () => assert.match(checks[check](changed(change, variant)).join('\n'), pattern));

// The links of ARCHITECTURE.md, and nothing else.
const LINKS = [
  'credd → statsd:links', 'gateway → credd:links', 'gateway → statsd:links', 'statsd → credd:links',
  'upstream-worker → credd:links', 'upstream-worker → gateway:links', 'upstream-worker → statsd:links',
];
const NAMES = ['credd', 'gateway', 'statsd', 'upstream-worker'].map((who) => `${who} → kube-dns:53,53`);
const UPSTREAM = ['credd', 'upstream-worker'].flatMap((who) => [`${who} → 0.0.0.0/0:443`, `${who} → ::/0:443`]);

test('who may talk to whom', () => {
  assert.deepEqual(allowedPairs(variants.base), LINKS);
  assert.deepEqual(allowedPairs(variants.demo), [...LINKS, 'demo-credential → gateway:http'].sort());
  assert.deepEqual(outsideRules(variants.base), ['gateway ← anyone:http', 'statsd ← prometheus:ops', ...NAMES, ...UPSTREAM].sort());
  const open = changed((o) => delete named(o, 'NetworkPolicy', 'credd').spec.ingress[0].from);
  const unnamed = changed((o) => (named(o, 'NetworkPolicy', 'names').spec.podSelector = { matchLabels: { 'app.kubernetes.io/component': 'credd' } }));
  assert.deepEqual(outsideRules(unnamed).filter((rule) => rule.includes('dns')), [NAMES[0]]);
  assert.deepEqual(allowedPairs(open), LINKS, 'who leaves for it is still refused');
  named(open, 'NetworkPolicy', 'statsd').spec.egress.push({});
  assert.ok(allowedPairs(open).includes('statsd → upstream-worker:links') === false && allowedPairs(open).includes('statsd → gateway:http'));
});

test('a process has its own key and no other, and the gateway alone the password', () => {
  for (const workload of workloads(variants.base)) {
    const secrets = workload.spec.template.spec.volumes.filter(({ secret }) => secret).map(({ secret }) => named(variants.base, 'Secret', secret.secretName));
    const more = workload.metadata.name === 'gateway' ? ['password'] : [];
    assert.deepEqual(secrets.flatMap(({ data }) => Object.keys(data)).sort(), [`${workload.metadata.name}.keys`, ...more]);
  }
});

test('no secret is committed', async () => {
  const { stdout } = await run('git', ['-C', root, 'ls-files', 'deploy/kubernetes']);
  const paths = stdout.trim().split('\n');
  assert.ok(paths.length > 5);
  for (const path of paths) assert.doesNotMatch(path, /secrets\//);
  for (const path of paths) assert.doesNotMatch(readFileSync(join(root, path), 'utf8'), /^kind: Secret$/m, path);
});

test('what a running system answers to the probes', async () => {
  const system = await startSystem({ credentials: { one: credential('one') } });
  try {
    const ask = { http: (path) => system.fetch(path, { headers: { authorization: '' } }), ops: (path) => system.ops(path) };
    const paths = workloads(variants.base).flatMap(containers).flatMap(probes).filter(({ httpGet }) => httpGet);
    assert.ok(paths.length >= 5);
    for (const { httpGet } of paths) {
      const deadline = Date.now() + 60000; // as a kubelet: asked until it is so; what is connected is reported once a second
      let answer;
      do answer = await ask[httpGet.port](httpGet.path);
      while (answer.status === 503 && Date.now() < deadline);
      assert.equal(answer.status, 200, `${httpGet.port} ${httpGet.path}: ${await answer.text()}`);
    }
  } finally {
    await system.stop();
  }
});

test("autoscalers ask for what statsd tells, through the adapter's rule", () => {
  const [adapter] = parse(readFileSync(join(root, 'deploy/kubernetes/autoscaler/prometheus-adapter.yaml'), 'utf8'));
  const rule = JSON.stringify(adapter.externalRules);
  const help = readFileSync(join(root, 'statsd/metric_help.c'), 'utf8');
  const scalers = kinds(variants.own, 'HorizontalPodAutoscaler');
  assert.equal(scalers.length, 2);
  for (const { metadata, spec } of scalers) {
    const { metric } = spec.metrics.find(({ type }) => type === 'External').external;
    assert.ok(help.includes(`"${metric.name}"`) && rule.includes(metric.name), metric.name);
    assert.equal(metric.selector.matchLabels.role, metadata.name);
    assert.ok(rule.includes(metadata.name));
    assert.ok(spec.minReplicas >= 2);
  }
});
