// SPDX-License-Identifier: MIT
// The time, for what is shown relative to it: seconds since 1970. Turns only while somebody looks at it.
import { signal } from '@preact/signals';

let timer;
export const now = signal(Date.now() / 1000, {
  watched() {
    this.value = Date.now() / 1000;
    timer = setInterval(() => (this.value = Date.now() / 1000), 1000);
  },
  unwatched() {
    clearInterval(timer);
  },
});
