// SPDX-License-Identifier: MIT
// What was edited and is not saved yet, and whether it may be. Outlives the view: a lost connection, or a session that
// ends in between, loses nothing; leaving asks first.
import { effect, signal } from '@preact/signals';
import { count } from '../../core/format.js';
import { t } from '../../core/i18n.js';
import { hold } from '../../core/leave.js';
import { confirm } from '../../ui/index.js';
import { typeOf } from './groups.js';

const VALUE_MAX_BYTES = 64 * 1024; // credd's limit

// name → { form, base }: what its editor shows (null unsets), and the value that it began from.
export const drafts = signal({});
// name → what is wrong with it
export const errors = signal({});

// ---- between the API's values and what editors show ----

export const listOf = (text) => text.split(',').map((one) => one.trim()).filter(Boolean);

export function formOf(name, setting) {
  const type = typeOf(name, setting);
  if (type === 'list') return listOf(setting.value);
  if (type === 'rules') return setting.value ? JSON.parse(setting.value) : [];
  return type === 'number' ? String(setting.value) : setting.value;
}

function valueOf(type, form) {
  if (form === null) return null;
  if (type === 'list') return form.join(',');
  if (type === 'rules') return form.length ? JSON.stringify(form) : '';
  return type === 'number' ? Number(form) : form;
}

// ---- is it valid? As proto/settings.c judges; the server has the last word. ----

const CONTROL = /[\u0000-\u001f\u007f]/;
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

function numberProblem({ min, max }, text) {
  const isWhole = /^\d{1,15}$/.test(text.trim());
  return isWhole && Number(text) >= min && Number(text) <= max ? null : t('settings.bad_number', { min: count(min), max: count(max) });
}

function problemOf(name, setting, form) {
  const type = typeOf(name, setting);
  if (form === null) return null;
  if (type === 'number') return numberProblem(setting, form);
  if (type === 'rules' && form.some(({ from }) => !from)) return t('settings.bad_rule');
  if (type === 'list' && form.length === 0) return t('settings.bad_list');
  if (type === 'flag') return null;
  const text = valueOf(type, form);
  if ((['lines', 'rules'].includes(type) ? CONTROL_BUT_LINES : CONTROL).test(text)) return t('settings.bad_control');
  return new TextEncoder().encode(text).length > VALUE_MAX_BYTES ? t('settings.bad_long') : null;
}

// ---- editing ----

const without = (all, name) => Object.fromEntries(Object.entries(all).filter(([one]) => one !== name));

const isAsItIs = (name, setting, form) => form !== null && JSON.stringify(form) === JSON.stringify(formOf(name, setting));

export function edit(name, setting, form) {
  const base = drafts.value[name]?.base ?? setting.value;
  drafts.value = isAsItIs(name, setting, form) ? without(drafts.value, name) : { ...drafts.value, [name]: { form, base } };
  if (errors.value[name]) errors.value = without(errors.value, name);
}

export function discard(name) {
  drafts.value = name ? without(drafts.value, name) : {};
  errors.value = name ? without(errors.value, name) : {};
}

// { body } to be sent, or null: then `errors` says why.
export function judge(settings) {
  const entries = Object.entries(drafts.value);
  const wrong = entries.map(([name, { form }]) => [name, problemOf(name, settings[name], form)]).filter(([, problem]) => problem);
  errors.value = Object.fromEntries(wrong);
  if (wrong.length) return null;
  return {
    settings: Object.fromEntries(entries.map(([name, { form }]) => [name, valueOf(typeOf(name, settings[name]), form)])),
    expected: Object.fromEntries(entries.map(([name, { base }]) => [name, base])),
  };
}

// Somebody else has set some of them meanwhile, to what `settings` says. What is wanted here stays, and begins from there:
// saving it once more is meant. `problem(name)` says so. Who wants the same has it already.
export function rebase(settings, problem) {
  const moved = Object.entries(drafts.value).filter(([name, { base }]) => settings[name].value !== base).map(([name]) => name);
  const wanted = Object.entries(drafts.value).filter(([name, { form }]) => !moved.includes(name) || !isAsItIs(name, settings[name], form));
  drafts.value = Object.fromEntries(wanted.map(([name, { form }]) => [name, { form, base: settings[name].value }]));
  errors.value = Object.fromEntries(moved.filter((name) => name in drafts.value).map((name) => [name, problem(name)]));
}

// After `sent` (drafts as they were) is saved: what was edited since stays.
export function saved(sent) {
  drafts.value = Object.fromEntries(Object.entries(drafts.value).filter(([name, draft]) => sent[name] !== draft));
}

async function askToLeave() {
  const n = Object.keys(drafts.value).length;
  const isSure = await confirm({ title: t('settings.leave_title'), text: t('settings.leave_text', { n }), act: t('settings.leave_act'), danger: true });
  if (isSure) discard();
  return isSure;
}
effect(() => {
  hold(Object.keys(drafts.value).length ? askToLeave : null);
});
