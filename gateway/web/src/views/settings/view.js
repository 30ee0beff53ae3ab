// SPDX-License-Identifier: MIT
// Settings: what each means, where its value comes from, and how it is changed. Those that can change at run time are
// edited here and saved together, all or none; the others say how.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get, post } from '../../core/api.js';
import { now } from '../../core/clock.js';
import { count, dateTime, relative } from '../../core/format.js';
import { classes, html } from '../../core/html.js';
import { hasText, language, t, tx } from '../../core/i18n.js';
import { feed } from '../../core/live.js';
import { href } from '../../core/router.js';
import { useResource } from '../../core/resource.js';
import { Badge, Button, Card, CopyButton, Empty, Icon, Loaded, Segmented, Skeleton, ViewHead, errorText, toast } from '../../ui/index.js';
import { discard, drafts, edit, errors, formOf, judge, listOf, rebase, saved } from './drafts.js';
import { EDITORS, isSeveral, plainly, unitOf } from './editors.js';
import { groupsOf, needsWholeRestart, typeOf } from './groups.js';

const FILTERS = {
  all: () => true,
  live: (setting) => !setting.needs_restart,
  start: (setting) => setting.needs_restart,
  set: (setting) => setting.source !== 'default',
};
const SOURCES = { default: 'from_default', '.env': 'from_dotenv', environment: 'from_environment', 'run time': 'from_run_time' };
const RELOAD = 'codebuddy2api reload';
const labelOf = (setting) => setting.label[language.value];

// ---- what is known of one ----

// A value as people read it.
function shown(setting, value) {
  if (setting.kind === 'flag') return t(value ? 'settings.on' : 'settings.off');
  if (setting.kind === 'number') return count(value);
  if (value === '') return t('settings.empty');
  return value;
}

const inShort = (text) => (text.length > 80 ? `${text.slice(0, 80)}…` : text);

function SetBy({ setting: { set_by: by, set_at: at } }) {
  const who = hasText(`settings.by_${by}`) ? t(`settings.by_${by}`) : by;
  return html`<time title=${dateTime(at)}>${t('settings.set_when', { who, when: relative(at, now.value) })}</time>`;
}

const Source = ({ setting }) => html`<${Badge} tone=${{ default: 'plain', 'run time': 'info' }[setting.source] ?? 'good'}>${t(`settings.${SOURCES[setting.source]}`)}<//>`;

// Bounds, and the default where it is not what is shown anyway.
function Range({ name, setting }) {
  const isList = typeOf(name, setting) === 'list' && setting.default;
  return html`${setting.kind === 'number' && html`<span>${t('settings.bounds', { min: count(setting.min), max: count(setting.max), unit: unitOf(setting.unit) })}</span>`}
    ${setting.kind !== 'secret' && setting.source !== 'default' && html`<span class="setting-default">${t('settings.default_is', { value: isList ? listOf(setting.default).join(', ') : shown(setting, setting.default) })}</span>`}`;
}

const Known = ({ name, setting }) => html`<p class="setting-known muted"><${Source} setting=${setting} />${setting.set_at && html`<${SetBy} setting=${setting} />`}<${Range} name=${name} setting=${setting} /></p>`;

// ---- one that is set where the program starts ----

function Value({ name, setting }) {
  if (setting.kind === 'secret') return html`<span class="muted">${t('settings.secret')}</span>`;
  if (setting.value === '') return html`<span class="muted">${t('settings.empty')}</span>`;
  if (typeOf(name, setting) === 'list') return html`<ul class="setting-value mono">${listOf(setting.value).map((one) => html`<li key=${one}>${one}</li>`)}</ul>`;
  const inWords = setting.kind === 'number' && [unitOf(setting.unit), plainly(setting.unit, setting.value) && `= ${plainly(setting.unit, setting.value)}`].filter(Boolean).join(' ');
  return html`<span class="setting-value"><span class=${setting.kind === 'text' ? 'mono' : null}>${shown(setting, setting.value)}</span>${inWords && html` <span class="muted">${inWords}</span>`}</span>`;
}

function How({ name, setting }) {
  const value = setting.kind === 'secret' ? '…' : String(setting.value);
  const line = `${name}=${/[\s#"'$\\]/.test(value) ? JSON.stringify(value) : value}`;
  const command = needsWholeRestart(name) ? null : html`<code>${RELOAD}</code>`;
  return html`<details class="setting-how"><summary>${t('settings.how')}</summary>
    <p class="setting-known"><${Range} name=${name} setting=${setting} /></p><p>${t('settings.how_put')}</p><p class="id-copy"><code>${line}</code><${CopyButton} text=${line} /></p>
    <p>${command ? tx('settings.how_reload', { command }) : t('settings.how_restart')}</p></details>`;
}

// ---- one that is set here ----

function Unset({ name, setting }) {
  return html`<p class="setting-unset"><span>${t('settings.will_unset', { value: shown(setting, setting.default) })}</span><${Button} small key="keep" onClick=${() => discard(name)}>${t('settings.keep')}<//></p>`;
}

function Editing({ name, setting, given }) {
  const draft = drafts.value[name];
  if (draft?.form === null) return html`<${Unset} name=${name} setting=${setting} />`;
  const Editor = EDITORS[typeOf(name, setting)];
  return html`<${Editor} setting=${setting} form=${draft ? draft.form : formOf(name, setting)} onChange=${(form) => edit(name, setting, form)} given=${given} />`;
}

function Acts({ name, setting }) {
  const draft = drafts.value[name];
  if (draft) return draft.form !== null && html`<${Button} key="revert" small kind="quiet" icon="back" aria-label=${t('settings.revert_of', { name })} onClick=${() => discard(name)}>${t('settings.revert')}<//>`;
  return setting.source === 'run time' && html`<${Button} key="unset" small kind="quiet" icon="trash" aria-label=${t('settings.unset_of', { name })} onClick=${() => edit(name, setting, null)}>${t('settings.unset')}<//>`;
}

function Setting({ name, setting }) {
  const error = errors.value[name];
  const type = typeOf(name, setting);
  const isLive = !setting.needs_restart;
  const ids = { label: `label-${name}`, input: `input-${name}`, error: `error-${name}`, name: `name-${name}` };
  const given = { id: ids.input, 'aria-labelledby': ids.label, 'aria-describedby': [ids.name, error && ids.error].filter(Boolean).join(' '), 'aria-invalid': error ? 'true' : null };
  const label = labelOf(setting);
  return html`<div class=${classes('setting', error && 'field-bad', drafts.value[name] && 'setting-edited')} id=${`setting-${name}`}>
    <div class="setting-what">${isLive && !isSeveral(type) ? html`<label id=${ids.label} for=${ids.input}>${label}</label>` : html`<p class="setting-label" id=${ids.label}>${label}</p>`}
      <span class="setting-name mono" id=${ids.name}>${name}</span></div>
    <div class="setting-edit">
      ${isLive
        ? html`<${Editing} name=${name} setting=${setting} given=${given} />
          ${error && html`<p class="field-error" id=${ids.error} role="alert">${error}</p>`}
          <div class="setting-foot"><${Known} name=${name} setting=${setting} /><${Acts} name=${name} setting=${setting} /></div>`
        : html`<div class="setting-fixed"><${Value} name=${name} setting=${setting} /><${Source} setting=${setting} /></div><${How} name=${name} setting=${setting} />`}
    </div></div>`;
}

// ---- all of them ----

// What was said last: by the API when it was asked, or in answer to what was saved. Asked again when the feed is back,
// for it may be another's gateway by then.
function useSettings() {
  const asked = useResource(async (signal) => (await get('/api/settings', { signal })).settings, []);
  const [said, say] = useState(null);
  const state = feed.value;
  const was = useRef(state);
  useEffect(() => asked.data && say(asked.data), [asked.data]);
  useEffect(() => {
    if (state === 'open' && was.current === 'lost') asked.reload();
    if (state !== 'connecting') was.current = state;
  }, [state]);
  return { ...asked, data: said, say };
}

const show = (id) => document.getElementById(id)?.scrollIntoView({ block: 'start' });

function focusOn(name) {
  requestAnimationFrame(() => {
    const place = document.getElementById(`setting-${name}`);
    place?.scrollIntoView({ block: 'center' });
    const controls = place && [...place.querySelectorAll('.setting-edit :is(input, textarea, select, button)')];
    (controls?.find((one) => one.getAttribute('aria-invalid')) ?? controls?.[0])?.focus({ preventScroll: true });
  });
}

// The setting that a refusal is about: rules between settings name it in their text only.
const atFault = (error, settings) => [error.param, /CODEBUDDY_\w+/.exec(error.message)?.[0]].find((name) => name in settings);

function useSave(settings, onSaved, reveal) {
  const [busy, setBusy] = useState(false);
  const refuse = (name) => {
    reveal();
    focusOn(name);
  };
  const failed = async (error) => {
    const name = error.status === 422 && atFault(error, settings);
    if (name) errors.value = { [name]: t('settings.refused', { message: error.message }) };
    else if (error.status === 409) {
      const answer = await get('/api/settings');
      onSaved(answer.settings);
      rebase(answer.settings, (moved) => t('settings.changed', { value: inShort(shown(answer.settings[moved], answer.settings[moved].value)) }));
    } else throw error;
    const first = Object.keys(errors.value)[0];
    if (first) refuse(first);
  };
  const save = async (event) => {
    event.preventDefault();
    const body = judge(settings);
    if (!body) refuse(Object.keys(errors.value)[0]);
    if (!body || busy || Object.keys(drafts.value).length === 0) return;
    const sent = drafts.value;
    setBusy(true);
    try {
      const answer = await post('/api/settings', body);
      saved(sent);
      onSaved(answer.settings);
      toast(t('settings.saved', { n: Object.keys(sent).length }), { tone: 'good' });
    } catch (error) {
      await failed(error).catch((again) => toast(t('settings.not_saved', { why: errorText(again) }), { tone: 'bad' }));
    }
    setBusy(false);
  };
  return { busy, save };
}

function SaveBar({ busy }) {
  const n = Object.keys(drafts.value).length;
  const wrong = Object.keys(errors.value).length;
  if (n === 0) return null;
  return html`<div class=${classes('save-bar', feed.value === 'lost' && 'save-bar-raised')} role="region" aria-label=${t('settings.unsaved_label')}>
    <p role="status">${wrong > 0 ? html`<span class="save-wrong"><${Icon} name="error" />${t('settings.wrong', { n: wrong })}</span>` : t('settings.unsaved', { n })}</p>
    <span class="row"><${Button} kind="quiet" key="discard" onClick=${() => discard()}>${t('settings.discard')}<//><${Button} kind="primary" key="save" type="submit" busy=${busy}>${t('settings.save')}<//></span></div>`;
}

function matches(name, setting, group, words) {
  const text = `${name} ${labelOf(setting)} ${t(`settings.group_${group}`)}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function All({ settings, say, at, sought, filter, reveal }) {
  const { busy, save } = useSave(settings, say, reveal);
  const words = sought.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = groupsOf(Object.keys(settings))
    .map(([group, names]) => [group, names.filter((name) => FILTERS[filter](settings[name]) && matches(name, settings[name], group, words))])
    .filter(([, names]) => names.length > 0);
  useEffect(() => at && show(`group-${at}`), [at]);
  return html`<div class="settings">
    <nav class="settings-index" aria-label=${t('settings.index')}><ul class="nav">${groups.map(([group, names]) => html`<li key=${group}><a class="nav-link" href=${href('settings', { at: group })} onClick=${() => show(`group-${group}`)}>
      <span>${t(`settings.group_${group}`)}</span><span class="settings-count muted">${count(names.length)}</span></a></li>`)}</ul></nav>
    <form class="stack settings-groups" novalidate onSubmit=${save}>
      ${groups.length === 0 && html`<${Card}><${Empty} icon="search" title=${t('settings.none')} action=${html`<${Button} onClick=${reveal}>${t('settings.show_all')}<//>`}>${t('settings.none_text')}<//><//>`}
      ${groups.map(([group, names]) => html`<div class="settings-group" id=${`group-${group}`} key=${group}><${Card} title=${t(`settings.group_${group}`)}>
        ${names.map((name) => html`<${Setting} key=${name} name=${name} setting=${settings[name]} />`)}<//></div>`)}
      <${SaveBar} busy=${busy} />
    </form></div>`;
}

const Waiting = () => html`<div class="settings"><div class="settings-index" /><div class="stack">${[300, 420, 420].map((height, i) => html`<${Card} key=${i}><${Skeleton} height=${height} /><//>`)}</div></div>`;

export function Settings({ params }) {
  const asked = useSettings();
  const [sought, setSought] = useState('');
  const [filter, setFilter] = useState('all');
  const reveal = () => {
    setSought('');
    setFilter('all');
  };
  return html`<${ViewHead} title=${t('settings.title')} lead=${t('settings.lead')} />
    <div class="settings-tools"><label class="settings-search"><span class="sr-only">${t('settings.search')}</span><${Icon} name="search" />
        <input class="input" type="search" value=${sought} placeholder=${t('settings.search')} onInput=${(event) => setSought(event.currentTarget.value)} /></label>
      <${Segmented} label=${t('settings.filter')} value=${filter} onChange=${setFilter} options=${Object.keys(FILTERS).map((name) => [name, t(`settings.filter_${name}`)])} /></div>
    <${Loaded} of=${asked} skeleton=${html`<${Waiting} />`}>${(settings) => html`<${All} settings=${settings} say=${asked.say} at=${params.at} sought=${sought} filter=${filter} reveal=${reveal} />`}<//>`;
}
