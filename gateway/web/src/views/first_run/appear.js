// SPDX-License-Identifier: MIT
// The first run appears by itself, instead of the overview, while there is no credential; whoever leaves it is not led
// there again before the page is opened, or signed in to, the next time.
import { effect } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { live } from '../../core/live.js';
import { href } from '../../core/router.js';
import { session } from '../../core/session.js';

let wasLeft = false;
export const leftFirstRun = () => (wasLeft = true);
effect(() => {
  if (session.value.state === 'out') wasLeft = false;
});

export function useFirstRun() {
  const isEmpty = live.credentials.value?.credentials.length === 0;
  useEffect(() => {
    if (isEmpty && !wasLeft) location.replace(href('first_run')); // the way back leads past it
  }, [isEmpty]);
}
