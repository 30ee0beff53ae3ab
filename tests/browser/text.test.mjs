// SPDX-License-Identifier: MIT
// The page's texts, read from its sources: both languages have the same keys and the same places, every key that is
// asked for exists, and none is left over. Needs no browser.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const src = resolve(dirname(fileURLToPath(import.meta.url)), '../../gateway/web/src');
const files = readdirSync(src, { recursive: true }).filter((name) => name.endsWith('.js'));

const texts = { en: {}, zh: {} };
for (const file of files.filter((name) => name.endsWith('text.js')))
  for (const [part, both] of Object.entries(await import(pathToFileURL(join(src, file)))))
    for (const tongue of ['en', 'zh']) for (const [key, text] of Object.entries(both[tongue])) texts[tongue][`${part}.${key}`] = text;

const places = (text) => [...new Set(Object.values(typeof text === 'string' ? { text } : text).flatMap((one) => one.match(/\{\w+\}/g) ?? []))].sort();
const sources = files.filter((name) => !name.endsWith('text.js')).map((name) => readFileSync(join(src, name), 'utf8')).join('\n');

test('both languages have the same keys, places and plurals', () => {
  assert.deepEqual(Object.keys(texts.en).sort(), Object.keys(texts.zh).sort());
  assert.ok(Object.keys(texts.en).length > 100);
  for (const key of Object.keys(texts.en)) {
    assert.deepEqual(places(texts.en[key]), places(texts.zh[key]), key);
    for (const tongue of ['en', 'zh']) {
      const text = texts[tongue][key];
      const forms = typeof text === 'string' ? { text } : text;
      assert.ok(typeof text === 'string' || 'other' in text, `${tongue} ${key} has no form 'other'`);
      for (const form of Object.values(forms)) assert.ok(form.trim().length > 0, `${tongue} ${key} is empty`);
    }
    const hasHan = /\p{Script=Han}/u;
    assert.ok(!hasHan.test(JSON.stringify(texts.en[key])), `${key} is Chinese in English`);
  }
});

test('every key that is asked for exists, and every key is asked for', () => {
  // Keys stand in the sources as 'part.key', or as a template `part.start_${…}` which may ask for all that begin so.
  const parts = [...new Set(Object.keys(texts.en).map((key) => key.split('.')[0]))].join('|');
  const whole = new Set([...sources.matchAll(new RegExp(`['"\`]((?:${parts})\\.\\w+)['"\`]`, 'g'))].map(([, key]) => key));
  const starts = [...sources.matchAll(new RegExp(`\`((?:${parts})\\.\\w*)\\$\\{`, 'g'))].map(([, start]) => start);
  const titles = [...sources.matchAll(/\{ name: '(\w+)', icon:/g)].map(([, name]) => `${name}.title`);
  for (const key of [...whole, ...titles]) assert.ok(key in texts.en, `no text ${key}`);
  for (const start of starts) assert.ok(Object.keys(texts.en).some((key) => key.startsWith(start)), `no text begins with ${start}`);
  // A template that names only its part, `part.${…}`, gets the rest from a word somewhere, with or without an ending.
  const isWord = (key) => starts.includes(`${key.split('.')[0]}.`) && new RegExp(`'${key.split('.')[1].replace(/_text$/, '')}'|\\b${key.split('.')[1]}: '`).test(sources);
  const isBegun = (key) => starts.some((start) => !start.endsWith('.') && key.startsWith(start));
  const unused = Object.keys(texts.en).filter((key) => !whole.has(key) && !titles.includes(key) && !isBegun(key) && !isWord(key));
  assert.deepEqual(unused, []);
});

test('no sentence stands in the sources themselves', () => {
  // What is between tags in a template and is words, not ${…}: it would be shown in one language only.
  const bare = [...sources.matchAll(/html`([^`]*)`/g)].flatMap(([, template]) => [...template.replace(/\$\{[^}]*\}/g, '').matchAll(/>\s*([A-Za-z][^<>$={}]{3,})</g)].map(([, text]) => text.trim()));
  assert.deepEqual(bare.filter((text) => !['codebuddy2api'].includes(text)), []);
});
