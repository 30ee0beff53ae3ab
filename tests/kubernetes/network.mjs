// SPDX-License-Identifier: MIT
// What NetworkPolicies let pass, worked out as a cluster would: a pod that no policy of a direction selects is open, another
// one is open to what any of them allows.
import { component, containers, kinds, matches, workloads } from './references.mjs';

const labels = (workload) => workload.spec.template.metadata.labels;
const policiesOf = (objects, workload, direction) =>
  kinds(objects, 'NetworkPolicy').filter(({ spec }) => spec.policyTypes.includes(direction) && matches(spec.podSelector, labels(workload)));

// A peer that is a namespace's is outside.
const isPeer = (peer, workload) => !peer.namespaceSelector && !peer.ipBlock && matches(peer.podSelector, labels(workload));

const covers = ({ ports }, { name, containerPort }) => !ports || ports.some(({ port }) => port === name || port === containerPort);

function allows(objects, workload, direction, side, other, port) {
  const policies = policiesOf(objects, workload, direction);
  return (
    policies.length === 0 ||
    policies.some(({ spec }) => (spec[direction.toLowerCase()] ?? []).some((rule) => covers(rule, port) && (!rule[side] || rule[side].some((peer) => isPeer(peer, other)))))
  );
}

// "from → to:port" for all pairs of workloads that may talk.
export function allowedPairs(objects) {
  const all = workloads(objects);
  const pairs = [];
  for (const from of all)
    for (const to of all)
      for (const port of containers(to).flatMap(({ ports = [] }) => ports))
        if (allows(objects, from, 'Egress', 'to', to, port) && allows(objects, to, 'Ingress', 'from', from, port)) pairs.push(`${component(from)} → ${component(to)}:${port.name}`);
  return pairs.sort();
}

// Peers that are not of this namespace: pods of another one by their labels, addresses.
const elsewhere = (peers) =>
  peers.filter((peer) => peer.namespaceSelector || peer.ipBlock).map(({ ipBlock, podSelector }) => ipBlock?.cidr ?? Object.values(podSelector.matchLabels).join());

// What leads in from anywhere, and out of the namespace: "component ← anyone:port", "component → address:port".
export function outsideRules(objects) {
  const found = [];
  for (const workload of workloads(objects)) {
    for (const { spec } of policiesOf(objects, workload, 'Ingress'))
      for (const { from, ports } of spec.ingress ?? []) {
        const who = from ? elsewhere(from) : ['anyone'];
        for (const name of who) found.push(`${component(workload)} ← ${name}:${ports.map(({ port }) => port).join()}`);
      }
    for (const { spec } of policiesOf(objects, workload, 'Egress'))
      for (const { to, ports } of spec.egress ?? [])
        for (const name of elsewhere(to)) found.push(`${component(workload)} → ${name}:${ports.map(({ port }) => port).join()}`);
  }
  return found.sort();
}
