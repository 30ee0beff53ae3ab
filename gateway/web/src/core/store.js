// SPDX-License-Identifier: MIT
// The few preferences that a browser keeps for this page: language and theme. Never a secret. Storage may be
// forbidden or full; then a preference lasts as long as the page.
import { signal } from '@preact/signals';

function read(name) {
  try {
    return localStorage.getItem(`codebuddy2api.${name}`);
  } catch {
    return null;
  }
}

// A signal that is one of `choices` (the first if nothing was kept) and is kept when set by `choose`.
export function preference(name, choices) {
  const kept = read(name);
  const value = signal(choices.includes(kept) ? kept : choices[0]);
  const choose = (choice) => {
    value.value = choice;
    try {
      localStorage.setItem(`codebuddy2api.${name}`, choice);
    } catch {
      // It lasts as long as the page.
    }
  };
  return [value, choose];
}
