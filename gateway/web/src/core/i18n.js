// SPDX-License-Identifier: MIT
// Texts in English and Chinese. Each part of the page brings its own (text.js) and adds it here. A text is a string
// with {name} where something is put in, or { one, other } chosen by `n`. tests/browser/text.test.mjs
// checks that both languages have the same keys and places, and that every key that is asked for exists.
import { effect, signal } from '@preact/signals';
import { preference } from './store.js';

export const LANGUAGES = ['system', 'en', 'zh'];
export const [languageChoice, chooseLanguage] = preference('language', LANGUAGES);
// What the page speaks now: 'en' or 'zh'.
export const language = signal('en');

const texts = { en: {}, zh: {} };

// The first of the browser's languages that we have.
function browserLanguage() {
  for (const tag of navigator.languages ?? [navigator.language])
    for (const ours of ['zh', 'en']) if (tag?.toLowerCase().startsWith(ours)) return ours;
  return 'en';
}

effect(() => {
  const choice = languageChoice.value;
  language.value = choice === 'system' ? browserLanguage() : choice;
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});

// addTexts('keys', { en: { title: 'Keys' }, zh: { title: '密钥' } }) makes t('keys.title').
export function addTexts(part, both) {
  for (const tongue of ['en', 'zh'])
    for (const [key, text] of Object.entries(both[tongue])) texts[tongue][`${part}.${key}`] = text;
}

function find(key, params) {
  const text = texts[language.value][key];
  if (text === undefined) throw new Error(`no text ${key} in ${language.value}`);
  if (typeof text === 'string') return text;
  return text[new Intl.PluralRules(language.value).select(params.n)] ?? text.other;
}

export const hasText = (key) => texts[language.value][key] !== undefined;

// Numbers in `params` are written in the language's way.
export function t(key, params = {}) {
  return tx(key, params).join('');
}

// The same as a list of pieces, so that what is put in may be an element: tx('first.step', { code: html`<code>…` }).
export function tx(key, params = {}) {
  return find(key, params)
    .split(/(\{\w+\})/)
    .map((piece) => {
      const name = /^\{(\w+)\}$/.exec(piece)?.[1];
      if (!name) return piece;
      const value = params[name];
      return typeof value === 'number' ? value.toLocaleString(locale()) : value;
    });
}

export const locale = () => (language.value === 'zh' ? 'zh-CN' : 'en-US');
