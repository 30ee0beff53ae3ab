// SPDX-License-Identifier: MIT
// Where we are: #/name?param=value. The fragment never reaches the server, so the page needs no routes there.
import { signal } from '@preact/signals';
import { mayLeave } from './leave.js';

function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  return { name: path || 'overview', params: Object.fromEntries(new URLSearchParams(query)) };
}

// { name, params }
export const route = signal(parse(location.hash));
addEventListener('hashchange', async () => {
  const old = route.peek();
  if (parse(location.hash).name !== old.name && !(await mayLeave())) go(old.name, old.params);
  route.value = parse(location.hash);
});

// Empty parameters are left out.
export function href(name, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== '' && value != null));
  return `#/${name}${query.size ? `?${query}` : ''}`;
}

export function go(name, params) {
  location.hash = href(name, params);
}

// Changes parameters without a new entry in the history.
export function replaceParams(params) {
  const { name } = route.value;
  history.replaceState(null, '', href(name, params));
  route.value = parse(location.hash);
}
