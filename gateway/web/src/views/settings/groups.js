// SPDX-License-Identifier: MIT
// Which settings stand together, in which order, and what a text is to those who edit it. What each means, its bounds
// and whether it can change at run time come from the API; a setting that is not named here stands under `other`.
const PREFIX = 'CODEBUDDY_';

const GROUPS = {
  models: ['MODELS', 'MODEL_PREFIX', 'SYSTEM_MESSAGE', 'REPLACEMENTS'],
  credentials: ['ROTATION_COUNT', 'CREDENTIAL_MAX_IN_FLIGHT', 'CREDENTIAL_EXHAUSTED_S', 'CREDS_DIR', 'SECRET_KEY_FILE'],
  upstream: ['CONNECT_TIMEOUT_S', 'FIRST_BYTE_TIMEOUT_S', 'IDLE_TIMEOUT_S', 'TOTAL_TIMEOUT_S', 'API_ENDPOINT', 'SITES_DIR', 'SSL_VERIFY', 'CA_FILE'],
  clients: ['MAX_STREAMS', 'KEEPALIVE_S', 'MAX_CONNECTIONS', 'MAX_BODY_BYTES', 'MAX_HEADER_BYTES', 'HEADER_TIMEOUT_S', 'BODY_TIMEOUT_S', 'BODY_TOTAL_TIMEOUT_S', 'CLIENT_IDLE_TIMEOUT_S', 'CORS_ORIGINS'],
  logs: ['LOG_LEVEL', 'ACCESS_LOG', 'LOG_FORMAT', 'USAGE_EVENTS_DAYS', 'USAGE_MINUTES_DAYS'],
  listening: ['PASSWORD', 'HOST', 'PORT', 'TLS_CERT_FILE', 'TLS_KEY_FILE', 'OPS_HOST', 'OPS_PORT', 'WEB_DIR'],
  processes: ['GATEWAYS', 'WORKERS', 'DRAIN_S', 'DATA_DIR', 'RUN_DIR', 'GATEWAY_BIND', 'GATEWAY_ENDPOINTS', 'CREDD_BIND', 'CREDD_ENDPOINT', 'STATSD_BIND', 'STATSD_ENDPOINT', 'LINK_KEYS_DIR', 'CONFINE'],
};
const LISTS = ['MODELS', 'CORS_ORIGINS', 'GATEWAY_ENDPOINTS'];
// What `codebuddy2api reload` cannot change (deploy/supervisor/README.md, "Reload").
const RESTARTS = ['HOST', 'PORT', 'OPS_HOST', 'OPS_PORT', 'RUN_DIR', 'GATEWAYS', 'WORKERS', 'DRAIN_S'];

const bare = (name) => name.slice(PREFIX.length);

// [[group, [name]]] of the names that there are.
export function groupsOf(names) {
  const named = new Set(Object.values(GROUPS).flat());
  const all = { ...GROUPS, other: names.map(bare).filter((name) => !named.has(name)) };
  return Object.entries(all).map(([group, list]) => [group, list.map((name) => PREFIX + name).filter((name) => names.includes(name))]);
}

// What it is edited as: 'number' | 'flag' | 'choice' | 'secret' | 'text' | 'lines' | 'list' | 'rules'.
export function typeOf(name, { kind }) {
  if (LISTS.includes(bare(name))) return 'list';
  return { SYSTEM_MESSAGE: 'lines', REPLACEMENTS: 'rules' }[bare(name)] ?? kind;
}

export const needsWholeRestart = (name) => RESTARTS.includes(bare(name));
