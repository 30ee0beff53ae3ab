// SPDX-License-Identifier: MIT
// Before the first paint: the theme that was chosen here, so that the page does not flash in another one. And the first
// question, whether somebody is signed in, is asked while the rest is still on its way (core/api.js takes the answer).
// A classic script (it blocks, and is tiny). What is kept, and why it may be missing: core/store.js.
window.firstSession = fetch('/api/session', { cache: 'no-store' }).catch(() => null);
{
  let theme = null;
  try {
    theme = localStorage.getItem('codebuddy2api.theme');
  } catch {
    // Storage is forbidden: the system's theme it is.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
}
