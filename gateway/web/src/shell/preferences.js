// SPDX-License-Identifier: MIT
// Language, theme, and the way out.
import { useState } from 'preact/hooks';
import { signOut } from '../core/api.js';
import { html } from '../core/html.js';
import { chooseLanguage, languageChoice, t } from '../core/i18n.js';
import { mayLeave } from '../core/leave.js';
import { chooseTheme, theme } from '../core/theme.js';
import { Button, Icon, errorText, toast } from '../ui/index.js';

// A native select, small, that says what it is by an icon and to screen readers by its label.
const Choice = ({ icon, label, value, options, onChange }) => html`
  <label class="choice"><${Icon} name=${icon} size=${16} /><span class="sr-only">${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`)}
    </select></label>`;

// Languages are called what their speakers call them.
export const Preferences = () => html`<div class="preferences">
  <${Choice} icon="globe" label=${t('shell.language')} value=${languageChoice.value} onChange=${chooseLanguage}
    options=${[['system', t('shell.language_system')], ['en', 'English'], ['zh', '中文']]} />
  <${Choice} icon=${{ system: 'screen', light: 'sun', dark: 'moon' }[theme.value]} label=${t('shell.theme')} value=${theme.value} onChange=${chooseTheme}
    options=${[['system', t('shell.theme_system')], ['light', t('shell.theme_light')], ['dark', t('shell.theme_dark')]]} />
</div>`;

export function SignOut() {
  const [busy, setBusy] = useState(false);
  const leave = async () => {
    if (!(await mayLeave())) return;
    setBusy(true);
    await signOut().catch((error) => {
      setBusy(false);
      toast(t('shell.sign_out_failed', { why: errorText(error) }), { tone: 'bad' });
    });
  };
  return html`<${Button} kind="quiet" icon="logout" busy=${busy} onClick=${leave} class="sign-out">${t('shell.sign_out')}<//>`;
}
