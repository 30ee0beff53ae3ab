// SPDX-License-Identifier: MIT
// Keys: what clients prove themselves with. A key's text exists twice: in the answer that made it, shown once in a
// dialog, and with whoever copied it.
import { useState } from 'preact/hooks';
import { get, post, remove } from '../../core/api.js';
import { now } from '../../core/clock.js';
import { count, dateTime, relative } from '../../core/format.js';
import { html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { href } from '../../core/router.js';
import { useResource } from '../../core/resource.js';
import { Badge, Button, Card, CopyButton, Dialog, Empty, Facts, Loaded, Notice, Skeleton, Table, TextField, ViewHead, confirm, errorText, toast } from '../../ui/index.js';

const NAME_MAX_BYTES = 64;

// ---- the list ----

function Limits({ of: { rpm, max_in_flight: inFlight } }) {
  const all = [rpm && t('keys.rpm_of', { n: rpm }), inFlight && t('keys.in_flight_of', { n: inFlight })].filter(Boolean);
  return all.length ? html`<span class="key-limits">${all.map((text) => html`<span key=${text}>${text}</span>`)}</span>` : html`<span class="muted">${t('keys.no_limits')}</span>`;
}

const Moment = ({ at, now: since }) => (at ? html`<time title=${dateTime(at)}>${relative(at, since)}</time>` : html`<span class="muted">${t('keys.never')}</span>`);

function columns(at, revoke) {
  return [
    { key: 'name', label: t('keys.name'), header: true, class: 'cell-name', cell: (one) => one.name },
    { key: 'models', label: t('keys.models'), class: 'cell-name', cell: (one) => (one.models ? html`<span class="mono">${one.models.join(', ')}</span>` : html`<span class="muted">${t('keys.all_models')}</span>`) },
    { key: 'limits', label: t('keys.limits'), cell: (one) => html`<${Limits} of=${one} />` },
    { key: 'in_flight', label: t('keys.in_flight'), align: 'end', cell: (one) => count(one.in_flight) },
    { key: 'used', label: t('keys.last_used'), cell: (one) => html`<${Moment} at=${one.last_used_at} now=${at} />` },
    { key: 'expires', label: t('keys.expires'), cell: (one) => (one.is_expired ? html`<${Badge} tone="warn" title=${dateTime(one.expires_at)}>${t('keys.expired')}<//>` : html`<${Moment} at=${one.expires_at} now=${at} />`) },
    { key: 'created', label: t('keys.created'), cell: (one) => html`<${Moment} at=${one.created_at} now=${at} />` },
    { key: 'acts', label: t('keys.acts'), align: 'end', class: 'cell-acts', cell: (one) => html`<span class="key-acts">
      <a class="link" href=${href('requests', { key: one.id })}>${t('keys.usage')}</a>
      <${Button} small kind="quiet" icon="trash" aria-label=${t('keys.revoke_of', { name: one.name })} onClick=${() => revoke(one)}>${t('keys.revoke')}<//></span>` },
  ];
}

// ---- a new one ----

// The end of a day in this place, as seconds since 1970; null for no day, NaN for one that is over.
function endOfDay(day) {
  if (!day) return null;
  const end = Math.floor(new Date(`${day}T23:59:59`).getTime() / 1000);
  return end > Date.now() / 1000 ? end : Number.NaN;
}

const wholeNumber = (text) => (text.trim() === '' ? null : /^[1-9]\d{0,8}$/.test(text.trim()) ? Number(text) : Number.NaN);

// { body } for the API, or { errors } by field.
function judge({ name, models, rpm, maxInFlight, expiresOn }) {
  const length = new TextEncoder().encode(name.trim()).length;
  const numbers = { rpm: wholeNumber(rpm), max_in_flight: wholeNumber(maxInFlight), expires_at: endOfDay(expiresOn) };
  const errors = {};
  if (length < 1 || length > NAME_MAX_BYTES) errors.name = t('keys.bad_name');
  for (const field of ['rpm', 'max_in_flight']) if (Number.isNaN(numbers[field])) errors[field] = t('keys.bad_number');
  if (Number.isNaN(numbers.expires_at)) errors.expires_at = t('keys.bad_date');
  if (Object.keys(errors).length) return { errors };
  const body = { name: name.trim(), ...(models.length ? { models } : {}) };
  for (const [field, value] of Object.entries(numbers)) if (value !== null) body[field] = value;
  return { body };
}

const BLANK = { name: '', models: [], rpm: '', maxInFlight: '', expiresOn: '' };

function Models({ chosen, onChange }) {
  const models = useResource(async (signal) => (await get('/v1/models', { signal })).data.map(({ id }) => id), []);
  const toggle = (name, isOn) => onChange(isOn ? [...chosen, name] : chosen.filter((one) => one !== name));
  return html`<fieldset class="key-models"><legend>${t('keys.models_label')}</legend>
    <${Loaded} of=${models} skeleton=${html`<${Skeleton} height=${90} />`}>${(all) => html`<div class="key-model-list">
      ${all.map((name) => html`<label class="check" key=${name}><input type="checkbox" checked=${chosen.includes(name)} onChange=${(event) => toggle(name, event.currentTarget.checked)} /><span class="mono">${name}</span></label>`)}</div>`}<//>
    <p class="field-hint">${t('keys.models_hint')}</p></fieldset>`;
}

function CreateDialog({ open, onClose, onMade }) {
  const [form, setForm] = useState(BLANK);
  const [errors, setErrors] = useState({});
  const [busy, setBusy] = useState(false);
  const set = (field) => (value) => setForm((old) => ({ ...old, [field]: value }));
  const close = () => {
    setForm(BLANK);
    setErrors({});
    onClose();
  };
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const { body, errors: wrong } = judge(form);
    setErrors(wrong ?? {});
    if (!body) return;
    setBusy(true);
    try {
      onMade(await post('/api/keys', body));
      close();
    } catch (error) {
      setErrors({ [error.param ?? 'all']: errorText(error) });
    } finally {
      setBusy(false);
    }
  };
  return html`<${Dialog} open=${open} title=${t('keys.create_title')} onClose=${close}
    footer=${html`<${Button} kind="quiet" onClick=${close}>${t('ui.cancel')}<//><${Button} kind="primary" type="submit" form="key-form" busy=${busy}>${t('keys.submit')}<//>`}>
    <form id="key-form" class="stack" novalidate onSubmit=${submit}>
      ${errors.all && html`<${Notice} tone="bad">${errors.all}<//>`}
      <${TextField} label=${t('keys.name')} hint=${t('keys.name_hint')} error=${errors.name} value=${form.name} onInput=${set('name')} autocomplete="off" autofocus />
      <div class="key-numbers">
        <${TextField} label=${t('keys.rpm')} error=${errors.rpm} value=${form.rpm} onInput=${set('rpm')} inputmode="numeric" placeholder=${t('keys.no_limit')} autocomplete="off" />
        <${TextField} label=${t('keys.max_in_flight')} error=${errors.max_in_flight} value=${form.maxInFlight} onInput=${set('maxInFlight')} inputmode="numeric" placeholder=${t('keys.no_limit')} autocomplete="off" />
      </div>
      <${TextField} type="date" label=${t('keys.expires_on')} hint=${t('keys.expires_hint')} error=${errors.expires_at} value=${form.expiresOn} onInput=${set('expiresOn')} />
      <${Models} chosen=${form.models} onChange=${set('models')} />
      ${errors.models && html`<p class="field-error" role="alert">${errors.models}</p>`}
    </form><//>`;
}

function MadeDialog({ made, onClose }) {
  return html`<${Dialog} open=${made !== null} title=${made && t('keys.made_title', { name: made.name })} onClose=${onClose}
    footer=${html`<${Button} kind="primary" onClick=${onClose}>${t('keys.made_done')}<//>`}>
    ${made && html`<div class="stack"><${Notice} tone="warn">${t('keys.made_text')}<//>
      <${Facts} pairs=${[
        [t('keys.key'), html`<span class="id-copy"><code class="key-text">${made.key}</code><${CopyButton} text=${made.key} /></span>`],
        [t('keys.base_url'), html`<span class="id-copy"><code class="key-text">${`${location.origin}/v1`}</code><${CopyButton} text=${`${location.origin}/v1`} /></span>`],
      ]} /></div>`}<//>`;
}

export function Keys({ params }) {
  const keys = useResource(async (signal) => (await get('/api/keys', { signal })).keys, []);
  const [creating, setCreating] = useState(params.new === '1');
  const [made, setMade] = useState(null);
  const revoke = async (one) => {
    if (!(await confirm({ title: t('keys.revoke_title', { name: one.name }), text: t('keys.revoke_text'), act: t('keys.revoke'), danger: true }))) return;
    try {
      await remove(`/api/keys/${encodeURIComponent(one.id)}`);
      toast(t('keys.revoked', { name: one.name }), { tone: 'good' });
    } catch (error) {
      toast(errorText(error), { tone: 'bad' });
    }
    keys.reload();
  };
  const create = html`<${Button} kind="primary" icon="plus" onClick=${() => setCreating(true)}>${t('keys.create')}<//>`;
  return html`<${ViewHead} title=${t('keys.title')} lead=${t('keys.lead')}>${create}<//>
    <${Card} flush class="keys-card">
      <${Loaded} of=${keys} skeleton=${html`<div class="card-pad"><${Skeleton} lines=${6} /></div>`}>
        ${(all) => html`<${Table} caption=${t('keys.caption')} columns=${columns(now.value, revoke)} rows=${all}
          empty=${html`<${Empty} icon="keys" title=${t('keys.none')} action=${create}>${t('keys.none_text')}<//>`} />`}
      <//>
    <//>
    <${CreateDialog} open=${creating} onClose=${() => setCreating(false)} onMade=${(one) => (setMade(one), keys.reload())} />
    <${MadeDialog} made=${made} onClose=${() => setMade(null)} />`;
}
