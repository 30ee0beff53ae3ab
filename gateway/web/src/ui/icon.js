// SPDX-License-Identifier: MIT
// Icons of our own, on a 20 × 20 grid, drawn with a pen of 1.6. They are decoration: what they mean stands beside
// them or in their button's label.
import { html } from '../core/html.js';

const PATHS = {
  overview: 'M3 10.5h3l2-5.5 3.5 10 2-4.5H17',
  credentials: 'M3.5 5.5h13v9h-13zM3.5 8.5h13M6.5 12h3',
  playground: 'M4 4.5h12v8.5H9.5L6 16v-3H4z',
  keys: 'M13 3.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M10.5 9.5 4 16M6 14l1.8 1.8M8 12l1.5 1.5',
  requests: 'M7 5.5h9.5M7 10h9.5M7 14.5h9.5M3.5 5.5h.01M3.5 10h.01M3.5 14.5h.01',
  processes: 'M10 3.5v4M5 12.5v-2.5h10v2.5M10 7.5v2.5M3 12.5h4v4H3zM13 12.5h4v4h-4zM8 3h4v4H8z',
  settings: 'M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4',
  menu: 'M3.5 6h13M3.5 10h13M3.5 14h13',
  close: 'm5 5 10 10M15 5 5 15',
  check: 'm4.5 10.5 3.5 3.5 7.5-8',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  more: 'M5 9.6v.8M10 9.6v.8M15 9.6v.8M4.6 10h.8M9.6 10h.8M14.6 10h.8',
  plus: 'M10 4v12M4 10h12',
  refresh: 'M16 5v4h-4M4 15v-4h4M5.2 8A5.5 5.5 0 0 1 15 7.2L16 9M14.8 12A5.5 5.5 0 0 1 5 12.8L4 11',
  trash: 'M4 6h12M8 6V4h4v2M5.5 6l.7 10h7.6l.7-10',
  external: 'M8 5H4.5v10.5H15V12M11 4.5h4.5V9M15.5 4.5 9 11',
  warning: 'M10 4 3 16h14zM10 8.5v3.5M10 14h.01',
  error: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M10 7v3.5M10 13h.01',
  info: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M10 9.5V13M10 7h.01',
  good: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M7 10.2l2.2 2.2L13 8',
  sun: 'M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6M10 3v1M10 16v1M3 10h1M16 10h1M5 5l.7.7M14.3 14.3l.7.7M5 15l.7-.7M14.3 5.7 15 5',
  moon: 'M15.5 11.5A6 6 0 0 1 8.5 4.5a6 6 0 1 0 7 7',
  screen: 'M3.5 4.5h13v9h-13zM7.5 16.5h5M10 13.5v3',
  globe: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M3.5 10h13M10 3.5c4 4 4 9 0 13M10 3.5c-4 4-4 9 0 13',
  logout: 'M8 4H4v12h4M8.5 10H16M13 7l3 3-3 3',
  play: 'M6.5 4.5v11l9-5.5z',
  stop: 'M5.5 5.5h9v9h-9z',
  pin: 'M7.5 3.5h5l-.5 5 2.5 2.5h-9L8 8.5zM10 11v5.5',
  chevron: 'm7.5 5 5 5-5 5',
  back: 'm12.5 5-5 5 5 5',
  down: 'm5 7.5 5 5 5-5',
  up: 'm5 12.5 5-5 5 5',
  upload: 'M10 13V4M6.5 7.5 10 4l3.5 3.5M4 13v3h12v-3',
  search: 'M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4M13 13l3.5 3.5',
};

export const Icon = ({ name, size = 18 }) => html`
  <svg class="icon" width=${size} height=${size} viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
