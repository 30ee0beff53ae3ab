// SPDX-License-Identifier: MIT
// The live feed, GET /api/live: what the whole page knows without asking. One connection, while somebody is signed in
// and looks (a hidden page lets go: browsers allow six connections to a host). It comes back by itself.
import { effect, signal } from '@preact/signals';
import { ask } from './api.js';
import { session, sessionOver } from './session.js';

// Each null until the feed has said it first. Shapes: http-api.md and gateway/README.md.
export const live = {
  health: signal(null),
  stats: signal(null),
  processes: signal(null),
  credentials: signal(null),
  requests: signal(null),
};
// 'connecting' (first time, or again after a pause) | 'open' | 'lost' (trying again)
export const feed = signal('connecting');

const SILENCE_MS = 45_000; // three times the comment that the gateway sends when it has nothing to say
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const isVisible = signal(!document.hidden);
document.addEventListener('visibilitychange', () => (isVisible.value = !document.hidden));

// Splits text into events as it comes (WHATWG "event stream"); calls on({ event, data }) for each.
export function eventReader(on) {
  let rest = '';
  let event = '';
  let data = [];
  const takeLine = (line) => {
    if (line === '') {
      if (data.length) on({ event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
  };
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(takeLine);
  };
}

function take({ event, data }) {
  if (live[event]) live[event].value = JSON.parse(data);
}

// One connection, to its end. Resolves to true if it ever said something.
async function listen(signal) {
  const silence = new AbortController();
  let timer;
  const hear = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  let heard = false;
  const lose = () => silence.abort(); // the browser knows before the silence does
  addEventListener('offline', lose);
  try {
    hear();
    const response = await ask('/api/live', { signal: AbortSignal.any([signal, silence.signal]) });
    if (response.status === 401) sessionOver('ended');
    if (!response.ok || !response.body) return false;
    const read = eventReader(take);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return heard;
      heard = true;
      feed.value = 'open';
      hear();
      read(value);
    }
  } catch {
    return heard; // there is no answer, or it broke: the caller tries again
  } finally {
    clearTimeout(timer);
    removeEventListener('offline', lose);
    silence.abort();
  }
}

// Ends when the signal says so. A wait is cut short when the browser says the network is back.
function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener('online', end);
      resolve();
    };
    const timer = setTimeout(end, ms * (0.75 + Math.random() / 2));
    addEventListener('online', end);
    signal.addEventListener('abort', end);
  });
}

async function follow(signal) {
  let tries = 0;
  while (!signal.aborted) {
    const heard = await listen(signal);
    if (signal.aborted) return;
    feed.value = 'lost';
    tries = heard ? 0 : tries + 1;
    await pause(BACKOFF_MS[Math.min(tries, BACKOFF_MS.length - 1)], signal);
  }
}

effect(() => {
  const isOn = session.value.state === 'in' && isVisible.value;
  if (!isOn) return undefined;
  const over = new AbortController();
  feed.value = 'connecting';
  follow(over.signal);
  return () => over.abort();
});

// Nothing of one person's session is shown in the next.
effect(() => {
  if (session.value.state !== 'out') return;
  for (const one of Object.values(live)) one.value = null;
});
