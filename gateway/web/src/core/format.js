// SPDX-License-Identifier: MIT
// Numbers, sizes and times as people read them, in the page's language. null and undefined are a dash.
import { language, locale, t } from './i18n.js';

export const DASH = '–';
const cache = new Map();
function formatter(kind, options) {
  const key = `${language.value}${kind}${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl[kind](locale(), options));
  return cache.get(key);
}
const isNone = (value) => value === null || value === undefined || Number.isNaN(value);
const number = (options) => (value) => (isNone(value) ? DASH : formatter('NumberFormat', options).format(value));

export const count = number({ maximumFractionDigits: 0 });
// 1.2K, 3.4M (1.2万 in Chinese): where room is short. Whole below 10,000.
export const short = (value) =>
  isNone(value) ? DASH : Math.abs(value) < 10_000 ? count(value) : formatter('NumberFormat', { notation: 'compact', maximumSignificantDigits: 3 }).format(value);
// Two places; more of what is small, so that it is not called nothing.
export const decimal = (value) => (Math.abs(value) < 1 ? number({ maximumSignificantDigits: 2 }) : number({ maximumFractionDigits: 2 }))(value);
export const percent = number({ style: 'percent', maximumFractionDigits: 1 });

export function bytes(value) {
  if (isNone(value)) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; value >= 1024 && i < units.length - 1; i++) value /= 1024;
  return `${formatter('NumberFormat', { maximumFractionDigits: value < 10 && i > 0 ? 1 : 0 }).format(value)} ${units[i]}`;
}

// 850 ms, 1.25 s, 2 min 5 s
export function duration(ms) {
  if (isNone(ms)) return DASH;
  if (ms < 1000) return `${formatter('NumberFormat', { maximumFractionDigits: ms < 10 ? 1 : 0 }).format(ms)} ms`;
  if (ms < 60_000) return `${formatter('NumberFormat', { maximumFractionDigits: ms < 10_000 ? 2 : 1 }).format(ms / 1000)} s`;
  return span(ms / 1000);
}

// The two largest units: 3 d 4 h, 5 min 10 s.
export function span(seconds) {
  if (isNone(seconds)) return DASH;
  const units = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [name, size] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0 || parts.length > 0) parts.push(n > 0 ? t(`format.${name}`, { n }) : null);
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(' ') || t('format.second', { n: 0 });
}

// Seconds since 1970 → 14:03:09; with the day if it is not today's.
export function time(seconds, { withSeconds = true } = {}) {
  if (isNone(seconds)) return DASH;
  const date = new Date(seconds * 1000);
  const clock = { hour: '2-digit', minute: '2-digit', ...(withSeconds ? { second: '2-digit' } : {}), hourCycle: 'h23' };
  const isToday = date.toDateString() === new Date().toDateString();
  return formatter('DateTimeFormat', isToday ? clock : { month: 'short', day: 'numeric', ...clock }).format(date);
}

export const dateTime = (seconds) =>
  isNone(seconds) ? DASH : formatter('DateTimeFormat', { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' }).format(new Date(seconds * 1000));

// "in 3 hours", "2 minutes ago"; `now` in seconds.
export function relative(seconds, now = Date.now() / 1000) {
  if (isNone(seconds)) return DASH;
  const difference = seconds - now;
  const [name, size] = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]].find(([, size]) => Math.abs(difference) >= size) ?? ['second', 1];
  return formatter('RelativeTimeFormat', { numeric: 'auto' }).format(Math.trunc(difference / size), name);
}
