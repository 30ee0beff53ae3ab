// SPDX-License-Identifier: MIT
// What can be done with a credential. Each says how it went; nothing here draws.
import { signal } from '@preact/signals';
import { ask, post } from '../../core/api.js';
import { duration } from '../../core/format.js';
import { t } from '../../core/i18n.js';
import { errorText, toast } from '../../ui/index.js';

const base = '/codebuddy/v1/credentials';
const of = (one, act) => `${base}/${encodeURIComponent(one.id)}/${act}`;

// Runs `work`, then says `done`; what fails is said too. Resolves to true if it worked.
async function act(work, done) {
  try {
    await work();
    toast(done, { tone: 'good' });
    return true;
  } catch (error) {
    toast(t('credentials.failed', { why: errorText(error) }), { tone: 'bad' });
    return false;
  }
}

export const pin = (one) => act(() => post(`${base}/select`, { id: one.id }), t('credentials.pinned_now', { name: one.filename }));
export const unpin = () => act(() => post(`${base}/auto`, {}), t('credentials.unpinned'));
export const toggleRotation = (isOn) => act(() => post(`${base}/toggle-rotation`, {}), t(isOn ? 'credentials.rotation_off' : 'credentials.rotation_on'));
export const refresh = (one) => act(() => post(of(one, 'refresh'), {}), t('credentials.refreshed', { name: one.filename }));
export const enable = (one) => act(() => post(of(one, 'enable'), {}), t('credentials.enabled', { name: one.filename }));
export const disable = (one) => act(() => post(of(one, 'disable'), {}), t('credentials.disabled_now', { name: one.filename }));

// One tiny completion with exactly this one.
export async function test(one) {
  const began = performance.now();
  const dismiss = toast(t('credentials.testing', { name: one.filename }), { ms: 60_000 });
  try {
    await post(of(one, 'test'), {});
    toast(t('credentials.works', { name: one.filename, time: duration(performance.now() - began) }), { tone: 'good' });
  } catch (error) {
    toast(t('credentials.works_not', { name: one.filename, why: error.status ? error.message : errorText(error) }), { tone: 'bad', ms: 12_000 });
  }
  dismiss();
}

// ---- deletion, with a moment to think again ----
// A token that is gone cannot be brought back: so the server is told only when the moment is over, or the page is left.

// Ids of those that are to go.
export const leaving = signal(new Set());

const without = (id) => (leaving.value = new Set([...leaving.peek()].filter((one) => one !== id)));
const tellServer = (id, options) => ask(`${base}/delete`, { method: 'POST', body: { id }, ...options });

export function remove(one) {
  let isUndone = false;
  leaving.value = new Set([...leaving.peek(), one.id]);
  const finish = async () => {
    if (!leaving.peek().has(one.id)) return;
    if (isUndone) {
      without(one.id);
      toast(t('credentials.kept', { name: one.filename }));
      return;
    }
    await act(() => post(`${base}/delete`, { id: one.id }), t('credentials.gone', { name: one.filename }));
    without(one.id);
  };
  toast(t('credentials.deleted', { name: one.filename }), { action: { label: t('credentials.undo'), onClick: () => (isUndone = true) }, onGone: finish });
}

addEventListener('pagehide', () => {
  for (const id of leaving.peek()) tellServer(id, { keepalive: true }).catch(() => {});
  leaving.value = new Set();
});
