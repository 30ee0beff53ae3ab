// SPDX-License-Identifier: MIT
// Overview: is it well, how much goes through it, and whose it is.
import { useMemo, useState } from 'preact/hooks';
import { now } from '../../core/clock.js';
import { DASH, count, decimal, duration, percent, short, span } from '../../core/format.js';
import { classes, html } from '../../core/html.js';
import { language, t } from '../../core/i18n.js';
import { live } from '../../core/live.js';
import { useNames } from '../../core/names.js';
import { href, replaceParams, route } from '../../core/router.js';
import { Card, Chart, Empty, Icon, Loaded, Notice, Segmented, Skeleton, Table, ViewHead } from '../../ui/index.js';
import { useFirstRun } from '../first_run/appear.js';
import { diagnose } from './diagnose.js';
import { RANGES, pointsOf, totalsOf, useUsage } from './usage.js';

const ICONS = { good: 'good', warn: 'warning', bad: 'error', plain: 'info' };
const CHART_HEIGHT = 170;

// ---- is it well? ----

function Verdict() {
  const found = diagnose({ health: live.health.value, credentials: live.credentials.value?.credentials, current: live.credentials.value?.current, now: now.value });
  if (!found) return html`<section class="verdict verdict-plain" role="status"><span class="verdict-icon"><span class="spinner" aria-hidden="true" /></span><p class="verdict-title">${t('overview.checking')}</p></section>`;
  const { tone, key, act } = found;
  const params = { ...found.params, time: span(found.params.s) };
  return html`<section class=${`verdict verdict-${tone}`} role=${tone === 'bad' ? 'alert' : 'status'}>
    <span class="verdict-icon"><${Icon} name=${ICONS[tone]} size=${22} /></span>
    <div class="verdict-words"><p class="verdict-title">${t(`overview.${key}`, params)}</p><p class="verdict-text">${t(`overview.${key}_text`, params)}</p></div>
    ${act && html`<a class="button button-secondary verdict-act" href=${href(act)}>${t(`overview.act_${act}`)}</a>`}
  </section>`;
}

// ---- tiles ----

const Tile = ({ label, value, note, hint, tone }) => html`<div class="tile" title=${hint}><dt>${label}</dt><dd class=${classes(tone && `tile-${tone}`)}>${value}</dd><dd class="tile-note">${note ?? ''}</dd></div>`;

function NowTiles() {
  const stats = live.stats.value;
  const first = stats?.first_event_ms;
  return html`<${Tile} label=${t('overview.first_event')} hint=${t('overview.five_minutes')} value=${duration(first?.p50)}
      note=${stats && (first ? t('overview.p95_note', { time: duration(first.p95) }) : t('overview.quiet'))} />
    <${Tile} label=${t('overview.streams')} value=${count(stats?.streams_in_flight)} note=${stats && t('overview.per_second', { n: decimal(stats.requests_per_s) })} />`;
}

function Tiles({ usage }) {
  const totals = usage && totalsOf(usage);
  const rate = totals?.requests ? totals.errors / totals.requests : 0;
  return html`<dl class="tiles tiles-six">
    <${Tile} label=${t('overview.requests')} value=${short(totals?.requests)} note=${totals && t('overview.cancelled_note', { n: totals.cancelled })} />
    <${Tile} label=${t('overview.errors')} value=${short(totals?.errors)} note=${totals && t('overview.error_rate', { rate: percent(rate) })} tone=${rate >= 0.05 && 'bad'} />
    <${Tile} label=${t('overview.tokens')} value=${short(totals && totals.prompt_tokens + totals.completion_tokens)}
      note=${totals && t('overview.tokens_note', { in: short(totals.prompt_tokens), out: short(totals.completion_tokens) })} hint=${totals && t('overview.cached_note', { n: totals.cached_tokens })} />
    <${Tile} label=${t('overview.credit')} value=${decimal(totals?.credit)} note=${totals && t('overview.credit_note', { n: totals.requests ? decimal(totals.credit / totals.requests) : DASH })} />
    <${NowTiles} />
  </dl>`;
}

// ---- charts ----

function chartsOf(usage) {
  const points = pointsOf(usage);
  const totals = totalsOf(usage);
  const answered = points.requests.map((all, i) => Math.max(0, all - points.errors[i] - points.cancelled[i]));
  const one = (label, color, values, total, more) => ({ label, color, values, total, ...more });
  return [
    { key: 'requests', label: t('overview.chart_requests'), stacked: true, format: short, series: [
      one(t('overview.answered'), '--series-1', answered, totals.requests - totals.errors - totals.cancelled),
      one(t('overview.cancelled'), '--series-4', points.cancelled, totals.cancelled),
      one(t('overview.errors'), '--series-3', points.errors, totals.errors)] },
    { key: 'tokens', label: t('overview.chart_tokens'), stacked: true, format: short, series: [
      one(t('overview.prompt'), '--series-1', points.prompt_tokens, totals.prompt_tokens),
      one(t('overview.completion'), '--series-2', points.completion_tokens, totals.completion_tokens)] },
    { key: 'first', label: t('overview.chart_first'), kind: 'lines', format: duration, series: [
      one(t('overview.mean'), '--series-1', points.first_event_mean_ms, totals.first_event_mean_ms),
      one(t('overview.p95'), '--series-2', points.first_event_p95_ms, totals.first_event_p95_ms, { dash: [5, 4] })] },
    { key: 'credit', label: t('overview.chart_credit'), format: decimal, series: [one(t('overview.credit_used'), '--series-2', points.credit, totals.credit)] },
  ];
}

function Charts({ usage }) {
  const charts = useMemo(() => chartsOf(usage), [usage, language.value]);
  return html`${charts.map(({ key, ...chart }) => html`<${Card} key=${key} title=${chart.label}><${Chart} ...${chart} times=${usage.times} step=${usage.step} height=${CHART_HEIGHT} empty=${t('overview.none_in_range')} /><//>`)}`;
}

const ChartSkeletons = () => html`${['requests', 'tokens', 'first', 'credit'].map((key) => html`<${Card} key=${key} title=${t(`overview.chart_${key}`)}><${Skeleton} height=${CHART_HEIGHT + 29} /><//>`)}`;

// ---- who used what ----

const FILTERS = { model: 'model', credential: 'credential', key: 'key' };

function breakdownColumns(by, names, all) {
  const nameOf = { model: (name) => name, credential: names.credential, key: names.key }[by];
  const called = (name) => (name === 'other' ? t('overview.other') : name === '' ? t('overview.no_one') : nameOf(name));
  const share = ({ totals }) => (all ? totals.requests / all : 0);
  return [
    { key: 'name', label: t(`overview.by_${by}`), header: true, class: 'cell-name', cell: ({ name }) => (name === 'other' || name === '' ? called(name)
      : html`<a class="plain-link" href=${href('requests', { [FILTERS[by]]: name })} title=${t('overview.see', { name: called(name) })}>${called(name)}</a>`) },
    { key: 'share', label: t('overview.share'), class: 'cell-share', cell: (one) => html`<span class="share"><span class="share-bar"><span style=${{ width: `${share(one) * 100}%` }} /></span><span class="share-value">${percent(share(one))}</span></span>` },
    { key: 'requests', label: t('overview.requests'), align: 'end', cell: ({ totals }) => count(totals.requests) },
    { key: 'errors', label: t('overview.errors'), align: 'end', cell: ({ totals }) => html`<span class=${totals.errors > 0 ? 'late' : 'muted'}>${count(totals.errors)}</span>` },
    { key: 'tokens', label: t('overview.tokens'), align: 'end', cell: ({ totals }) => short(totals.prompt_tokens + totals.completion_tokens) },
    { key: 'credit', label: t('overview.credit'), align: 'end', cell: ({ totals }) => decimal(totals.credit) },
    { key: 'first', label: t('overview.first_event'), align: 'end', cell: ({ totals }) => duration(totals.first_event_mean_ms) },
  ];
}

function Breakdown({ range }) {
  const [by, setBy] = useState('model');
  const names = useNames();
  const asked = useUsage(range, by);
  const empty = html`<${Empty} icon="overview" title=${t('overview.no_use')}>${t('overview.no_use_text')}<//>`;
  const rowsOf = ({ series }) => series.filter(({ totals }) => totals.requests > 0);
  return html`<${Card} flush class="breakdown" title=${t('overview.by')} actions=${html`<${Segmented} label=${t('overview.by_label')} value=${by} onChange=${setBy}
      options=${[['model', t('overview.by_model')], ['credential', t('overview.by_credential')], ['key', t('overview.by_key')]]} />`}>
    <${Loaded} of=${asked} skeleton=${html`<div class="card-pad"><${Skeleton} lines=${5} /></div>`}>
      ${(usage) => html`<div class="fades" aria-busy=${asked.isStale ? 'true' : null}><${Table} caption=${t('overview.by')} rows=${rowsOf(usage)} rowKey=${({ name }) => name} empty=${empty}
        columns=${breakdownColumns(usage.by ?? by, names, usage.series.reduce((sum, { totals }) => sum + totals.requests, 0))} /></div>`}
    <//>
  <//>`;
}

export function Overview({ params }) {
  const range = params.range in RANGES ? params.range : '1h';
  const asked = useUsage(range, null);
  useFirstRun();
  const choose = (next) => replaceParams({ ...route.value.params, range: next });
  return html`<${ViewHead} title=${t('overview.title')}><${Segmented} label=${t('overview.range')} value=${range} onChange=${choose}
      options=${Object.keys(RANGES).map((name) => [name, t(`overview.range_${name}`)])} /><//>
    <div class="stack"><${Verdict} /><div class="stack fades" aria-busy=${asked.isStale ? 'true' : null}>${asked.data?.missing_events > 0 && html`<${Notice} tone="info">${t('overview.missing', { n: asked.data.missing_events })}<//>`}<${Tiles} usage=${asked.data} />
      <div class="charts"><${Loaded} of=${asked} skeleton=${html`<${ChartSkeletons} />`}>${(usage) => html`<${Charts} usage=${usage} />`}<//></div></div>
      <${Breakdown} range=${range} /></div>`;
}
