// SPDX-License-Identifier: MIT
// One word on how the system does, seen from every view.
import { html } from '../core/html.js';
import { t } from '../core/i18n.js';
import { feed, live } from '../core/live.js';
import { href } from '../core/router.js';

const TONES = { healthy: 'good', degraded: 'warn', unhealthy: 'bad' };

export function HealthPill() {
  const status = live.health.value?.status;
  const isLost = feed.value === 'lost';
  const word = isLost ? 'lost' : status in TONES ? status : 'unknown';
  return html`<a class=${`pill pill-${isLost ? 'warn' : (TONES[status] ?? 'plain')}`} href=${href('overview')}><span class="dot" aria-hidden="true" />${t(`shell.${word}`)}</a>`;
}
