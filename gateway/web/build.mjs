// SPDX-License-Identifier: MIT
// Makes the directory that the gateway serves: node build.mjs --modules DIR --out DIR
// One bundle of what is in src/, names that change with the content, .br and .gz beside each file, and the
// manifest (gateway/assets.h). The same input gives the same bytes. Needs node 18 and what package.json names.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { modules: { type: 'string' }, out: { type: 'string' } } });
if (!values.modules || !values.out) {
  console.error('usage: node build.mjs --modules DIR --out DIR');
  process.exit(64);
}
const modules = resolve(values.modules);
const out = resolve(values.out);
const esbuild = createRequire(join(modules, 'package.json'))('esbuild');

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const files = new Map(); // name → bytes
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

// Adds a file under a name that tells its content; that name.
function addHashed(name, bytes) {
  const ext = extname(name);
  const hashed = `${basename(name, ext)}-${digest(bytes).slice(0, 10)}${ext}`;
  files.set(hashed, bytes);
  return hashed;
}

async function bundle() {
  const result = await esbuild.build({
    absWorkingDir: here,
    entryPoints: { main: 'src/main.js', boot: 'src/boot.js', style: 'src/style/index.css' },
    bundle: true,
    splitting: true,
    format: 'esm',
    minify: true,
    charset: 'utf8',
    target: ['chrome123', 'firefox121', 'safari17.5'],
    legalComments: 'none',
    entryNames: '[name]-[hash]',
    chunkNames: 'part-[hash]',
    outdir: '/',
    nodePaths: [join(modules, 'node_modules')],
    metafile: true,
    write: false,
    logLevel: 'warning',
  });
  for (const file of result.outputFiles) files.set(basename(file.path), Buffer.from(file.contents));
  return result.metafile.outputs;
}

// What the page must load before it can run, found by following imports that are not `import()`.
function staticParts(outputs, entry) {
  const parts = new Set();
  const follow = (path) => {
    for (const { path: next, kind } of outputs[path].imports)
      if (kind === 'import-statement' && !parts.has(next)) {
        parts.add(next);
        follow(next);
      }
  };
  follow(entry);
  return [...parts].map((path) => basename(path));
}

const outputs = await bundle();
const outputOf = (entry) => Object.keys(outputs).find((path) => outputs[path].entryPoint === entry);
const main = outputOf('src/main.js');
const names = {
  main: basename(main),
  boot: basename(outputOf('src/boot.js')),
  style: basename(outputOf('src/style/index.css')),
  icon: addHashed('icon.svg', readFileSync(join(here, 'static/icon.svg'))),
};
const preloads = staticParts(outputs, main).map((name) => `<link rel="modulepreload" href="/assets/${name}">`);
const page = readFileSync(join(here, 'index.html'), 'utf8')
  .replace('<!--preload-->', preloads.join('\n'))
  .replace(/\{\{(\w+)\}\}/g, (whole, name) => `/assets/${names[name]}`);
files.set('index.html', Buffer.from(page));

// Into a new directory, which then takes the place of the old one: nobody reads half a page.
const fresh = `${out}.new`;
rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });
let compressed = 0;
const manifest = [];
for (const [name, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
  const gz = gzipSync(bytes, { level: 9 });
  writeFileSync(join(fresh, name), bytes);
  if (br.length < bytes.length) writeFileSync(join(fresh, `${name}.br`), br);
  if (gz.length < bytes.length) writeFileSync(join(fresh, `${name}.gz`), gz);
  compressed += Math.min(bytes.length, gz.length);
  manifest.push({ name, type: TYPES[extname(name)], digest: digest(bytes) });
}
writeFileSync(join(fresh, 'manifest.json'), `${JSON.stringify({ files: manifest }, null, 1)}\n`);
rmSync(out, { recursive: true, force: true });
renameSync(fresh, out);
console.log(`${out}: ${readdirSync(out).length} files, ${(compressed / 1024).toFixed(1)} KiB as gzip`);
