// SPDX-License-Identifier: MIT
// A login at CodeBuddy: we get a link, a person opens it, we ask until it is done (as RFC 8628's device flow). The
// token goes from the upstream to credd and never comes here.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ask, post } from '../../core/api.js';
import { now } from '../../core/clock.js';
import { span } from '../../core/format.js';
import { html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { Button, CopyButton, Dialog, Notice, Skeleton, errorText } from '../../ui/index.js';

const SLOWER_S = 5; // what slow_down adds to the interval

function reasonOf(error) {
  if (error.code === 'too_many_logins') return t('credentials.login_many');
  if (error.code === 'invalid_grant') return t('credentials.login_over');
  if (error.code === 'access_denied') return t('credentials.login_denied', { why: error.message });
  if (error.status === 502) return t('credentials.login_away', { why: error.message });
  return errorText(error);
}

const wait = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()));
  });

// Asks until the login is over; `say` gets each state. A lost connection is no failure: the login goes on without us.
async function follow({ signal, say, own }) {
  try {
    const begun = await post('/codebuddy/auth/start', {}, { signal });
    const ends = Date.now() / 1000 + begun.expires_in;
    let interval = begun.interval;
    own.state = begun.auth_state;
    say({ step: 'waiting', link: begun.verification_uri_complete, ends });
    while (!signal.aborted) {
      await wait(interval * 1000, signal);
      if (signal.aborted) return;
      try {
        const done = await post('/codebuddy/auth/poll', { auth_state: begun.auth_state }, { signal });
        own.state = null;
        say({ step: 'done', user: done.user_id ?? done.id });
        return;
      } catch (error) {
        if (error.code === 'slow_down') interval += SLOWER_S;
        else if (error.code !== 'authorization_pending' && error.code !== 'network') throw error;
      }
    }
  } catch (error) {
    if (error.name === 'AbortError') return;
    own.state = null;
    say({ step: 'failed', why: reasonOf(error) });
  }
}

function useLogin(open, round) {
  const [state, say] = useState({ step: 'starting' });
  useEffect(() => {
    if (!open) return undefined;
    const over = new AbortController();
    const own = { state: null };
    // What is left behind would count among the few logins that may be open.
    const cancel = () => {
      if (own.state) ask('/codebuddy/auth/cancel', { method: 'POST', body: { auth_state: own.state }, keepalive: true }).catch(() => {});
      own.state = null;
    };
    say({ step: 'starting' });
    follow({ signal: over.signal, say, own });
    addEventListener('pagehide', cancel);
    return () => {
      over.abort();
      removeEventListener('pagehide', cancel);
      cancel();
    };
  }, [open, round]);
  return state;
}

function Waiting({ link, ends }) {
  return html`<div class="stack login-waiting">
    <p>${t('credentials.login_step')}</p>
    <div class="login-acts"><a class="button button-primary" href=${link} target="_blank" rel="noopener noreferrer">${t('credentials.login_open')}</a><${CopyButton} text=${link} small=${false} label=${t('credentials.login_copy')} /></div>
    <p class="login-link mono">${link}</p>
    <p class="login-status" role="status"><span class="spinner" aria-hidden="true" /> ${t('credentials.login_waiting')}</p>
    <p class="muted" role="timer">${t('credentials.login_left', { time: span(Math.max(0, ends - now.value)) })}</p></div>`;
}

export function LoginDialog({ open, onClose, onDone }) {
  const [round, setRound] = useState(0);
  const state = useLogin(open, round);
  const told = useRef(null);
  const again = () => setRound((n) => n + 1);
  useEffect(() => {
    if (state.step === 'done' && told.current !== state) onDone();
    told.current = state;
  }, [state]);
  const footer = {
    done: html`<${Button} onClick=${again}>${t('credentials.login_again')}<//><${Button} kind="primary" onClick=${onClose}>${t('credentials.login_finish')}<//>`,
    failed: html`<${Button} kind="quiet" onClick=${onClose}>${t('ui.close')}<//><${Button} kind="primary" onClick=${again}>${t('credentials.login_retry')}<//>`,
  }[state.step] ?? html`<${Button} kind="quiet" onClick=${onClose}>${t('ui.cancel')}<//>`;
  return html`<${Dialog} open=${open} title=${t('credentials.login_title')} onClose=${onClose} footer=${footer}>
    <div class="login-body">
      ${state.step === 'starting' && html`<p role="status">${t('credentials.login_starting')}</p><${Skeleton} lines=${3} />`}
      ${state.step === 'waiting' && html`<${Waiting} link=${state.link} ends=${state.ends} />`}
      ${state.step === 'done' && html`<${Notice} tone="good" title=${t('credentials.login_done')}>${t('credentials.login_done_text', { user: state.user })}<//>`}
      ${state.step === 'failed' && html`<${Notice} tone="bad" title=${t('credentials.login_failed')}>${state.why}<//>`}
    </div><//>`;
}
