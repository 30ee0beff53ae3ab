// SPDX-License-Identifier: MIT
// Requests: the ledger's latest events, filtered by the address's parameters, a page at a time. The first page without
// filters follows the live feed.
import { useMemo, useState } from 'preact/hooks';
import { get, query } from '../../core/api.js';
import { count, dateTime, decimal, duration, short, time } from '../../core/format.js';
import { html } from '../../core/html.js';
import { hasText, t } from '../../core/i18n.js';
import { feed, live } from '../../core/live.js';
import { useNames } from '../../core/names.js';
import { replaceParams } from '../../core/router.js';
import { useResource } from '../../core/resource.js';
import { Badge, Button, Card, CopyButton, Dialog, Empty, Facts, Loaded, Select, Skeleton, Table, ViewHead } from '../../ui/index.js';

const PAGE = 50;
const FILTERS = ['model', 'credential', 'key', 'outcome', 'status'];
const OUTCOMES = ['ok', 'cancelled', 'blameless', 'transient', 'rate_limited', 'exhausted', 'unauthorized', 'risk_control', 'model_not_served'];
const STATUSES = ['200', '400', '401', '403', '404', '429', '499', '500', '502', '503', '504'];

export function Outcome({ request: { outcome, status } }) {
  const tone = outcome === 'ok' && status < 400 ? 'good' : outcome === 'cancelled' ? 'plain' : status >= 500 || outcome === 'unauthorized' ? 'bad' : 'warn';
  const word = outcome === 'blameless' && status >= 500 ? 'error' : outcome; // nobody's fault, but no answer either
  return html`<${Badge} tone=${tone}>${hasText(`requests.outcome_${word}`) ? t(`requests.outcome_${word}`) : word}<//>`;
}

function columns(names) {
  return [
    { key: 'time', label: t('requests.time'), header: true, cell: (one) => html`<time class="nowrap" title=${dateTime(one.started_at)}>${time(one.started_at)}</time>` },
    { key: 'model', label: t('requests.model'), class: 'cell-name cell-model', cell: (one) => html`<span class="mono" title=${one.model}>${one.model}</span>` },
    { key: 'outcome', label: t('requests.outcome'), class: 'cell-outcome', cell: (one) => html`<span class="outcome"><${Outcome} request=${one} /><span class="muted mono">${one.status}</span></span>` },
    { key: 'first', label: t('requests.first_event'), align: 'end', class: 'cell-first', cell: (one) => duration(one.first_event_ms) },
    { key: 'duration', label: t('requests.duration'), align: 'end', cell: (one) => duration(one.duration_ms) },
    { key: 'tokens', label: t('requests.tokens'), align: 'end', class: 'wide', cell: (one) => t('requests.in_out', { in: short(one.prompt_tokens), out: short(one.completion_tokens) }) },
    { key: 'credit', label: t('requests.credit'), align: 'end', class: 'cell-more', cell: (one) => decimal(one.credit) },
    { key: 'credential', label: t('requests.credential'), class: 'cell-name cell-more', cell: (one) => html`<span title=${names.credential(one.credential_id)}>${names.credential(one.credential_id)}</span>` },
    { key: 'key', label: t('requests.key'), class: 'cell-name cell-more', cell: (one) => html`<span title=${names.key(one.key_id)}>${names.key(one.key_id)}</span>` },
  ];
}

function Details({ request, names, onClose }) {
  const facts = request && [
    [t('requests.id'), html`<span class="id-copy"><code>${request.id}</code><${CopyButton} text=${request.id} /></span>`],
    [t('requests.outcome'), html`<span class="outcome"><${Outcome} request=${request} /><span class="muted mono">${request.status}</span></span>`],
    ...(request.error_code ? [[t('requests.error_code'), html`<code>${request.error_code}</code>`]] : []),
    [t('requests.started'), dateTime(request.started_at)],
    [t('requests.model'), html`<span class="mono">${request.model}</span>`],
    ...(request.stream === undefined ? [] : [[t('requests.mode'), request.stream ? t('requests.streamed') : t('requests.plain')]]),
    [t('requests.credential'), names.credential(request.credential_id)],
    [t('requests.key'), names.key(request.key_id)],
    [t('requests.first_event'), duration(request.first_event_ms)],
    [t('requests.duration'), duration(request.duration_ms)],
    [t('requests.prompt_tokens'), count(request.prompt_tokens)],
    [t('requests.cached_tokens'), count(request.cached_tokens)],
    [t('requests.completion_tokens'), count(request.completion_tokens)],
    [t('requests.reasoning_tokens'), count(request.reasoning_tokens)],
    [t('requests.credit'), decimal(request.credit)],
  ];
  return html`<${Dialog} open=${request !== null} title=${t('requests.details')} onClose=${onClose}>${facts && html`<${Facts} pairs=${facts} />`}<//>`;
}

function FilterBar({ chosen, names, onChange }) {
  const options = {
    model: names.models.map((name) => [name, name]),
    credential: names.credentials.map(({ id, filename }) => [id, filename]),
    key: [['password', t('requests.password_key')], ...names.keys.map(({ id, name }) => [id, name])],
    outcome: OUTCOMES.map((word) => [word, t(`requests.outcome_${word}`)]),
    status: STATUSES.map((status) => [status, status]),
  };
  // What the address asks for is offered even if nothing of that name is known any more.
  const complete = (name) => (chosen[name] && !options[name].some(([value]) => value === chosen[name]) ? [...options[name], [chosen[name], chosen[name]]] : options[name]);
  const isFiltered = FILTERS.some((name) => chosen[name]);
  return html`<form class="filters" aria-label=${t('requests.filters')} onSubmit=${(event) => event.preventDefault()}>
    ${FILTERS.map((name) => html`<${Select} key=${name} label=${t(`requests.${name}`)} value=${chosen[name] ?? ''} options=${[['', t('requests.any')], ...complete(name)]}
      onChange=${(value) => onChange({ ...chosen, [name]: value })} />`)}
    <${Button} kind="quiet" class="filters-reset" disabled=${!isFiltered} onClick=${() => onChange({})}>${t('requests.reset')}<//>
  </form>`;
}

// What is new in the feed goes before what was asked for; each request once.
function withNews(asked, news) {
  const known = new Set(asked.map(({ id }) => id));
  const newest = asked[0]?.started_at ?? 0;
  return [...news.filter((one) => !known.has(one.id) && one.started_at >= newest), ...asked].slice(0, PAGE);
}

export function Requests({ params }) {
  const names = useNames();
  const chosen = Object.fromEntries(FILTERS.filter((name) => params[name]).map((name) => [name, params[name]]));
  const filterKey = JSON.stringify(chosen);
  const [pages, setPages] = useState({ filterKey, cursors: [] }); // cursors of the pages behind us; they belong to these filters
  const cursors = pages.filterKey === filterKey ? pages.cursors : [];
  const before = cursors.at(-1) ?? '';
  const [opened, setOpened] = useState(null);
  const asked = useResource((signal) => get(`/api/requests${query({ ...chosen, limit: PAGE, before })}`, { signal }), [filterKey, before]);
  const follows = filterKey === '{}' && before === '';
  const news = follows ? live.requests.value?.requests : null;
  const rows = useMemo(() => asked.data && (news ? withNews(asked.data.requests, news) : asked.data.requests), [asked.data, news]);
  const turn = (next) => setPages({ filterKey, cursors: next });
  const isFiltered = filterKey !== '{}';
  const empty = html`<${Empty} icon=${isFiltered ? 'search' : 'requests'} title=${t(isFiltered ? 'requests.none_match' : 'requests.none')}
    action=${isFiltered && html`<${Button} onClick=${() => replaceParams({})}>${t('requests.reset')}<//>`}>${t(isFiltered ? 'requests.none_match_text' : 'requests.none_text')}<//>`;

  return html`<${ViewHead} title=${t('requests.title')} lead=${t('requests.lead')}>${follows && feed.value === 'open' && html`<${Badge} tone="good" title=${t('requests.live_hint')}>${t('requests.live')}<//>`}<//>
    <div class="stack">
      <${FilterBar} chosen=${chosen} names=${names} onChange=${replaceParams} />
      <${Card} flush class="requests-card">
        <${Loaded} of=${asked} skeleton=${html`<div class="card-pad"><${Skeleton} lines=${12} /></div>`}>
          ${() => html`<div aria-busy=${asked.isLoading ? 'true' : 'false'} class="fades"><${Table} caption=${t('requests.caption')} columns=${columns(names)} rows=${rows} onRow=${setOpened} empty=${empty} /></div>
            ${(before || asked.data.next_before) && html`<nav class="pager" aria-label=${t('requests.page', { n: cursors.length + 1 })}>
              <${Button} small icon="back" disabled=${!before} onClick=${() => turn([])}>${t('requests.newer')}<//>
              <span class="muted">${t('requests.page', { n: cursors.length + 1 })}</span>
              <${Button} small disabled=${!asked.data.next_before} onClick=${() => turn([...cursors, asked.data.next_before])}>${t('requests.older')}<//></nav>`}`}
        <//>
      <//>
    </div>
    <${Details} request=${opened} names=${names} onClose=${() => setOpened(null)} />`;
}
