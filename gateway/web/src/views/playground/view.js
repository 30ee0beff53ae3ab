// SPDX-License-Identifier: MIT
// Playground: one completion by hand, through the same door as every client, with the session as its proof.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../../core/api.js';
import { count, decimal, duration } from '../../core/format.js';
import { html } from '../../core/html.js';
import { t } from '../../core/i18n.js';
import { href } from '../../core/router.js';
import { useResource } from '../../core/resource.js';
import { Button, Card, CopyButton, Empty, Notice, Segmented, Switch, TextArea, TextField, ViewHead, errorText } from '../../ui/index.js';
import { complete, rateOf } from './answer.js';
import { LANGUAGES, codeFor } from './code.js';

const OVER = ['done', 'stopped', 'failed'];

// What a form sends: exactly this, and the code says exactly this too.
function bodyOf({ model, system, message, stream }) {
  const messages = [...(system.trim() ? [{ role: 'system', content: system }] : []), { role: 'user', content: message }];
  return { model: model.trim(), messages, stream, ...(stream ? { stream_options: { include_usage: true } } : {}) };
}

// ---- the answer ----

export function failureText(error) {
  if (error.isBroken) return t('playground.broke');
  if (error.isCut) return t('playground.cut', { message: error.message ?? '' });
  if (!error.status) return errorText({ status: 0, ...error });
  return t('playground.failed_at', { message: error.message, status: String(error.status), code: error.code });
}

function Numbers({ run }) {
  const rate = rateOf(run);
  const usage = run.answer.usage;
  const facts = [
    ['first', duration(run.firstMs)],
    ['total', duration(run.totalMs)],
    ['rate', rate ? (rate.isEstimate ? t('playground.approximate', { n: decimal(rate.perSecond) }) : decimal(rate.perSecond)) : '–'],
    ['tokens', usage ? t('playground.in_out', { in: count(usage.prompt_tokens), out: count(usage.completion_tokens) }) : '–'],
    ['finish', run.answer.finish ?? '–'],
    ['request_id', run.requestId ?? '–'],
  ];
  return html`<dl class="run-facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`playground.${name}`)}</dt><dd class=${name === 'request_id' ? 'mono' : null}>${value}</dd></div>`)}</dl>`;
}

function Answer({ run }) {
  if (!run) return html`<${Empty} icon="playground" title=${t('playground.idle')}>${t('playground.idle_text')}<//>`;
  const { answer, state, error } = run;
  const isOver = OVER.includes(state);
  const isEmpty = !answer.text && !answer.reasoning && answer.tools.length === 0;
  return html`<div class="run" aria-busy=${isOver ? 'false' : 'true'}>
    ${answer.reasoning && html`<details class="run-thinking" open=${!answer.text}><summary>${t('playground.thinking')}</summary><p class="run-text">${answer.reasoning}</p></details>`}
    ${answer.text && html`<p class="run-text run-answer">${answer.text}</p>`}
    ${answer.tools.map((call, i) => html`<figure class="run-tool" key=${i}><figcaption>${t('playground.tool', { name: call.name })}</figcaption><pre tabindex="0">${call.arguments}</pre></figure>`)}
    ${state === 'waiting' && html`<p class="run-wait"><span class="spinner" aria-hidden="true" /> ${t('playground.waiting')}</p>`}
    ${state === 'done' && isEmpty && html`<p class="muted">${t('playground.empty_answer')}</p>`}
    ${state === 'stopped' && html`<${Notice} tone="info">${t('playground.stopped')}<//>`}
    ${state === 'failed' && html`<${Notice} tone="bad" title=${t('playground.failed')}>${failureText(error)}<//>`}
    </div><${Numbers} run=${run} />`;
}

// Sends at most one at a time; what comes is shown once a frame, however many chunks there are.
export function useRun() {
  const [run, setRun] = useState(null);
  const running = useRef(null);
  const frame = useRef(0);
  const show = (now) => {
    cancelAnimationFrame(frame.current);
    if (OVER.includes(now.state)) setRun({ ...now });
    else frame.current = requestAnimationFrame(() => setRun({ ...now }));
  };
  const send = (body) => {
    running.current = new AbortController();
    complete(body, running.current.signal, show);
    setRun({ state: 'waiting', answer: { text: '', reasoning: '', tools: [], deltas: 0 }, firstMs: null, totalMs: null });
  };
  useEffect(() => () => running.current?.abort(), []);
  return { run, send, stop: () => running.current?.abort() };
}

// ---- the code ----

function Code({ body }) {
  const [language, setLanguage] = useState('curl');
  const text = codeFor(language, `${location.origin}/v1`, body);
  return html`<${Card} title=${t('playground.code')} actions=${html`<${CopyButton} text=${text} />`}>
    <p class="code-lead">${t('playground.code_text')} <a class="link" href=${href('keys', { new: 1 })}>${t('playground.make_key')}</a></p>
    <${Segmented} label=${t('playground.language')} value=${language} options=${LANGUAGES} onChange=${setLanguage} />
    <pre class="code-text" tabindex="0"><code>${text}</code></pre><//>`;
}

export function Playground({ params }) {
  const models = useResource(async (signal) => (await get('/v1/models', { signal })).data.map(({ id }) => id), []);
  const [form, setForm] = useState({ model: params.model ?? '', system: '', message: t('playground.message_start'), stream: true });
  const [errors, setErrors] = useState({});
  const [sent, setSent] = useState(null);
  const { run, send, stop } = useRun();
  const isRunning = run !== null && !OVER.includes(run.state);
  const set = (field) => (value) => setForm((old) => ({ ...old, [field]: value }));
  useEffect(() => {
    if (models.data?.length) setForm((old) => (old.model ? old : { ...old, model: models.data[0] })); // not over what is being typed
  }, [models.data]);
  const submit = (event) => {
    event.preventDefault();
    if (isRunning) return;
    const wrong = { ...(form.model.trim() ? {} : { model: t('playground.no_model') }), ...(form.message.trim() ? {} : { message: t('playground.no_message') }) };
    setErrors(wrong);
    if (Object.keys(wrong).length) return;
    const body = bodyOf(form);
    setSent(body);
    send(body);
  };
  // Keys of their own below: one button that turned from Stop into Send within its click would submit the form.
  const onKey = (event) => (event.ctrlKey || event.metaKey) && event.key === 'Enter' && submit(event);
  return html`<${ViewHead} title=${t('playground.title')} lead=${t('playground.lead')} />
    <div class="playground">
      <${Card} title=${t('playground.ask')}>
        <form class="stack" novalidate onSubmit=${submit} onKeyDown=${onKey}>
          <${TextField} label=${t('playground.model')} hint=${t('playground.model_hint')} error=${errors.model} value=${form.model} onInput=${set('model')} list="playground-models" autocomplete="off" spellcheck=${false} />
          <datalist id="playground-models">${(models.data ?? []).map((name) => html`<option key=${name} value=${name} />`)}</datalist>
          <${TextArea} label=${t('playground.system')} hint=${t('playground.system_hint')} value=${form.system} onInput=${set('system')} rows="2" />
          <${TextArea} label=${t('playground.message')} error=${errors.message} value=${form.message} onInput=${set('message')} rows="6" />
          <div class="ask-acts"><${Switch} label=${t('playground.streamed')} checked=${form.stream} onChange=${set('stream')} />
            ${isRunning ? html`<${Button} key="stop" icon="stop" onClick=${stop}>${t('playground.stop')}<//>` : html`<${Button} key="send" kind="primary" icon="play" type="submit">${t('playground.send')}<//>`}</div>
        </form><//>
      <${Card} title=${t('playground.answer')} class="answer-card"><${Answer} run=${run} /><//>
    </div>
    <div class="code-card"><${Code} body=${sent ?? bodyOf(form)} /></div>`;
}
