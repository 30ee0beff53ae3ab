// SPDX-License-Identifier: MIT
// Credentials: who serves, how each one is, and everything that can be done with them.
import { useEffect, useState } from 'preact/hooks';
import { get } from '../../core/api.js';
import { now } from '../../core/clock.js';
import { count, dateTime, decimal, short, span } from '../../core/format.js';
import { classes, html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { live } from '../../core/live.js';
import { useResource } from '../../core/resource.js';
import { Badge, Button, Card, Empty, Loaded, Menu, Skeleton, Switch, Table, ViewHead } from '../../ui/index.js';
import { useUsage } from '../overview/usage.js';
import * as acts from './acts.js';
import { AddDialog } from './add.js';
import { LoginDialog } from './login.js';

const TONES = { ready: 'good', cooling: 'warn', exhausted: 'warn', expired: 'bad', needs_login: 'bad', disabled: 'plain' };

// What was said last: by the feed, or in answer to us.
export function useCredentials() {
  const asked = useResource(async (signal) => {
    const [list, current] = await Promise.all([get('/codebuddy/v1/credentials', { signal }), get('/codebuddy/v1/credentials/current', { signal })]);
    return { credentials: list.credentials, current };
  }, []);
  const [newest, setNewest] = useState(null);
  const said = live.credentials.value;
  useEffect(() => said && setNewest(said), [said]);
  useEffect(() => asked.data && setNewest(asked.data), [asked.data]);
  return { ...asked, data: newest };
}

// ---- who serves ----

function servingText({ status, rotation_count: turns, pinned_id: pinnedId }, nameOf) {
  if (status === 'no_credentials') return t('credentials.nobody');
  if (status === 'manual_selected') return t('credentials.pinned_to', { name: nameOf(pinnedId) });
  if (pinnedId) return t('credentials.pin_away', { name: nameOf(pinnedId) });
  if (status === 'auto_rotation_disabled') return t('credentials.auto_off');
  if (status === 'rotation_count_zero') return t('credentials.auto_zero');
  return turns > 0 ? t('credentials.auto', { n: turns }) : t('credentials.auto_always');
}

function Serving({ credentials, current, done }) {
  const nameOf = (id) => credentials.find((one) => one.id === id)?.filename ?? id ?? '';
  const next = current.status !== 'manual_selected' && current.id ? t('credentials.next_is', { name: nameOf(current.id) }) : '';
  return html`<${Card} title=${t('credentials.serving')} class="serving">
    <div class="serving-row"><p>${servingText(current, nameOf)} ${next}</p>
      <div class="serving-acts">
        ${current.pinned_id && html`<${Button} small icon="pin" onClick=${() => acts.unpin().then(done)}>${t('credentials.unpin')}<//>`}
        <${Switch} label=${t('credentials.rotation')} checked=${current.auto_rotation_enabled} onChange=${() => acts.toggleRotation(current.auto_rotation_enabled).then(done)} /></div></div><//>`;
}

// ---- the list ----

function Who({ one, current }) {
  const sub = [one.email ?? one.user_id, one.name, one.site && t('credentials.site_of', { site: one.site })].filter((text) => text && text !== one.filename);
  return html`<span class="cred-who"><span class="cred-name"><span>${one.filename}</span>${current.pinned_id === one.id && html` <${Badge} tone="info">${t('credentials.pinned')}<//>`}
    ${current.id === one.id && current.status !== 'manual_selected' && html` <${Badge}>${t('credentials.next')}<//>`}</span>
    <span class="cred-sub muted">${sub.join(' · ')}</span></span>`;
}

function State({ one, at }) {
  const left = one.until && one.until > at ? t('credentials.back_in', { time: span(one.until - at) }) : '';
  return html`<span class="cred-state"><${Badge} tone=${TONES[one.state] ?? 'plain'}>${one.has_token ? t(`credentials.${one.state}`) : t('credentials.unusable')}<//>
    ${left && html`<span title=${dateTime(one.until)}>${left}</span>`}
    ${one.quota_total !== null && html`<span class="muted" title=${one.quota_resets_at && t('credentials.quota_resets', { when: dateTime(one.quota_resets_at) })}>${t('credentials.quota', { left: decimal(one.quota_remaining), all: decimal(one.quota_total) })}</span>`}
    ${one.state_reason && html`<span class="muted cred-reason">${one.state_reason}</span>`}</span>`;
}

function Token({ one, at }) {
  if (!one.has_token) return html`<span class="muted">${t('credentials.no_token')}</span>`;
  const left = one.expires_at === null ? null : one.expires_at - at;
  const text = left === null ? t('credentials.no_expiry') : left > 0 ? t('credentials.expires_in', { time: span(left) }) : t('credentials.expired_since', { time: span(-left) });
  return html`<span class="cred-token"><span title=${one.expires_at ? dateTime(one.expires_at) : null} class=${classes(left !== null && left < 86400 && !one.has_refresh_token && 'cred-soon')}>${text}</span>
    <span class="muted">${[t(one.has_refresh_token ? 'credentials.renews' : 'credentials.renews_not'), one.token_preview && t('credentials.ends_in', { preview: one.token_preview })].filter(Boolean).join(' · ')}</span></span>`;
}

function itemsOf(one, current, done) {
  const isPinned = current.pinned_id === one.id;
  const run = (act) => () => act(one).then(done);
  return [
    { label: t('credentials.test'), icon: 'play', onClick: run(acts.test), disabled: !one.has_token },
    isPinned ? { label: t('credentials.unpin'), icon: 'pin', onClick: run(acts.unpin) } : { label: t('credentials.pin'), icon: 'pin', onClick: run(acts.pin), disabled: !one.has_token },
    { label: t('credentials.refresh'), icon: 'refresh', onClick: run(acts.refresh), disabled: !one.has_refresh_token },
    one.state === 'disabled' ? { label: t('credentials.enable'), icon: 'check', onClick: run(acts.enable) } : { label: t('credentials.disable'), icon: 'stop', onClick: run(acts.disable), disabled: !one.has_token },
    { label: t('credentials.remove'), icon: 'trash', danger: true, onClick: () => acts.remove(one) },
  ];
}

// `tokensOf(id)`: undefined while it is not known.
function columns(current, at, tokensOf, done) {
  return [
    { key: 'name', label: t('credentials.name'), header: true, class: 'cell-name', cell: (one) => html`<${Who} one=${one} current=${current} />` },
    { key: 'state', label: t('credentials.state'), class: 'wide', cell: (one) => html`<${State} one=${one} at=${at} />` },
    { key: 'in_flight', label: t('credentials.in_flight'), align: 'end', cell: (one) => count(one.in_flight) },
    { key: 'uses', label: t('credentials.uses'), align: 'end', cell: (one) => count(one.uses) },
    { key: 'tokens', label: t('credentials.tokens'), align: 'end', class: 'wide', cell: (one) => short(tokensOf(one.id)) },
    { key: 'token', label: t('credentials.token'), class: 'wide', cell: (one) => html`<${Token} one=${one} at=${at} />` },
    { key: 'acts', label: t('credentials.acts'), align: 'end', class: 'wide cell-acts', cell: (one) => html`<${Menu} label=${t('credentials.acts_of', { name: one.filename })} items=${itemsOf(one, current, done)} />` },
  ];
}

function useTokens() {
  const { data } = useUsage('30d', 'credential');
  const all = new Map(data?.series.map(({ name, totals }) => [name, totals.prompt_tokens + totals.completion_tokens]));
  return (id) => all.get(id) ?? (data ? 0 : undefined);
}

const NOBODY = { status: 'no_credentials', auto_rotation_enabled: true };

export function Credentials({ params }) {
  const asked = useCredentials();
  const tokensOf = useTokens();
  const [open, setOpen] = useState(params.act ?? null); // null, 'login' or 'add'
  const [dropped, setDropped] = useState([]);
  const [over, setOver] = useState(false);
  const close = () => {
    setOpen(null);
    setDropped([]);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    if (event.dataTransfer.files.length === 0) return;
    setDropped([...event.dataTransfer.files]);
    setOpen('add');
  };
  const hover = (event) => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault();
    setOver(true);
  };
  const logIn = html`<${Button} kind="primary" icon="credentials" onClick=${() => setOpen('login')}>${t('credentials.log_in')}<//>`;
  const gone = acts.leaving.value;
  return html`<div class=${classes('drop-view', over && open === null && 'drop-view-over')} onDragOver=${hover} onDragLeave=${(event) => event.currentTarget === event.target && setOver(false)} onDrop=${drop}>
    <${ViewHead} title=${t('credentials.title')} lead=${t('credentials.lead')}><${Button} icon="plus" onClick=${() => setOpen('add')}>${t('credentials.add')}<//>${logIn}<//>
    ${over && open === null && html`<p class="drop-hint" role="status">${t('credentials.drop_here')}</p>`}
    <${Loaded} of=${asked} skeleton=${html`<div class="stack"><${Card}><${Skeleton} lines=${2} /><//><${Card}><${Skeleton} lines=${8} /><//></div>`}>
      ${({ credentials, current }) => html`<div class="stack">
        ${credentials.length > 0 && html`<${Serving} credentials=${credentials} current=${current ?? NOBODY} done=${asked.reload} />`}
        <${Card} flush class="credentials-card"><${Table} caption=${t('credentials.caption')} columns=${columns(current ?? NOBODY, now.value, tokensOf, asked.reload)} rows=${credentials.filter(({ id }) => !gone.has(id))}
          empty=${html`<${Empty} icon="credentials" title=${t('credentials.none')} action=${logIn}>${t('credentials.none_text')}<//>`} /><//></div>`}
    <//>
    <${LoginDialog} open=${open === 'login'} onClose=${close} onDone=${asked.reload} />
    <${AddDialog} open=${open === 'add'} dropped=${dropped} onClose=${close} onAdded=${asked.reload} />
  </div>`;
}
