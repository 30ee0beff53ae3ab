// SPDX-License-Identifier: MIT
// One editor for each type of setting. Each gets `form` (what it shows), `onChange`, and `given`: the attributes of its
// control, that tie it to its meaning and to what is wrong with it.
import { useRef, useState } from 'preact/hooks';
import { bytes, span } from '../../core/format.js';
import { html } from '../../core/html.js';
import { hasText, t } from '../../core/i18n.js';
import { Badge, Button, IconButton, Switch } from '../../ui/index.js';
import { listOf } from './drafts.js';

export const unitOf = (unit) => (unit && hasText(`settings.unit_${unit}`) ? t(`settings.unit_${unit}`) : unit);

// 3600 seconds are 1 h, and 33554432 bytes 32 MiB; null where the number says it all.
export function plainly(unit, value) {
  if (unit === 'seconds' && value >= 120) return span(value);
  return unit === 'bytes' ? bytes(value) : null;
}

function NumberEditor({ setting, form, onChange, given }) {
  const inWords = /^\d{1,15}$/.test(form.trim()) ? plainly(setting.unit, Number(form)) : null;
  return html`<span class="number-editor"><input class="input" type="text" inputmode="numeric" autocomplete="off" value=${form} onInput=${(event) => onChange(event.currentTarget.value)} ...${given} />
    <span class="muted">${[unitOf(setting.unit), inWords && `= ${inWords}`].filter(Boolean).join(' ')}</span></span>`;
}

const TextEditor = ({ form, onChange, given }) => html`<input class="input mono" type="text" autocomplete="off" spellcheck=${false} value=${form} onInput=${(event) => onChange(event.currentTarget.value)} ...${given} />`;
const LinesEditor = ({ form, onChange, given }) => html`<textarea class="input" rows="4" value=${form} onInput=${(event) => onChange(event.currentTarget.value)} ...${given} />`;
const FlagEditor = ({ form, onChange, given }) => html`<${Switch} label=${t(form ? 'settings.on' : 'settings.off')} checked=${form} onChange=${onChange} ...${given} />`;
const ChoiceEditor = ({ setting, form, onChange, given }) => html`<select class="input choice-editor" value=${form} onChange=${(event) => onChange(event.currentTarget.value)} ...${given}>
  ${setting.choices.map((one) => html`<option key=${one} value=${one} selected=${one === form}>${one}</option>`)}</select>`;

const replaced = (all, at, one) => all.map((old, i) => (i === at ? one : old));
const removed = (all, at) => all.filter((old, i) => i !== at);
// The one at `at` before the one above it.
const raised = (all, at) => [...all.slice(0, at - 1), all[at], all[at - 1], ...all.slice(at + 1)];

// Moves and removes rows; the focus stays where the next act of the same kind is.
function useRows(form, onChange) {
  const box = useRef(null);
  const focus = (what) => requestAnimationFrame(() => box.current?.querySelector(what)?.focus());
  return {
    box,
    raise: (at) => (onChange(raised(form, at)), focus(`[data-row='${at - 1}'] .row-${at > 1 ? 'up' : 'remove'}`)),
    remove: (at) => (onChange(removed(form, at)), focus(form.length > 1 ? `[data-row='${Math.min(at, form.length - 2)}'] .row-remove` : '.row-add')),
  };
}

const RowActs = ({ at, name, rows }) => html`<span class="row-acts">
  ${at > 0 && html`<${IconButton} class="row-up" icon="up" label=${t('settings.up', { name })} onClick=${() => rows.raise(at)} />`}
  <${IconButton} class="row-remove" icon="close" label=${t('settings.remove', { name })} onClick=${() => rows.remove(at)} /></span>`;

function ListEditor({ form, onChange, given }) {
  const [next, setNext] = useState('');
  const rows = useRows(form, onChange);
  const add = () => {
    if (listOf(next).length) onChange([...new Set([...form, ...listOf(next)])]);
    setNext('');
  };
  const onKey = (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    event.preventDefault(); // it would save
    add();
  };
  return html`<div ref=${rows.box} class="list-editor" role="group" aria-labelledby=${given['aria-labelledby']}>
    ${form.length > 0 && html`<ol class="list-rows">${form.map((name, at) => html`<li key=${name} data-row=${at}><span class="mono">${name}</span>
      ${at === 0 && html`<${Badge} tone="info">${t('settings.first')}<//>`}<${RowActs} at=${at} name=${name} rows=${rows} /></li>`)}</ol>`}
    <span class="list-add"><input class="input mono row-add" type="text" autocomplete="off" spellcheck=${false} value=${next} placeholder=${t('settings.add_one')} onInput=${(event) => setNext(event.currentTarget.value)} onKeyDown=${onKey} onBlur=${add}
      ...${given} aria-labelledby=${null} aria-label=${t('settings.add_one')} /><${Button} icon="plus" disabled=${listOf(next).length === 0} onClick=${add}>${t('settings.add')}<//></span></div>`;
}

// Texts may have lines, so these are text areas that look like fields.
const RuleText = ({ label, value, onInput, ...rest }) => html`<textarea class="input mono rule-text" rows=${Math.min(4, value.split('\n').length)} spellcheck=${false} aria-label=${label} placeholder=${label} value=${value}
  onInput=${(event) => onInput(event.currentTarget.value)} ...${rest} />`;

function RulesEditor({ form, onChange, given }) {
  const rows = useRows(form, onChange);
  const set = (at, news) => onChange(replaced(form, at, { ...form[at], ...news }));
  return html`<div ref=${rows.box} class="list-editor" role="group" aria-labelledby=${given['aria-labelledby']}>
    ${form.map(({ from, to }, at) => html`<div class="rule" key=${at} data-row=${at}>
      <${RuleText} label=${t('settings.rule_from', { n: at + 1 })} value=${from} onInput=${(text) => set(at, { from: text })} aria-invalid=${given['aria-invalid'] && !from ? 'true' : null} aria-describedby=${given['aria-describedby']} />
      <span class="rule-arrow muted" aria-hidden="true">→</span>
      <${RuleText} label=${t('settings.rule_to', { n: at + 1 })} value=${to} onInput=${(text) => set(at, { to: text })} />
      <${RowActs} at=${at} name=${t('settings.rule', { n: at + 1 })} rows=${rows} /></div>`)}
    <span><${Button} small icon="plus" class="row-add" onClick=${() => onChange([...form, { from: '', to: '' }])}>${t('settings.add_rule')}<//></span></div>`;
}

export const EDITORS = { number: NumberEditor, text: TextEditor, lines: LinesEditor, flag: FlagEditor, choice: ChoiceEditor, list: ListEditor, rules: RulesEditor };
// These are several controls: they have a heading and no label.
export const isSeveral = (type) => type === 'list' || type === 'rules';
