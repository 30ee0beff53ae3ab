// SPDX-License-Identifier: MIT
// The views, in the order of the navigation. Each: name (its address and its part of the texts, with a `title`),
// icon, and View, a component that gets the address's parameters. `isAside`: it is not in the navigation.
import { Credentials } from './credentials/view.js';
import { FirstRun } from './first_run/view.js';
import { Keys } from './keys/view.js';
import { Overview } from './overview/view.js';
import { Playground } from './playground/view.js';
import { Processes } from './processes/view.js';
import { Requests } from './requests/view.js';
import { Settings } from './settings/view.js';

export const views = [
  { name: 'overview', icon: 'overview', View: Overview },
  { name: 'credentials', icon: 'credentials', View: Credentials },
  { name: 'playground', icon: 'playground', View: Playground },
  { name: 'keys', icon: 'keys', View: Keys },
  { name: 'requests', icon: 'requests', View: Requests },
  { name: 'processes', icon: 'processes', View: Processes },
  { name: 'settings', icon: 'settings', View: Settings },
  { name: 'first_run', icon: 'play', View: FirstRun, isAside: true },
];
