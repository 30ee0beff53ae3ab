// SPDX-License-Identifier: MIT
// The component set. Each is described in ../../README.md; their looks are in style/components.css.
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { classes, html } from '../core/html.js';
import { t } from '../core/i18n.js';
import { Icon } from './icon.js';

export { Icon };

// ---- acts ----

// kind: 'primary' | 'secondary' | 'quiet' | 'danger'. While `busy` it shows that, keeps its width, and does nothing.
export function Button({ kind = 'secondary', icon, busy = false, small = false, type = 'button', children, onClick, class: extra, ...rest }) {
  return html`<button type=${type} class=${classes('button', `button-${kind}`, small && 'button-small', extra)} aria-busy=${busy ? 'true' : null}
    onClick=${(event) => (busy ? event.preventDefault() : onClick?.(event))} ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${small ? 16 : 18} />`}
    ${children && html`<span class="button-label">${children}</span>`}
    ${busy && html`<span class="spinner" aria-hidden="true" />`}
  </button>`;
}

// A button that is only an icon: `label` is what it is called.
export const IconButton = ({ icon, label, class: extra, ...rest }) => html`
  <button type="button" class=${classes('icon-button', extra)} aria-label=${label} title=${label} ...${rest}><${Icon} name=${icon} /></button>`;

// Copies `text`; says that it did.
export function CopyButton({ text, label = t('ui.copy'), small = true }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(() => setDone(true), () => toast(t('ui.copy_failed'), { tone: 'bad' }));
  };
  return html`<${Button} small=${small} icon=${done ? 'check' : 'copy'} onClick=${copy}>${done ? t('ui.copied') : label}<//>
    <span class="sr-only" role="status">${done ? t('ui.copied') : ''}</span>`;
}

// One of a few: options are [value, label].
export function Segmented({ label, value, options, onChange }) {
  const name = useId();
  return html`<fieldset class="segmented"><legend class="sr-only">${label}</legend>
    ${options.map(([one, text]) => html`<label class="segment" key=${one}>
      <input type="radio" name=${name} value=${one} checked=${one === value} onChange=${() => onChange(one)} /><span>${text}</span></label>`)}
  </fieldset>`;
}

// ---- fields ----

// A labelled input with a hint and an error. `children` is a function of the attributes that its control must take.
export function Field({ label, hint, error, children, class: extra }) {
  const id = useId();
  const describedBy = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || null;
  return html`<div class=${classes('field', error && 'field-bad', extra)}>
    <label for=${id}>${label}</label>
    ${children({ id, 'aria-describedby': describedBy, 'aria-invalid': error ? 'true' : null })}
    ${hint && html`<p class="field-hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`} role="alert">${error}</p>`}
  </div>`;
}

export const TextField = ({ label, hint, error, value, onInput, inputRef, class: extra, ...rest }) => html`
  <${Field} label=${label} hint=${hint} error=${error} class=${extra}>
    ${(given) => html`<input class="input" type="text" ref=${inputRef} value=${value} onInput=${(event) => onInput?.(event.currentTarget.value)} ...${given} ...${rest} />`}
  <//>`;

export const TextArea = ({ label, hint, error, value, onInput, class: extra, ...rest }) => html`
  <${Field} label=${label} hint=${hint} error=${error} class=${extra}>
    ${(given) => html`<textarea class="input" value=${value} onInput=${(event) => onInput?.(event.currentTarget.value)} ...${given} ...${rest} />`}
  <//>`;

// options: [value, label]
export const Select = ({ label, hint, error, value, options, onChange, class: extra, ...rest }) => html`
  <${Field} label=${label} hint=${hint} error=${error} class=${extra}>
    ${(given) => html`<select class="input" value=${value} onChange=${(event) => onChange(event.currentTarget.value)} ...${given} ...${rest}>
      ${options.map(([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`)}
    </select>`}
  <//>`;

export const Switch = ({ label, checked, onChange, disabled, ...rest }) => html`
  <label class="switch"><input type="checkbox" role="switch" checked=${checked} disabled=${disabled}
    onChange=${(event) => onChange(event.currentTarget.checked)} ...${rest} /><span class="switch-track" aria-hidden="true" /><span>${label}</span></label>`;

// ---- showing ----

// tone: 'good' | 'warn' | 'bad' | 'info' | 'plain'
export const Badge = ({ tone = 'plain', children, title }) => html`<span class=${`badge badge-${tone}`} title=${title}><span class="dot" aria-hidden="true" />${children}</span>`;

// A part of a view, with a heading and what belongs to its right.
export function Card({ title, actions, children, class: extra, flush = false }) {
  const id = useId();
  return html`<section class=${classes('card', flush && 'card-flush', extra)} aria-labelledby=${title ? id : null}>
    ${(title || actions) && html`<header class="card-head">${title && html`<h2 id=${id}>${title}</h2>`}${actions && html`<div class="card-actions">${actions}</div>`}</header>`}
    ${children}
  </section>`;
}

// The head of a view. Its heading takes the focus when one comes here.
export const ViewHead = ({ title, lead, children }) => html`
  <header class="view-head"><div><h1 id="view-title" tabindex="-1">${title}</h1>${lead && html`<p class="lead">${lead}</p>`}</div>
    ${children && html`<div class="view-acts">${children}</div>`}</header>`;

// Nothing to show, and what to do about it.
export const Empty = ({ icon = 'info', title, children, action }) => html`
  <div class="empty"><span class="empty-icon"><${Icon} name=${icon} size=${28} /></span><p class="empty-title">${title}</p>
    ${children && html`<p class="empty-text">${children}</p>`}${action}</div>`;

// tone as Badge; for what a person should read now.
export const Notice = ({ tone = 'info', title, children, action }) => html`
  <div class=${`notice notice-${tone}`} role=${tone === 'bad' ? 'alert' : 'status'}>
    <${Icon} name=${{ good: 'good', warn: 'warning', bad: 'error', info: 'info' }[tone]} />
    <div class="notice-text">${title && html`<p class="notice-title">${title}</p>`}${children && html`<p>${children}</p>`}</div>${action}</div>`;

// What went wrong with an ApiError, in the page's words, and with the server's where it knows better.
const ERRORS = { 0: 'network', 403: 'forbidden', 404: 'gone', 409: 'changed', 413: 'large', 429: 'busy', 503: 'away' };
export const errorText = (error) => t(`ui.error_${ERRORS[error.status] ?? (error.status >= 500 ? 'server' : 'field')}`, { message: error.message });

export const Failure = ({ error, retry }) => html`
  <${Notice} tone="bad" title=${t('ui.failed')} action=${retry && html`<${Button} small onClick=${retry}>${t('ui.retry')}<//>`}>
    ${errorText(error)}${error.requestId && html` <span class="muted">${t('ui.request_id', { id: error.requestId })}</span>`}<//>`;

// Grey bars in the room that the content will take.
export const Skeleton = ({ lines = 3, height }) => html`
  <div class="skeleton" role="status" aria-label=${t('ui.loading')} style=${height ? { height: `${height}px` } : null}>
    ${height ? html`<span class="skeleton-block" />` : Array.from({ length: lines }, (_, i) => html`<span class="skeleton-line" key=${i} />`)}</div>`;

// The states of a useResource: skeleton, error, content. Old content stays beside a new error.
export function Loaded({ of: { data, error, reload }, skeleton, children }) {
  if (data === null) return error ? html`<${Failure} error=${error} retry=${reload} />` : (skeleton ?? html`<${Skeleton} />`);
  return html`${error && html`<${Failure} error=${error} retry=${reload} />`}${children(data)}`;
}

// columns: [{ key, label, cell(row), align: 'end', header: true, class }]. On a narrow screen rows become cards (stacked).
// `onRow` makes rows open something: the cell of the `header` column becomes the button; a click anywhere else does it too.
export function Table({ caption, columns, rows, rowKey = (row) => row.id, onRow, empty, class: extra }) {
  if (rows.length === 0 && empty) return empty;
  const content = (column, row) => (column.header && onRow ? html`<button type="button" class="row-open" onClick=${() => onRow(row)}>${column.cell(row)}</button>` : column.cell(row));
  return html`<div class=${classes('table-wrap', extra)}><table class=${classes('table', onRow && 'table-open')}>
    <caption class="sr-only">${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th key=${column.key} scope="col" class=${classes(column.align === 'end' && 'end', column.class)}>${column.label}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${rowKey(row)} onClick=${onRow && ((event) => !event.target.closest('a, button') && onRow(row))}>${columns.map((column) => {
      const kind = classes(column.align === 'end' && 'end', column.class);
      return column.header
        ? html`<th key=${column.key} scope="row" class=${kind}>${content(column, row)}</th>`
        : html`<td key=${column.key} class=${kind} data-label=${column.label}>${content(column, row)}</td>`;
    })}</tr>`)}</tbody>
  </table></div>`;
}

// Names and values: pairs of [label, value].
export const Facts = ({ pairs }) => html`<dl class="facts">${pairs.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;

// ---- what comes in front ----

// Opens a <dialog> for as long as its component is there, and gives the focus back: it must still be in the page when
// it closes, and it is, since effects end before elements go.
export function useModal() {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return ref;
}

// A modal dialog while `open`; Escape and the cross call onClose.
export const Dialog = ({ open, ...rest }) => open && html`<${OpenDialog} ...${rest} />`;

function OpenDialog({ title, onClose, children, footer, wide = false }) {
  const ref = useModal();
  const id = useId();
  return html`<dialog ref=${ref} class=${classes('dialog', wide && 'dialog-wide')} aria-labelledby=${id}
    onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <header class="dialog-head"><h2 id=${id}>${title}</h2><${IconButton} icon="close" label=${t('ui.close')} onClick=${onClose} /></header>
    <div class="dialog-body">${children}</div>
    ${footer && html`<footer class="dialog-foot">${footer}</footer>`}
  </dialog>`;
}

// Acts behind one button: items are { label, icon, onClick, danger, disabled, href }.
export function Menu({ label, icon = 'more', items }) {
  const id = `menu-${useId()}`;
  const button = useRef(null);
  const list = useRef(null);
  const place = (event) => {
    if (event.newState !== 'open') return;
    const at = button.current.getBoundingClientRect();
    const own = list.current.getBoundingClientRect();
    const below = at.bottom + own.height + 8 < innerHeight;
    list.current.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - own.height - 4)}px`;
    list.current.style.left = `${Math.max(8, Math.min(at.right - own.width, innerWidth - own.width - 8))}px`;
    list.current.querySelector('button:not([disabled])')?.focus();
  };
  const move = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...list.current.querySelectorAll('button:not([disabled])')];
    all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
  };
  const pick = (item) => {
    list.current.hidePopover();
    item.onClick();
  };
  return html`<button ref=${button} type="button" class="icon-button" aria-label=${label} title=${label} aria-haspopup="menu" popovertarget=${id}><${Icon} name=${icon} /></button>
    <div ref=${list} id=${id} popover="auto" class="menu" role="menu" aria-label=${label} onToggle=${place} onKeyDown=${move}>
      ${items.map((item) => html`<button key=${item.label} type="button" role="menuitem" class=${classes('menu-item', item.danger && 'menu-danger')} disabled=${item.disabled}
        onClick=${() => pick(item)}>${item.icon && html`<${Icon} name=${item.icon} size=${16} />`}<span>${item.label}</span></button>`)}
    </div>`;
}

export { Chart } from './chart.js';
export { toast, Toasts } from './toast.js';
export { confirm, Confirmation } from './confirm.js';
import { toast } from './toast.js';
