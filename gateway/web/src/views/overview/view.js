// SPDX-License-Identifier: MIT
import { html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { ViewHead } from '../../ui/index.js';

export const Overview = () => html`<${ViewHead} title=${t('overview.title')} />`;
