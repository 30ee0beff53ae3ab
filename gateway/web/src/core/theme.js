// SPDX-License-Identifier: MIT
// Light, dark, or what the system says. Colours themselves are in style/tokens.css (light-dark()).
import { effect, signal } from '@preact/signals';
import { preference } from './store.js';

export const THEMES = ['system', 'light', 'dark'];
export const [theme, chooseTheme] = preference('theme', THEMES);

const system = matchMedia('(prefers-color-scheme: dark)');
const systemIsDark = signal(system.matches);
system.addEventListener('change', () => (systemIsDark.value = system.matches));

// Counts up whenever colours may have changed: who draws on a canvas draws again.
export const paint = signal(0);

effect(() => {
  const chosen = theme.value;
  if (chosen === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  void systemIsDark.value;
  paint.value = paint.peek() + 1;
});

// The colour that a custom property has now, as something a canvas understands.
export function colorOf(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
