// SPDX-License-Identifier: MIT
// The manifests of deploy/kubernetes as a cluster would get them, with secrets made for this run.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { BIN_DIR, root, secretText } from '../e2e/harness.mjs';
import { kustomize } from './kubectl.mjs';

const run = promisify(execFile);
const SOURCE = join(root, 'deploy/kubernetes');

export const parse = (text) =>
  parseAllDocuments(text).map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJS();
  });

// A copy of deploy/kubernetes with secrets, as its README makes them. close() removes it.
export class Copy {
  static async make() {
    const copy = new Copy();
    copy.dir = mkdtempSync(join(tmpdir(), 'k8'));
    copy.password = secretText('pw');
    cpSync(SOURCE, copy.dir, { recursive: true, filter: (path) => !path.endsWith('/secrets') });
    const secrets = join(copy.dir, 'base/secrets');
    await run(join(BIN_DIR, 'codebuddy2api'), ['keygen', secrets]);
    writeFileSync(join(secrets, 'password'), `${copy.password}\n`, { mode: 0o600 });
    return copy;
  }

  // A kustomization of a user's own: what its file says, as an object.
  addKustomization(name, content) {
    mkdirSync(join(this.dir, name));
    writeFileSync(join(this.dir, name, 'kustomization.yaml'), JSON.stringify(content));
  }

  async objects(name) {
    return parse(await kustomize(join(this.dir, name)));
  }

  close() {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
