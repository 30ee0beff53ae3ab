// SPDX-License-Identifier: MIT
// All texts. A text.js exports one object per part of the page, named like the part: { en: {…}, zh: {…} }.
import { addTexts } from './core/i18n.js';
import * as common from './ui/text.js';
import * as credentials from './views/credentials/text.js';
import * as firstRun from './views/first_run/text.js';
import * as keys from './views/keys/text.js';
import * as overview from './views/overview/text.js';
import * as playground from './views/playground/text.js';
import * as processes from './views/processes/text.js';
import * as requests from './views/requests/text.js';
import * as settings from './views/settings/text.js';

for (const module of [common, credentials, firstRun, keys, overview, playground, processes, requests, settings])
  for (const [part, both] of Object.entries(module)) addTexts(part, both);
