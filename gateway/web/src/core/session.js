// SPDX-License-Identifier: MIT
// Whether somebody is signed in. The proof is a cookie that scripts cannot read; this page keeps nothing, least of
// all the password. `reason` says why the sign-in is shown: null, 'ended' (it was over) or 'left' (logged out).
import { signal } from '@preact/signals';

// state: 'asking' | 'in' | 'out'
export const session = signal({ state: 'asking', reason: null, expiresAt: null });

let timer;
// setTimeout takes 31 bits of ms; a session lasts half a day.
function watchEnd(expiresAt) {
  clearTimeout(timer);
  if (expiresAt) timer = setTimeout(() => sessionOver('ended'), Math.max(0, expiresAt * 1000 - Date.now()));
}

export function sessionBegan(expiresAt) {
  watchEnd(expiresAt);
  session.value = { state: 'in', reason: null, expiresAt };
}

export function sessionOver(reason) {
  clearTimeout(timer);
  if (session.peek().state === 'out') return;
  session.value = { state: 'out', reason, expiresAt: null };
}
