// SPDX-License-Identifier: MIT
// First run: from nothing to the first answered completion, and to the code that goes into a client. One step at a
// time; what is done shows what came of it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get, post } from '../../core/api.js';
import { duration } from '../../core/format.js';
import { html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { go, href } from '../../core/router.js';
import { useResource } from '../../core/resource.js';
import { Button, Card, CopyButton, Facts, Icon, Loaded, Notice, Segmented, Skeleton, TextArea, TextField, ViewHead, errorText } from '../../ui/index.js';
import { AddDialog, DropZone, Results, addFiles } from '../credentials/add.js';
import { LoginDialog } from '../credentials/login.js';
import { useCredentials } from '../credentials/view.js';
import { LANGUAGES, codeFor } from '../playground/code.js';
import { failureText, useRun } from '../playground/view.js';
import { leftFirstRun } from './appear.js';

const NO_FILES = [];
const base = () => `${location.origin}/v1`;
const bodyOf = (model, message) => ({ model, messages: [{ role: 'user', content: message }], stream: true });

// ---- the steps; each calls onDone with what came of it ----

function AddCredential({ open, onAdded }) {
  const [results, setResults] = useState([]);
  const take = async (files) => {
    setResults(await addFiles(files));
    onAdded();
  };
  return html`<div class="first-ways">
      <div class="first-way"><p>${t('first_run.login_text')}</p><${Button} kind="primary" icon="credentials" onClick=${() => open('login')}>${t('credentials.log_in')}<//><${Button} onClick=${() => open('add')}>${t('first_run.paste')}<//></div>
      <p class="first-or muted">${t('first_run.or')}</p>
      <${DropZone} onFiles=${take} /></div>
    ${results.length > 0 && html`<${Results} results=${results} />`}`;
}

function TestCredential({ one, open, onDone }) {
  const [state, setState] = useState({ busy: false, why: null });
  const run = async () => {
    const began = performance.now();
    setState({ busy: true, why: null });
    try {
      await post(`/codebuddy/v1/credentials/${encodeURIComponent(one.id)}/test`, {});
      onDone(performance.now() - began);
    } catch (error) {
      setState({ busy: false, why: error.status ? error.message : errorText(error) });
    }
  };
  return html`<p>${t('first_run.test_text')}</p>
    ${state.why && html`<${Notice} tone="bad" title=${t('first_run.test_failed', { name: one.filename })}>${state.why}<//>`}
    <p class="row"><${Button} kind="primary" icon="play" busy=${state.busy} onClick=${run}>${t('first_run.test', { name: one.filename })}<//>
      ${state.why && html`<${Button} onClick=${() => open('login')}>${t('first_run.other_account')}<//>`}
      <${Button} kind="quiet" onClick=${() => onDone(null)}>${t('first_run.skip')}<//></p>`;
}

function Ask({ models, run, send, onSkip }) {
  const [message, setMessage] = useState(t('playground.message_start'));
  const isRunning = run !== null && ['waiting', 'running'].includes(run.state);
  const submit = (event) => {
    event.preventDefault();
    if (!isRunning && message.trim()) send(bodyOf(models[0], message));
  };
  return html`<form class="stack" novalidate onSubmit=${submit}>
    <${TextArea} label=${t('first_run.message', { model: models[0] })} value=${message} onInput=${setMessage} rows="3" />
    ${run?.state === 'failed' && html`<${Notice} tone="bad" title=${t('playground.failed')}>${failureText(run.error)}<//>`}
    <p class="row"><${Button} kind="primary" icon="play" type="submit" busy=${isRunning}>${t('playground.send')}<//><${Button} kind="quiet" onClick=${onSkip}>${t('first_run.skip')}<//></p>
    ${isRunning && html`<p class="run-text first-answer" aria-busy="true">${run.answer.text || t('playground.waiting')}</p>`}
  </form>`;
}

function MakeKey({ onDone }) {
  const [name, setName] = useState(t('first_run.key_name'));
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      onDone(await post('/api/keys', { name: name.trim() }));
    } catch (failed) {
      setError(failed.param === 'name' ? t('keys.bad_name') : errorText(failed));
      setBusy(false);
    }
  };
  return html`<form class="stack" novalidate onSubmit=${submit}><p>${t('first_run.key_text')}</p>
    <${TextField} label=${t('keys.name')} error=${error} value=${name} onInput=${setName} autocomplete="off" class="first-name" />
    <p class="row"><${Button} kind="primary" type="submit" busy=${busy}>${t('keys.submit')}<//></p></form>`;
}

function Client({ made, model, message }) {
  const [language, setLanguage] = useState('curl');
  const code = codeFor(language, base(), bodyOf(model, message), made.key);
  const copied = (text) => html`<span class="id-copy"><code class="key-text">${text}</code><${CopyButton} text=${text} /></span>`;
  return html`<div class="stack"><${Notice} tone="warn">${t('keys.made_text')}<//>
    <${Facts} pairs=${[[t('keys.key'), copied(made.key)], [t('keys.base_url'), copied(base())], [t('playground.model'), copied(model)]]} />
    <div class="first-code"><${Segmented} label=${t('playground.language')} value=${language} options=${LANGUAGES} onChange=${setLanguage} /><${CopyButton} text=${code} /></div>
    <pre class="code-text first-snippet" tabindex="0"><code>${code}</code></pre>
    <p><a class="button button-primary" href=${href('overview')}>${t('first_run.finish')}</a></p></div>`;
}

// ---- all of them ----

// One that can serve before one that cannot; of these the newest: it may have been added because another does not work.
const newestOf = (credentials) => credentials.toSorted((a, b) => (b.state === 'ready') - (a.state === 'ready') || (b.created_at ?? 0) - (a.created_at ?? 0))[0];

// state: 'done' | 'now' | 'later'. What a step says when it is done stands under its title.
function Step({ n, title, state, said, children }) {
  const heading = useRef(null);
  const was = useRef(state);
  useEffect(() => {
    if (state === 'now' && was.current === 'later') heading.current.focus();
    was.current = state;
  }, [state]);
  return html`<li class=${`step step-${state}`} aria-current=${state === 'now' ? 'step' : null}>
    <span class="step-mark">${state === 'done' ? html`<${Icon} name="check" /><span class="sr-only">${t('first_run.done')}</span>` : n}</span>
    <div class="step-body"><h2 ref=${heading} tabindex="-1">${title}</h2>${state === 'done' && said}${state === 'now' && html`<div class="stack step-now-body">${children}</div>`}</div></li>`;
}

function Steps({ credentials, models, open, reload }) {
  const [tested, setTested] = useState(undefined); // milliseconds; null: skipped
  const [asked, setAsked] = useState(false);
  const [made, setMade] = useState(null);
  const { run, send } = useRun();
  const [sent, setSent] = useState(null);
  const isAnswered = run?.state === 'done';
  const one = newestOf(credentials);
  const done = [true, one !== undefined, tested !== undefined, asked || isAnswered, false];
  const at = done.indexOf(false);
  const stateOf = (i) => (i < at ? 'done' : i === at ? 'now' : 'later');
  const note = (text) => html`<p class="muted step-said">${text}</p>`;
  return html`<${Card}><ol class="steps">
    <${Step} n=1 title=${t('first_run.signed_in')} state=${stateOf(0)} />
    <${Step} n=2 title=${t('first_run.credential')} state=${stateOf(1)} said=${one && note(one.email ?? one.filename)}><${AddCredential} open=${open} onAdded=${reload} /><//>
    <${Step} n=3 title=${t('first_run.testing')} state=${stateOf(2)} said=${note(tested === null ? t('first_run.skipped') : t('first_run.tested', { time: duration(tested) }))}>
      ${one && html`<${TestCredential} one=${one} open=${open} onDone=${setTested} />`}<//>
    <${Step} n=4 title=${t('first_run.ask')} state=${stateOf(3)} said=${isAnswered ? html`<p class="run-text first-answer">${run.answer.text || t('playground.empty_answer')}</p>` : note(t('first_run.skipped'))}>
      <${Ask} models=${models} run=${run} send=${(body) => { setSent(body); send(body); }} onSkip=${() => setAsked(true)} /><//>
    <${Step} n=5 title=${t('first_run.client')} state=${stateOf(4)}>
      ${made ? html`<${Client} key="client" made=${made} model=${models[0]} message=${sent?.messages[0].content ?? t('playground.message_start')} />` : html`<${MakeKey} key="make" onDone=${setMade} />`}<//>
  </ol><//>`;
}

export function FirstRun() {
  const asked = useCredentials();
  const models = useResource(async (signal) => (await get('/v1/models', { signal })).data.map(({ id }) => id), []);
  const [open, setOpen] = useState(null);
  const both = { data: asked.data && models.data && { credentials: asked.data.credentials, models: models.data }, error: asked.error ?? models.error, reload: () => (asked.reload(), models.reload()) };
  useEffect(() => leftFirstRun, []);
  return html`<div class="first-run"><${ViewHead} title=${t('first_run.title')} lead=${t('first_run.lead')}><${Button} onClick=${() => (leftFirstRun(), go('overview'))}>${t('first_run.leave')}<//><//>
    <${Loaded} of=${both} skeleton=${html`<${Card}><${Skeleton} height=${420} /><//>`}>
      ${({ credentials, models: all }) => html`<${Steps} credentials=${credentials} models=${all} open=${setOpen} reload=${asked.reload} />`}<//>
    <${LoginDialog} open=${open === 'login'} onClose=${() => setOpen(null)} onDone=${asked.reload} />
    <${AddDialog} open=${open === 'add'} dropped=${NO_FILES} onClose=${() => setOpen(null)} onAdded=${asked.reload} /></div>`;
}
