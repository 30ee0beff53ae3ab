// SPDX-License-Identifier: MIT
// The way in. The password is read from its field when it is sent and stays nowhere.
import { useEffect, useRef, useState } from 'preact/hooks';
import { signIn } from '../core/api.js';
import { html } from '../core/html.js';
import { language, t } from '../core/i18n.js';
import { session } from '../core/session.js';
import { Button, Notice, TextField, errorText } from '../ui/index.js';
import { Preferences } from './preferences.js';

function problemOf(error) {
  if (error.status === 401) return t('sign_in.wrong');
  if (error.status === 429) return t('sign_in.many', { n: error.retryAfterS ?? 60 });
  if (error.status === 503) return t('sign_in.not_ready');
  return errorText(error);
}

export function SignIn() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null); // an ApiError, or 'empty'
  const [visible, setVisible] = useState(false);
  const field = useRef(null);
  const { reason } = session.value;
  useEffect(() => field.current.focus(), []);
  useEffect(() => {
    document.title = t('shell.title', { view: t('sign_in.title') });
  }, [language.value]);

  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    if (!field.current.value) {
      setProblem('empty');
      field.current.focus();
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      await signIn(field.current.value);
    } catch (error) {
      setProblem(error);
      setBusy(false);
      field.current.select();
      field.current.focus();
    }
  };
  const text = problem === 'empty' ? t('sign_in.empty') : problem && problemOf(problem);

  return html`<main class="gate">
    <form class="gate-card" onSubmit=${submit} noValidate>
      <div class="gate-brand"><span class="brand-mark" aria-hidden="true">‹›</span>codebuddy2api</div>
      <h1>${t('sign_in.title')}</h1>
      ${reason ? html`<${Notice} tone=${reason === 'ended' ? 'warn' : 'info'}>${t(`sign_in.${reason}`)}<//>` : html`<p class="lead">${t('sign_in.lead')}</p>`}
      <${TextField} label=${t('sign_in.password')} inputRef=${field} type=${visible ? 'text' : 'password'} name="password" autocomplete="current-password" required
        spellcheck=${false} autocapitalize="off" error=${text} />
      <label class="check"><input type="checkbox" checked=${visible} onChange=${(event) => setVisible(event.currentTarget.checked)} />${t('sign_in.show')}</label>
      <${Button} kind="primary" type="submit" busy=${busy} class="gate-submit">${t('sign_in.submit')}<//>
    </form>
    <${Preferences} />
  </main>`;
}
