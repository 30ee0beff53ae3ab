// SPDX-License-Identifier: MIT
// Kubernetes' schemas, as the package kubernetes-models has them: its validators (ajv) for types, formats and what is
// required, its declarations for names, which the validators let pass: the compiler refuses a literal with an unknown one.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = dirname(fileURLToPath(import.meta.url));
const NAME = join(here, 'manifests-as-literals.ts'); // only in memory; its place decides which node_modules count

// networking.k8s.io/v1, Ingress → its folder in the package.
const folder = ({ apiVersion }) => `kubernetes-models/${apiVersion}`;
const title = ({ kind, metadata }) => `${kind} ${metadata?.name}`;

// kustomize breaks long base64 into lines, as Kubernetes allows; the validators' pattern for it does not.
const unwrapped = (object) =>
  object.kind === 'Secret' ? { ...object, data: Object.fromEntries(Object.entries(object.data).map(([key, text]) => [key, text.replaceAll('\n', '')])) } : object;

async function findBadValues(object) {
  const model = (await import(folder(object)))[object.kind];
  if (!model) return [`${title(object)}: no such kind`];
  try {
    new model(unwrapped(object)).validate();
    return [];
  } catch (error) {
    return [`${title(object)}: ${error.message}`];
  }
}

// One literal a line: the line of a complaint says whose it is. Kinds without a model are the validators' to refuse.
function findUnknownNames(objects) {
  const text = objects
    .map((object, i) => `import type { I${object.kind} as T${i} } from "${folder(object)}/${object.kind}"; export const o${i}: T${i} = ${JSON.stringify(object)};`)
    .join('\n');
  const options = { strict: true, noEmit: true, skipLibCheck: true, types: [], module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.getSourceFile = (name, ...rest) => (name === NAME ? ts.createSourceFile(name, text, ts.ScriptTarget.Latest) : getSourceFile(name, ...rest));
  host.fileExists = (name) => name === NAME || fileExists(name);
  return ts.getPreEmitDiagnostics(ts.createProgram([NAME], options, host)).map(({ file, start, messageText }) => {
    const line = file?.fileName === NAME ? file.getLineAndCharacterOfPosition(start).line : -1;
    return `${line >= 0 ? title(objects[line]) : (file?.fileName ?? 'schemas')}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

// What is wrong with the objects; [] if nothing is.
export async function findSchemaProblems(objects) {
  const bad = await Promise.all(objects.map(findBadValues));
  return [...bad.flat(), ...findUnknownNames(objects)];
}
