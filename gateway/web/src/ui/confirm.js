// SPDX-License-Identifier: MIT
// if (await confirm({ title, text, act: 'Delete', danger: true })) …: a question before what cannot be undone.
import { signal } from '@preact/signals';
import { html } from '../core/html.js';
import { t } from '../core/i18n.js';
import { Button, Dialog } from './index.js';

const question = signal(null);

export function confirm({ title, text, act, danger = false }) {
  question.peek()?.answer(false);
  return new Promise((resolve) => {
    const answer = (is) => {
      question.value = null;
      resolve(is);
    };
    question.value = { title, text, act, danger, answer };
  });
}

export function Confirmation() {
  const asked = question.value;
  return html`<${Dialog} open=${asked !== null} title=${asked?.title} onClose=${() => asked.answer(false)}
    footer=${asked && html`<${Button} kind="quiet" onClick=${() => asked.answer(false)}>${t('ui.cancel')}<//>
      <${Button} kind=${asked.danger ? 'danger' : 'primary'} onClick=${() => asked.answer(true)}>${asked.act}<//>`}>
    <p>${asked?.text}</p><//>`;
}
