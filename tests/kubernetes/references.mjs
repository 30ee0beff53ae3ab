// SPDX-License-Identifier: MIT
// What objects say of one another: each function gives the problems it finds, [] if there is none.

const WORKLOADS = ['Deployment', 'StatefulSet', 'Job'];
const COMPONENT = 'app.kubernetes.io/component';

export const kinds = (objects, ...wanted) => objects.filter(({ kind }) => wanted.includes(kind));
export const named = (objects, kind, name) => objects.find((object) => object.kind === kind && object.metadata.name === name);
export const workloads = (objects) => kinds(objects, ...WORKLOADS);
export const containers = (workload) => {
  const { initContainers = [], containers: rest } = workload.spec.template.spec;
  return [...initContainers, ...rest];
};
const labelsOf = (workload) => workload.spec.template.metadata?.labels ?? {};
export const component = (workload) => labelsOf(workload)[COMPONENT];

export function matches(selector = {}, labels) {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      if (operator !== 'In') throw new Error(`operator ${operator} is not known here`);
      return values.includes(labels[key]);
    })
  );
}

const portsOf = (workload) => containers(workload).flatMap(({ ports = [] }) => ports);
const hasPort = (workload, port) => portsOf(workload).some(({ name, containerPort }) => port === name || port === containerPort);
export const settingsOf = (objects, container) => ({
  ...Object.assign({}, ...(container.envFrom ?? []).map(({ configMapRef }) => named(objects, 'ConfigMap', configMapRef.name)?.data)),
  ...Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value])),
});

// As few pods as there are at quiet times.
function fewestPods(objects, { kind, metadata, spec }) {
  const scaler = kinds(objects, 'HorizontalPodAutoscaler').find(({ spec: { scaleTargetRef } }) => scaleTargetRef.kind === kind && scaleTargetRef.name === metadata.name);
  return scaler?.spec.minReplicas ?? spec.replicas ?? 1;
}

// How many of so many pods a budget lets go at a time; Kubernetes rounds shares up.
function mayLeave({ minAvailable, maxUnavailable }, count) {
  const pods = (value) => (typeof value === 'string' ? Math.ceil((parseInt(value, 10) / 100) * count) : value);
  return maxUnavailable === undefined ? count - pods(minAvailable) : pods(maxUnavailable);
}

// Selectors of Services, workloads, budgets and spreads match pods; ports that are named exist;
// budgets let a node be drained.
export function findLooseSelectors(objects) {
  const problems = [];
  const pods = workloads(objects);
  for (const { metadata, spec } of kinds(objects, 'Service')) {
    const found = pods.filter((pod) => matches({ matchLabels: spec.selector }, labelsOf(pod)));
    if (found.length !== 1) problems.push(`Service ${metadata.name} selects ${found.length} workloads`);
    for (const pod of found)
      for (const { targetPort } of spec.ports)
        if (!hasPort(pod, targetPort)) problems.push(`Service ${metadata.name}: no port ${targetPort} in ${pod.metadata.name}`);
  }
  for (const { metadata, spec } of kinds(objects, 'PodDisruptionBudget')) {
    const found = pods.filter((pod) => matches(spec.selector, labelsOf(pod)));
    if (found.length !== 1) problems.push(`PodDisruptionBudget ${metadata.name} selects no workload`);
    for (const pod of found)
      if (mayLeave(spec, fewestPods(objects, pod)) < 1) problems.push(`PodDisruptionBudget ${metadata.name} stops every drain of a node`);
  }
  for (const pod of pods) {
    const { selector, serviceName, template } = pod.spec;
    if (selector && !matches(selector, labelsOf(pod))) problems.push(`${pod.metadata.name} does not select its own pods`);
    if (serviceName && named(objects, 'Service', serviceName)?.spec.clusterIP !== 'None') problems.push(`${pod.metadata.name}: no headless Service ${serviceName}`);
    for (const { labelSelector } of template.spec.topologySpreadConstraints ?? [])
      if (!matches(labelSelector, labelsOf(pod))) problems.push(`${pod.metadata.name} is spread by others' labels`);
  }
  for (const { metadata, spec } of kinds(objects, 'HorizontalPodAutoscaler')) {
    const target = named(objects, spec.scaleTargetRef.kind, spec.scaleTargetRef.name);
    if (!target) problems.push(`HorizontalPodAutoscaler ${metadata.name} scales nothing`);
    else if (target.spec.replicas !== undefined) problems.push(`${metadata.name}: its replicas would be set back by each apply`);
  }
  return problems;
}

function findLooseVolumes(objects, workload) {
  const problems = [];
  const { volumes = [] } = workload.spec.template.spec;
  const names = [...volumes, ...(workload.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata)].map(({ name }) => name);
  for (const { secret } of volumes.filter((volume) => volume.secret)) {
    const keys = Object.keys(named(objects, 'Secret', secret.secretName)?.data ?? {});
    if (keys.length === 0) problems.push(`no Secret ${secret.secretName}`);
    for (const { key } of secret.items ?? []) if (!keys.includes(key)) problems.push(`Secret ${secret.secretName} has no ${key}`);
  }
  const mounts = containers(workload).flatMap(({ volumeMounts = [] }) => volumeMounts);
  for (const { name } of mounts) if (!names.includes(name)) problems.push(`no volume ${name}`);
  for (const name of names) if (!mounts.some((mount) => mount.name === name)) problems.push(`nobody mounts ${name}`);
  return problems;
}

function findLooseSettings(objects, container, known) {
  const problems = [];
  for (const { configMapRef } of container.envFrom ?? [])
    if (!named(objects, 'ConfigMap', configMapRef.name)) problems.push(`no ConfigMap ${configMapRef.name}`);
  for (const name of Object.keys(settingsOf(objects, container)))
    if (!known.has(name) && !known.has(name.replace(/_FILE$/, ''))) problems.push(`no setting ${name}`);
  return problems;
}

// Volumes, Secrets, ConfigMaps, settings, programs and ports of probes exist. `settings`: a Set of names; `programs`: likewise.
export function findLoosePods(objects, { settings, programs }) {
  return workloads(objects).flatMap((workload) => {
    const problems = findLooseVolumes(objects, workload);
    for (const container of containers(workload)) {
      problems.push(...findLooseSettings(objects, container, settings));
      if (!programs.has(container.command[0])) problems.push(`no program ${container.command[0]}`);
      for (const probe of probes(container)) {
        if (probe.httpGet && !(container.ports ?? []).some(({ name }) => name === probe.httpGet.port)) problems.push(`no port ${probe.httpGet.port} to probe`);
        if (probe.exec && !programs.has(probe.exec.command[0])) problems.push(`no program ${probe.exec.command[0]} to probe with`);
      }
    }
    return problems.map((problem) => `${workload.metadata.name}: ${problem}`);
  });
}

export const probes = ({ startupProbe, livenessProbe, readinessProbe }) => [startupProbe, livenessProbe, readinessProbe].filter(Boolean);

// …_ENDPOINT(S) of the shared settings lead to a Service whose pods listen where …_BIND says.
export function findLooseLinks(objects) {
  const problems = [];
  for (const workload of workloads(objects)) {
    for (const container of containers(workload)) {
      const settings = settingsOf(objects, container);
      for (const link of ['GATEWAY', 'CREDD', 'STATSD']) {
        const endpoint = settings[`CODEBUDDY_${link}_ENDPOINT`] ?? settings[`CODEBUDDY_${link}_ENDPOINTS`];
        if (!endpoint) continue;
        const { hostname, port } = new URL(endpoint.replace(/^tcp:/, 'http:'));
        const service = named(objects, 'Service', hostname);
        const pod = service && workloads(objects).find((other) => matches({ matchLabels: service.spec.selector }, labelsOf(other)));
        if (!service?.spec.ports.some((one) => one.port === Number(port)) || service.spec.clusterIP !== 'None') problems.push(`no headless Service for ${endpoint}`);
        else if (!hasPort(pod, Number(port))) problems.push(`${pod.metadata.name} does not have port ${port}`);
        else if (component(pod) !== link.toLowerCase()) problems.push(`${endpoint} leads to ${component(pod)}`);
        if (!settings[`CODEBUDDY_${link}_BIND`].endsWith(`:${port}`)) problems.push(`${link} is bound elsewhere than ${endpoint}`);
      }
    }
  }
  return problems;
}

// What a restricted namespace asks for (Pod Security Standards), a read-only root, nothing of the cluster's own, and
// time enough to drain.
export function findLaxPods(objects) {
  return workloads(objects).flatMap((workload) => {
    const problems = [];
    const pod = workload.spec.template.spec;
    const need = (is, what) => is || problems.push(`${workload.metadata.name}: ${what}`);
    need(pod.securityContext?.runAsNonRoot === true && pod.securityContext.runAsUser > 0, 'may be root');
    need(pod.securityContext?.seccompProfile?.type === 'RuntimeDefault', 'no seccomp profile');
    need(pod.automountServiceAccountToken === false, "has the cluster's token");
    need(pod.enableServiceLinks === false, "has Services' variables");
    need(!pod.hostNetwork && !pod.hostPID && !pod.hostIPC, "is in the host's namespaces");
    for (const volume of pod.volumes ?? []) need(!volume.hostPath, 'mounts a path of the host');
    for (const container of containers(workload)) {
      const { securityContext: context = {}, resources = {}, lifecycle } = container;
      need(context.readOnlyRootFilesystem === true, `${container.name} may write its root`);
      need(context.allowPrivilegeEscalation === false && !context.privileged, `${container.name} may gain privileges`);
      need(context.capabilities?.drop?.includes('ALL') && !context.capabilities.add, `${container.name} has capabilities`);
      need(resources.requests?.cpu && resources.requests.memory && resources.limits?.memory, `${container.name} has no resources`);
      const drain = Number(settingsOf(objects, container).CODEBUDDY_DRAIN_S);
      if (workload.kind !== 'Job' && component(workload) === container.name)
        need(pod.terminationGracePeriodSeconds >= drain + (lifecycle?.preStop.sleep.seconds ?? 0) + 5, 'is killed before it has drained');
    }
    return problems;
  });
}
