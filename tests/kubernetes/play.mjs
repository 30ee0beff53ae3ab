// SPDX-License-Identifier: MIT
// Runs the manifests' pods with podman. What podman 4.3 does not do is done here as a cluster would: fsGroup for volumes,
// names of Services (network aliases), volumes of claims, sidecars (run beside the rest), named ports of probes; and it
// would publish every port on the host, so ports are left out.
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { BIN_DIR, root } from '../e2e/harness.mjs';
import { kinds, matches, probes } from './references.mjs';

const CONFIGURATION = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;
const PROGRAMS = ['codebuddy2api', ...['gateway', 'upstream-worker', 'credd', 'statsd', 'admin', 'upstream'].map((name) => `codebuddy2api-${name}`)];
const IMAGES = ['codebuddy2api', 'codebuddy2api-standin'];

// As the kubelet does for fsGroup: the group gets what the owner has.
function shareWithGroup(path, group) {
  const { mode } = statSync(path);
  chownSync(path, 0, group);
  if (statSync(path).isDirectory()) {
    chmodSync(path, 0o2770);
    for (const name of readdirSync(path)) shareWithGroup(join(path, name), group);
  } else {
    chmodSync(path, (mode & 0o700) | 0o440);
  }
}

export class Podman {
  static async make() {
    const podman = new Podman();
    podman.dir = mkdtempSync(join(tmpdir(), 'pm'));
    podman.network = `cb${process.pid}`;
    writeFileSync(join(podman.dir, 'containers.conf'), CONFIGURATION);
    await podman.run(['network', 'create', podman.network]);
    return podman;
  }

  // Standard output, or an error with all that was said.
  run(args, { input = '', program = 'podman', withComplaints = false } = {}) {
    const own = program === 'podman' ? ['--root', join(this.dir, 'storage'), '--runroot', join(this.dir, 'run')] : [];
    const child = spawn(program, [...own, ...args], { env: { ...process.env, CONTAINERS_CONF: join(this.dir, 'containers.conf') } });
    let out = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (complaints += text));
    child.stdin.on('error', () => {}).end(input);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => (code === 0 ? resolve(withComplaints ? out + complaints : out) : reject(new Error(`${program} ${args.join(' ')}: ${code}\n${out}${complaints}`))));
    });
  }

  // The image without Docker: the programs as built, with the same root directory that deploy/Dockerfile makes.
  async makeImages() {
    const image = join(this.dir, 'image');
    const tar = join(this.dir, 'image.tar');
    await this.run([join(root, 'deploy/container/root'), image, ...PROGRAMS.map((name) => join(BIN_DIR, name))], { program: 'sh' });
    mkdirSync(join(image, 'usr/share/codebuddy2api'), { recursive: true });
    await this.run(['-r', join(root, 'deploy/sites'), join(image, 'usr/share/codebuddy2api/sites')], { program: 'cp' });
    await this.run(['-C', image, '-cf', tar, '.'], { program: 'tar' });
    const variables = ['PATH=/usr/bin', 'CODEBUDDY_SITES_DIR=/usr/share/codebuddy2api/sites', 'CODEBUDDY_RUN_DIR=/run/codebuddy2api'];
    const [first, ...others] = IMAGES.map((name) => `localhost/${name}:latest`);
    await this.run(['import', ...variables.flatMap((text) => ['-c', `ENV ${text}`]), tar, first]);
    for (const name of others) await this.run(['tag', first, name]);
  }

  // Secrets and settings, which all pods share. podman 4.3 hands on a Secret's data as they stand, so they stand decoded.
  async prepare(objects) {
    this.objects = objects.map((object) => ({ ...object, metadata: { ...object.metadata, namespace: undefined } }));
    for (const secret of kinds(this.objects, 'Secret')) {
      const data = Object.fromEntries(Object.entries(secret.data).map(([key, text]) => [key, Buffer.from(text, 'base64').toString()]));
      const file = join(this.dir, 'secret');
      writeFileSync(file, stringify({ ...secret, data }), { mode: 0o600 });
      await this.run(['secret', 'create', secret.metadata.name, file]);
      rmSync(file);
    }
  }

  // One pod of a workload, under a name of its own.
  async start(workload, name) {
    const { volumeClaimTemplates = [], template } = structuredClone(workload.spec);
    const { initContainers = [], ...spec } = template.spec;
    spec.containers = [...initContainers.map(({ restartPolicy, ...sidecar }) => sidecar), ...spec.containers];
    for (const container of spec.containers) {
      for (const { httpGet } of probes(container)) if (httpGet) httpGet.port = container.ports.find((port) => port.name === httpGet.port).containerPort;
      delete container.ports;
    }
    // A volume's name is a pod's own in Kubernetes, and all pods' in podman.
    for (const volume of [...spec.volumes, ...spec.containers.flatMap(({ volumeMounts = [] }) => volumeMounts)]) volume.name = `${name}-${volume.name}`;
    for (const { secret } of spec.volumes) if (secret) secret.optional = false; // podman 4.3 ends without it
    for (const { metadata } of volumeClaimTemplates) spec.volumes.push({ name: `${name}-${metadata.name}`, persistentVolumeClaim: { claimName: `${name}-${metadata.name}` } });
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: template.metadata.labels }, spec };
    const file = join(this.dir, `${name}.yaml`);
    writeFileSync(file, [...kinds(this.objects, 'ConfigMap'), pod].map((object) => stringify(object)).join('---\n'));
    const services = kinds(this.objects, 'Service').filter((service) => matches({ matchLabels: service.spec.selector }, template.metadata.labels));
    const aliases = services.filter(({ metadata }) => metadata.name !== name).map(({ metadata }) => `alias=${metadata.name}`);
    await this.run(['kube', 'play', '--start=false', '--network', [this.network, aliases.join()].filter(Boolean).join(':'), file]);
    for (const { Name, Mountpoint } of JSON.parse(await this.run(['volume', 'inspect', '--all'])))
      if (!this.shared.has(Name)) {
        shareWithGroup(Mountpoint, spec.securityContext.fsGroup);
        this.shared.add(Name);
      }
    await this.run(['pod', 'start', name]);
  }
  shared = new Set();

  async container(pod, name) {
    return JSON.parse(await this.run(['inspect', `${pod}-${name}`]))[0];
  }

  async address(pod) {
    const { infra } = JSON.parse(await this.run(['pod', 'inspect', pod])).Containers.reduce((found, one) => ({ infra: one.Name.endsWith('-infra') ? one.Id : found.infra }), {});
    return JSON.parse(await this.run(['inspect', infra]))[0].NetworkSettings.Networks[this.network].IPAddress;
  }

  // As the kernel has it: /proc/PID/status of a container's process.
  async processStatus(pod, name) {
    const { State } = await this.container(pod, name);
    return Object.fromEntries(readFileSync(`/proc/${State.Pid}/status`, 'utf8').split('\n').map((line) => line.split(/:\s*/)));
  }

  logs(pod, name) {
    return this.run(['logs', `${pod}-${name}`], { withComplaints: true });
  }

  async close() {
    await this.run(['pod', 'stop', '--all', '--time', '30']); // killing at once, podman 4.3 trips over who just ended
    await this.run(['pod', 'rm', '--all', '--force']);
    await this.run(['network', 'rm', '--force', this.network]);
    await this.run(['rmi', '--all', '--force']);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

