// SPDX-License-Identifier: MIT
// The admin page: texts, then the frame, then whatever the address names. What is where: ../README.md.
import { render } from 'preact';
import { askSession } from './core/api.js';
import { html } from './core/html.js';
import './texts.js';
import { App } from './shell/app.js';
import { loadCharts } from './ui/chart.js';

render(html`<${App} />`, document.getElementById('app'));

const BACKOFF_MS = 1000;
// Who is there is asked until it is answered: the page may be opened while the gateway starts.
async function begin() {
  try {
    await askSession();
  } catch {
    setTimeout(begin, BACKOFF_MS);
  }
}
begin();
requestIdleCallback?.(() => loadCharts().catch(() => {}), { timeout: 2000 });
