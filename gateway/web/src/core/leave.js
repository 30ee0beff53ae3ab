// SPDX-License-Identifier: MIT
// What would be lost when one leaves. Who has such a thing holds the page; whoever leads away asks first.
let held = null; // async () => may it be left?

// hold(null) lets go.
export function hold(ask) {
  held = ask;
}
export const mayLeave = async () => held === null || held();

// The browser asks in its own words.
addEventListener('beforeunload', (event) => held !== null && event.preventDefault());
