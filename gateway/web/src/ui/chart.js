// SPDX-License-Identifier: MIT
// Time series, drawn by uPlot in the page's colours: <Chart title times series format …>. The legend names each series
// and, while one points at the chart (or moves with the arrow keys), its values at that time.
import { useEffect, useRef, useState } from 'preact/hooks';
import { classes, html } from '../core/html.js';
import { language, locale, t } from '../core/i18n.js';
import { colorOf, paint } from '../core/theme.js';
import { dateTime } from '../core/format.js';

let library;
// The library comes when it is first needed, or when the browser has nothing else to do.
export const loadCharts = () => (library ??= import('uplot').then((module) => module.default));

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

function optionsOf(uPlot, { series, stacked, kind, format, height, width, range, onCursor }) {
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
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
  };
}

function Plot({ times, series, stacked, kind, format, height, step, onCursor, index }) {
  const ref = useRef(null);
  const made = useRef(null);
  const colors = paint.value;
  useEffect(() => {
    const place = ref.current;
    let plot = null;
    let isGone = false;
    let watcher;
    loadCharts().then((uPlot) => {
      if (isGone) return;
      const values = series.map((one) => one.values);
      const range = [times[0] - step / 2, times[times.length - 1] + step / 2];
      const width = place.clientWidth;
      const options = optionsOf(uPlot, { series, stacked, kind, format, height, width, range, onCursor });
      plot = new uPlot(options, [times, ...(stacked ? stack(values).reverse() : values)], place);
      made.current = plot;
      watcher = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height }));
      watcher.observe(place);
    });
    return () => {
      isGone = true;
      watcher?.disconnect();
      plot?.destroy();
      made.current = null;
    };
  }, [times, series, colors, language.value]);
  useEffect(() => {
    const plot = made.current;
    if (plot && index !== null && plot.cursor.idx !== index) plot.setCursor({ left: plot.valToPos(times[index], 'x'), top: 10 });
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
        index=${index} onCursor=${(at) => setIndex(at ?? null)} />`}
    </div>
  </figure>`;
}
