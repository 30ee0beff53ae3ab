// SPDX-License-Identifier: MIT
// Processes: the supervisor and its children as a tree, from the live feed.
import { now } from '../../core/clock.js';
import { DASH, bytes, count, dateTime, duration, span } from '../../core/format.js';
import { classes, html } from '../../core/html.js';
import { hasText, t } from '../../core/i18n.js';
import { live } from '../../core/live.js';
import { Badge, Card, Empty, Skeleton, Table, ViewHead } from '../../ui/index.js';

const ORDER = ['supervisor', 'gateway', 'upstream-worker', 'credd', 'statsd'];
const TONES = { ready: 'good', starting: 'info', stopping: 'warn', draining: 'warn', 'backing off': 'warn', stopped: 'bad', parked: 'bad' };
export const LAG_WARN_MS = 50;

const textOr = (key, word) => (hasText(key) ? t(key) : word);
const place = ({ role }) => (ORDER.includes(role) ? ORDER.indexOf(role) : ORDER.length);
const inOrder = (list) => [...list].sort((a, b) => place(a) - place(b) || a.host.localeCompare(b.host) || a.name.localeCompare(b.name, 'en', { numeric: true }));

function Name({ process, isChild }) {
  return html`<span class=${classes('process', isChild && 'process-child')}><span class="process-role">${textOr(`processes.role_${process.role.replaceAll('-', '_')}`, process.role)}</span>
    <code>${process.name}</code></span>`;
}

const StateBadge = ({ state }) => html`<${Badge} tone=${TONES[state] ?? 'plain'}>${textOr(`processes.state_${state.replaceAll(' ', '_')}`, state)}<//>`;

function columns(hasSupervisor, manyHosts) {
  const late = ({ loop_lag_ms: lag }) => html`<span class=${lag > LAG_WARN_MS ? 'late' : null}>${duration(lag)}</span>`;
  return [
    { key: 'name', label: t('processes.name'), header: true, cell: (one) => html`<${Name} process=${one} isChild=${hasSupervisor && one.role !== 'supervisor'} />` },
    { key: 'state', label: t('processes.state'), cell: ({ state }) => html`<${StateBadge} state=${state} />` },
    { key: 'up', label: t('processes.up'), align: 'end', cell: ({ up_since: since }) => html`<time title=${t('processes.up_since', { when: dateTime(since) })}>${span(since && now.value - since)}</time>` },
    { key: 'restarts', label: t('processes.restarts'), align: 'end', cell: ({ restarts }) => html`<span class=${restarts > 0 ? 'late' : null}>${count(restarts)}</span>` },
    { key: 'streams', label: t('processes.streams'), align: 'end', cell: ({ streams }) => count(streams) },
    { key: 'memory', label: t('processes.memory'), align: 'end', cell: ({ rss_bytes: rss }) => bytes(rss) },
    { key: 'lag', label: t('processes.lag'), align: 'end', cell: late },
    { key: 'cpu', label: t('processes.cpu'), align: 'end', cell: ({ cpu_seconds: cpu }) => duration(cpu === null ? null : cpu * 1000) },
    { key: 'files', label: t('processes.files'), align: 'end', cell: ({ open_files: files }) => count(files) },
    { key: 'pid', label: t('processes.pid'), align: 'end', cell: ({ pid }) => pid ?? DASH },
    ...(manyHosts ? [{ key: 'host', label: t('processes.host'), cell: ({ host }) => host }] : []),
  ];
}

// `list` is null while it is not known: the same room, and dashes.
function Summary({ list }) {
  const sum = (name) => list && list.reduce((all, one) => all + (one[name] ?? 0), 0);
  const most = (name) => list && Math.max(0, ...list.map((one) => one[name] ?? 0));
  const oldest = list ? Math.min(...list.map((one) => one.up_since ?? Infinity)) : null;
  const facts = [
    [t('processes.oldest'), span(Number.isFinite(oldest) && oldest ? now.value - oldest : null), list ? t('processes.total', { n: list.length }) : ''],
    [t('processes.total_memory'), bytes(sum('rss_bytes'))],
    [t('processes.total_restarts'), count(sum('restarts'))],
    [t('processes.worst_lag'), duration(most('loop_lag_ms')), t('processes.lag_hint', { n: LAG_WARN_MS })],
  ];
  return html`<dl class="tiles">${facts.map(([label, value, note]) => html`<div class="tile" key=${label}><dt>${label}</dt><dd>${value}</dd>${note !== undefined && html`<dd class="tile-note">${note}</dd>`}</div>`)}</dl>`;
}

function Tree() {
  const said = live.processes.value;
  if (!said) return html`<${Summary} list=${null} /><${Card}><${Skeleton} height=${230} /><//>`;
  const list = inOrder(said.processes);
  if (list.length === 0) return html`<${Card}><${Empty} icon="processes" title=${t('processes.none')}>${t('processes.none_text')}<//><//>`;
  const hasSupervisor = list.some(({ role }) => role === 'supervisor');
  const manyHosts = new Set(list.map(({ host }) => host)).size > 1;
  return html`<${Summary} list=${list} /><${Card} flush><${Table} caption=${t('processes.caption')} columns=${columns(hasSupervisor, manyHosts)} rows=${list}
    rowKey=${(one) => `${one.name}@${one.host}`} class="process-table" /><//>`;
}

export const Processes = () => html`<${ViewHead} title=${t('processes.title')} lead=${t('processes.lead')} /><div class="stack"><${Tree} /></div>`;
