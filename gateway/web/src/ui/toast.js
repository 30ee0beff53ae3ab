// SPDX-License-Identifier: MIT
// Short messages at the edge of the page. toast('Deleted.', { tone, action: { label, onClick }, ms }) shows one; it goes
// by itself unless someone points at it or the focus is in it. Returns a function that takes it away.
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { classes, html } from '../core/html.js';
import { t } from '../core/i18n.js';
import { Icon } from './icon.js';

const shown = signal([]);
let last = 0;

export function toast(text, { tone = 'info', action, ms = action ? 10_000 : 5000, onGone } = {}) {
  const id = ++last;
  const dismiss = () => {
    if (!shown.peek().some((one) => one.id === id)) return;
    shown.value = shown.peek().filter((one) => one.id !== id);
    onGone?.();
  };
  shown.value = [...shown.peek(), { id, text, tone, action, ms, dismiss }];
  return dismiss;
}

function Toast({ text, tone, action, ms, dismiss }) {
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return undefined;
    const timer = setTimeout(dismiss, ms);
    return () => clearTimeout(timer);
  }, [held]);
  const hold = { onMouseEnter: () => setHeld(true), onMouseLeave: () => setHeld(false), onFocusIn: () => setHeld(true), onFocusOut: () => setHeld(false) };
  const act = () => {
    action.onClick();
    dismiss();
  };
  return html`<div class=${classes('toast', `toast-${tone}`)} ...${hold}>
    <${Icon} name=${{ good: 'good', warn: 'warning', bad: 'error', info: 'info' }[tone]} /><span class="toast-text">${text}</span>
    ${action && html`<button type="button" class="toast-act" onClick=${act}>${action.label}</button>`}
    <button type="button" class="icon-button" aria-label=${t('ui.dismiss')} onClick=${dismiss}><${Icon} name="close" size=${16} /></button>
  </div>`;
}

// The popover would be inert behind a modal dialog; messages are for what comes after it.
export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">${shown.value.map((one) => html`<${Toast} key=${one.id} ...${one} />`)}</div>`;
