// SPDX-License-Identifier: MIT
// What ids are called: credentials by their file, keys by their name, and the models that are offered.
import { useMemo } from 'preact/hooks';
import { get } from './api.js';
import { DASH } from './format.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { useResource } from './resource.js';

// { models: [name], credentials: [{id, filename}], keys: [{id, name}], credential(id), key(id) }. Lists are empty
// until they are known; an id without a name stays an id.
export function useNames() {
  const keys = useResource(async (signal) => (await get('/api/keys', { signal })).keys, []);
  const models = useResource(async (signal) => (await get('/v1/models', { signal })).data.map(({ id }) => id), []);
  const said = live.credentials.value;
  return useMemo(() => {
    const list = { models: models.data ?? [], credentials: said?.credentials ?? [], keys: keys.data ?? [] };
    const byId = (all, name) => new Map(all.map((one) => [one.id, one[name]]));
    const files = byId(list.credentials, 'filename');
    const named = byId(list.keys, 'name');
    return {
      ...list,
      credential: (id) => (id ? (files.get(id) ?? id) : DASH),
      key: (id) => (id === 'password' ? t('requests.password_key') : id ? (named.get(id) ?? id) : DASH),
    };
  }, [keys.data, models.data, said]);
}
