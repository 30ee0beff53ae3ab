// SPDX-License-Identifier: MIT
// The frame: sign-in or navigation and the view that the address names, and what comes in front of both.
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from '../core/html.js';
import { language, t } from '../core/i18n.js';
import { feed } from '../core/live.js';
import { href, route } from '../core/router.js';
import { session } from '../core/session.js';
import { Confirmation, Empty, Icon, IconButton, Toasts, toast, useModal } from '../ui/index.js';
import { views } from '../views/index.js';
import { HealthPill } from './health.js';
import { Preferences, SignOut } from './preferences.js';
import { SignIn } from './sign_in.js';

const Brand = () => html`<a class="brand" href=${href('overview')}><span class="brand-mark" aria-hidden="true">‹›</span><span>codebuddy2api</span></a>`;

function Navigation({ current, onGo }) {
  return html`<nav aria-label=${t('shell.navigation')}><ul class="nav">
    ${views.filter(({ isAside }) => !isAside).map(({ name, icon }) => html`<li key=${name}><a class="nav-link" href=${href(name)} aria-current=${name === current ? 'page' : null} onClick=${onGo}>
      <${Icon} name=${icon} /><span>${t(`${name}.title`)}</span></a></li>`)}
  </ul></nav>`;
}

// On a narrow screen the navigation is behind a button.
function Drawer({ onClose, current }) {
  const ref = useModal();
  return html`<dialog ref=${ref} class="drawer" aria-label=${t('shell.navigation')} onCancel=${(event) => { event.preventDefault(); onClose(); }}
    onClick=${(event) => event.target === ref.current && onClose()}>
    <div class="side"><div class="drawer-head"><${Brand} /><${IconButton} icon="close" label=${t('shell.close_menu')} onClick=${onClose} /></div>
    <${Navigation} current=${current} onGo=${onClose} /><div class="side-foot"><${Preferences} /><${SignOut} /></div></div>
  </dialog>`;
}

const NotFound = () => html`<${Empty} icon="search" title=${t('shell.not_found')} action=${html`<a class="button button-secondary" href=${href('overview')}>${t('shell.to_overview')}</a>`}>
  ${t('shell.not_found_text')}<//>`;

// Said in place, over the page: nothing moves.
function Connection() {
  const was = useRef('connecting');
  const state = feed.value;
  useEffect(() => {
    if (was.current === 'lost' && state === 'open') toast(t('shell.back'), { tone: 'good' });
    if (state !== 'connecting') was.current = state;
  }, [state]);
  return html`<div class="connection" role="status">${state === 'lost' && html`<p class="connection-lost"><${Icon} name="warning" size=${16} />${t('shell.lost_long')}</p>`}</div>`;
}

function Inside() {
  const { name, params } = route.value;
  const [menu, setMenu] = useState(false);
  const first = useRef(true);
  const view = views.find((one) => one.name === name);
  useEffect(() => {
    document.title = t('shell.title', { view: view ? t(`${name}.title`) : t('shell.not_found') });
  }, [name, language.value]);
  useEffect(() => {
    scrollTo(0, 0);
    if (!first.current) document.getElementById('view-title')?.focus({ preventScroll: true });
    first.current = false;
  }, [name]);
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>${t('shell.skip')}</a>
    <div class="frame">
      <aside class="side-column"><div class="side side-fixed"><${Brand} /><${Navigation} current=${name} /><div class="side-foot"><${HealthPill} /><${Preferences} /><${SignOut} /></div></div></aside>
      <header class="top"><${IconButton} icon="menu" label=${t('shell.open_menu')} onClick=${() => setMenu(true)} aria-expanded=${menu ? 'true' : 'false'} /><${Brand} /><${HealthPill} /></header>
      <main id="main" class="main" tabindex="-1">${view ? html`<${view.View} key=${name} params=${params} />` : html`<${NotFound} />`}</main>
    </div>
    ${menu && html`<${Drawer} onClose=${() => setMenu(false)} current=${name} />`}<${Connection} />`;
}

const Starting = () => html`<div class="gate"><div class="gate-wait" role="status"><span class="spinner" aria-hidden="true" /><p>${t('shell.starting')}</p></div></div>`;

export function App() {
  const { state } = session.value;
  return html`${state === 'in' ? html`<${Inside} />` : state === 'out' ? html`<${SignIn} />` : html`<${Starting} />`}
    <${Confirmation} /><${Toasts} />`;
}
