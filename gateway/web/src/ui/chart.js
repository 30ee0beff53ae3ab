// SPDX-License-Identifier: MIT
// Time series, drawn by uPlot in the page's colours: <Chart title times series format …>. The legend names each series
// and, while one points at the chart (or moves with the arrow keys), its values at that time.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { classes, html } from '../core/html.js';
import { language, locale, t } from '../core/i18n.js';
import { dateTime } from '../core/format.js';
import { feed } from '../core/live.js';
import { colorOf, paint } from '../core/theme.js';

let library = null;
// The library comes when it is first needed, or when the browser has nothing else to do. If it does not come, whoever
// needs it next asks again.
export function loadCharts() {
  library ??= import('uplot').then((module) => module.default);
  library.catch(() => (library = null));
  return library;
}

// Times on the axis: the clock, and days where the range is long.
function axisTimes(range) {
  const options = range > 3 * 86400 ? { month: 'numeric', day: 'numeric' } : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  const formatter = new Intl.DateTimeFormat(locale(), options);
  return (plot, splits) => splits.map((at) => formatter.format(new Date(at * 1000)));
}

// Running sums, so that each series is drawn upon the one before. What adds nothing is not drawn.
function stack(values) {
  const sums = values[0].map(() => 0);
  return values.map((one) => one.map((value, i) => (value ? (sums[i] += value) : null)));
}

function optionsOf(uPlot, { series, stacked, kind, format, height, width, range, onReady, onCursor }) {
  const text = colorOf('--text-3');
  const grid = { stroke: colorOf('--line-soft'), width: 1 };
  const bars = uPlot.paths.bars({ size: [0.72, 28], radius: 0.15 });
  const line = uPlot.paths.linear();
  const draw = series.map(({ color, dash }) => {
    const paintColor = colorOf(color);
    return kind === 'bars'
      ? { paths: bars, stroke: paintColor, fill: paintColor, width: 0, points: { show: false } }
      : { paths: line, stroke: paintColor, width: 1.6, dash, points: { show: false }, spanGaps: true };
  });
  return {
    width,
    height,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: kind !== 'bars' } },
    scales: { x: { time: true, range: () => range }, y: { range: (plot, min, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { stroke: text, grid: { show: false }, ticks: { show: false }, size: 26, gap: 6, space: 64, font: '11px system-ui', values: axisTimes(range[1] - range[0]) },
      { stroke: text, grid, ticks: { show: false }, size: 52, gap: 6, space: 34, font: '11px system-ui', values: (plot, splits) => splits.map((value) => format(value)) },
    ],
    // The last of a stack is drawn first: it is the tallest.
    series: [{}, ...(stacked ? draw.reverse() : draw)],
    hooks: { ready: [onReady], setCursor: [onCursor] },
  };
}

// Moves the cursor to the point, or away from all of them. The hook is not called: it is for what a pointer does.
const pointAt = (plot, times, index) => plot.setCursor(index === null ? { left: -10, top: -10 } : { left: plot.valToPos(times[index], 'x'), top: 10 }, false);

function Plot({ times, series, stacked, kind, format, height, step, onCursor, index }) {
  const ref = useRef(null);
  const made = useRef(null);
  const wanted = useRef(index);
  const colors = paint.value;
  const [isMissing, setMissing] = useState(false); // the library did not come: again once the connection is back
  const comesAgain = isMissing && feed.value === 'open';
  useEffect(() => {
    const place = ref.current;
    let plot = null;
    let isGone = false;
    let watcher;
    const draw = (uPlot) => {
      if (isGone) return;
      const values = series.map((one) => one.values);
      const range = [times[0] - step / 2, times[times.length - 1] + step / 2];
      const onReady = () => {
        made.current = plot;
        if (wanted.current < times.length) pointAt(plot, times, wanted.current);
      };
      const options = optionsOf(uPlot, { series, stacked, kind, format, height, width: place.clientWidth, range, onReady, onCursor: () => made.current && onCursor(plot.cursor.idx ?? null) });
      plot = new uPlot(options, [times, ...(stacked ? stack(values).reverse() : values)], place);
      watcher = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height }));
      watcher.observe(place);
    };
    loadCharts().then(draw, () => setMissing(true));
    return () => {
      isGone = true;
      watcher?.disconnect();
      plot?.destroy();
      made.current = null;
    };
  }, [times, series, colors, language.value, comesAgain]);
  useLayoutEffect(() => {
    wanted.current = index;
    const plot = made.current;
    if (plot && (plot.cursor.idx ?? null) !== index) pointAt(plot, times, index);
  }, [index]);
  return html`<div ref=${ref} class="plot" style=${{ height: `${height}px` }} />`;
}

// series: [{ label, color: '--series-1', values, total }]; kind: 'bars' | 'lines'; step: seconds between times.
// `total` is shown in the legend while nobody points at the chart. Nothing but zeros and nulls: `empty` is said.
export function Chart({ label, times, series, kind = 'bars', stacked = false, format, height = 180, step, empty }) {
  const [index, setIndex] = useState(null);
  const isEmpty = !series.some((one) => one.values.some((value) => value > 0));
  const onKey = (event) => {
    const last = times.length - 1;
    const next = { ArrowLeft: (index ?? times.length) - 1, ArrowRight: (index ?? -1) + 1, Home: 0, End: last, Escape: null }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setIndex(next === null ? null : Math.max(0, Math.min(last, next)));
  };
  const shown = (one) => (index === null ? one.total : one.values[index]);
  return html`<figure class="chart" aria-label=${label}>
    <figcaption class="legend"><ul>${series.map((one) => html`<li key=${one.label}><span class="swatch" style=${{ background: `var(${one.color})` }} aria-hidden="true" />
      <span class="legend-label">${one.label}</span><span class="legend-value">${format(shown(one))}</span></li>`)}</ul>
      <span class=${classes('legend-time', index === null && 'legend-idle')} aria-live="polite">${index === null ? '' : dateTime(times[index])}</span></figcaption>
    <div class="chart-area" style=${{ height: `${height}px` }} tabindex=${isEmpty ? null : 0} role=${isEmpty ? null : 'img'} aria-label=${isEmpty ? null : t('chart.keys', { label })}
      onKeyDown=${isEmpty ? null : onKey} onBlur=${() => setIndex(null)} onMouseLeave=${() => setIndex(null)}>
      ${isEmpty ? html`<p class="chart-empty">${empty}</p>` : html`<${Plot} times=${times} series=${series} stacked=${stacked} kind=${kind} format=${format} height=${height} step=${step}
        index=${index} onCursor=${setIndex} />`}
    </div>
  </figure>`;
}
