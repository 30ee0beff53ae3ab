// SPDX-License-Identifier: MIT
// Adding credentials: files as they are, or a token by hand. What was typed goes with the request and is forgotten.
import { useEffect, useRef, useState } from 'preact/hooks';
import { post } from '../../core/api.js';
import { classes, html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { Button, Dialog, Icon, Notice, Select, TextArea, TextField, errorText, toast } from '../../ui/index.js';

const FILE_MAX_BYTES = 128 * 1024;
const DAY_S = 86400;
const SITES = ['cn', 'intl', 'custom'];

// { name, ok, text } for one file.
async function addFile(file) {
  const bad = (text) => ({ name: file.name, ok: false, text });
  if (file.size > FILE_MAX_BYTES) return bad(t('credentials.file_large'));
  let content;
  try {
    content = JSON.parse(await file.text());
  } catch {
    return bad(t('credentials.file_json'));
  }
  if (content === null || typeof content !== 'object' || Array.isArray(content)) return bad(t('credentials.file_json'));
  try {
    const added = await post('/codebuddy/v1/credentials', { file: content, filename: file.name });
    return { name: file.name, ok: true, text: t('credentials.file_added', { name: added.filename }) };
  } catch (error) {
    return bad(errorText(error));
  }
}

export async function addFiles(files) {
  const results = [];
  for (const file of files) results.push(await addFile(file)); // one after the other: their order is that of rotation
  return results;
}

export function DropZone({ onFiles }) {
  const input = useRef(null);
  const [over, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    onFiles([...event.dataTransfer.files]);
  };
  return html`<div class=${classes('drop', over && 'drop-over')} onDragOver=${(event) => (event.preventDefault(), setOver(true))} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <${Icon} name="upload" size=${24} /><p>${t('credentials.files_text')}</p>
    <${Button} onClick=${() => input.current.click()}>${t('credentials.files_pick')}<//>
    <input ref=${input} class="sr-only" type="file" multiple accept=".json,application/json" tabindex="-1" aria-label=${t('credentials.files')}
      onChange=${(event) => { onFiles([...event.currentTarget.files]); event.currentTarget.value = ''; }} />
    <p class="field-hint">${t('credentials.files_hint')}</p></div>`;
}

export const Results = ({ results }) => html`<div role="status" aria-label=${t('credentials.results')}><ul class="drop-results">${results.map((one, i) => html`<li key=${i} class=${one.ok ? 'good' : 'bad'}>
  <${Icon} name=${one.ok ? 'good' : 'error'} size=${16} /><span><strong>${one.name}</strong> ${one.text}</span></li>`)}</ul></div>`;

const BLANK = { bearer_token: '', refresh_token: '', user_id: '', site: '', days: '' };

// { body } or { errors }
function judge(form) {
  const errors = {};
  const body = { bearer_token: form.bearer_token.trim() };
  if (!body.bearer_token) errors.bearer_token = t('credentials.bad_token');
  for (const field of ['refresh_token', 'user_id', 'site']) if (form[field].trim()) body[field] = form[field].trim();
  if (form.days.trim()) {
    if (/^[1-9]\d{0,3}$/.test(form.days.trim())) body.expires_in = Number(form.days) * DAY_S;
    else errors.expires_in = t('credentials.bad_days');
  }
  return Object.keys(errors).length ? { errors } : { body };
}

function TokenForm({ id, onAdded, setBusy }) {
  const [form, setForm] = useState(BLANK);
  const [errors, setErrors] = useState({});
  const set = (field) => (value) => setForm((old) => ({ ...old, [field]: value }));
  const submit = async (event) => {
    event.preventDefault();
    const { body, errors: wrong } = judge(form);
    setErrors(wrong ?? {});
    if (!body) return;
    setBusy(true);
    try {
      const added = await post('/codebuddy/v1/credentials', body);
      setForm(BLANK);
      onAdded(added.filename);
    } catch (error) {
      setErrors({ [error.param ?? 'all']: errorText(error) });
    } finally {
      setBusy(false);
    }
  };
  return html`<form id=${id} class="stack" novalidate onSubmit=${submit} autocomplete="off">
    ${errors.all && html`<${Notice} tone="bad">${errors.all}<//>`}
    <${TextArea} label=${t('credentials.bearer')} error=${errors.bearer_token} value=${form.bearer_token} onInput=${set('bearer_token')} rows="3" spellcheck=${false} class="mono-field" />
    <${TextArea} label=${t('credentials.refresh_token')} hint=${t('credentials.refresh_hint')} error=${errors.refresh_token} value=${form.refresh_token} onInput=${set('refresh_token')} rows="2" spellcheck=${false} class="mono-field" />
    <div class="add-pairs">
      <${TextField} label=${t('credentials.user_id')} hint=${t('credentials.user_hint')} error=${errors.user_id} value=${form.user_id} onInput=${set('user_id')} autocomplete="off" />
      <${TextField} label=${t('credentials.valid_days')} hint=${t('credentials.valid_hint')} error=${errors.expires_in} value=${form.days} onInput=${set('days')} inputmode="numeric" autocomplete="off" />
    </div>
    <${Select} label=${t('credentials.site')} error=${errors.site} value=${form.site} onChange=${set('site')} options=${[['', t('credentials.site_default')], ...SITES.map((site) => [site, site])]} />
  </form>`;
}

// `dropped`: files that were dropped on the view; they are added at once.
export function AddDialog({ open, dropped, onClose, onAdded }) {
  const [results, setResults] = useState([]);
  const [busy, setBusy] = useState(false);
  const take = async (files) => {
    const told = await addFiles(files);
    setResults((old) => [...old, ...told]);
    if (told.some(({ ok }) => ok)) onAdded();
  };
  useEffect(() => {
    if (!open) setResults([]);
    else if (dropped.length) take(dropped);
  }, [open, dropped]);
  const added = (filename) => {
    toast(t('credentials.added', { name: filename }), { tone: 'good' });
    onAdded();
    onClose();
  };
  return html`<${Dialog} open=${open} title=${t('credentials.add_title')} onClose=${onClose}
    footer=${html`<${Button} kind="quiet" onClick=${onClose}>${t('ui.close')}<//><${Button} kind="primary" type="submit" form="token-form" busy=${busy}>${t('credentials.add_submit')}<//>`}>
    <div class="stack"><${DropZone} onFiles=${take} />
      ${results.length > 0 && html`<${Results} results=${results} />`}
      <h3 class="add-or">${t('credentials.by_token')}</h3>
      <${TokenForm} id="token-form" onAdded=${added} setBusy=${setBusy} /></div><//>`;
}
