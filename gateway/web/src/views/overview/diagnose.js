// SPDX-License-Identifier: MIT
// Is it healthy, and if not, which one thing is wrong and what can be done? Pure: from what the live feed said to
// { tone, key, params, act }, where `key` names the texts overview.KEY and overview.KEY_text, and `act` the view where
// something can be done about it, or null. The worst is told, alone.

const NEEDS_HANDS = ['needs_login', 'expired', 'disabled'];

function countStates(credentials) {
  const counts = {};
  for (const { state } of credentials) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

// Why no credential can serve; null if one can.
function noCredential(credentials, now) {
  if (credentials.length === 0) return { key: 'no_credential', act: 'first_run' };
  const counts = countStates(credentials);
  if (counts.ready) return null;
  const times = credentials.filter(({ state }) => state === 'cooling' || state === 'exhausted').map(({ until }) => until).filter(Boolean);
  const back = times.length ? Math.min(...times) : null;
  if (counts.cooling && back) return { key: 'all_cooling', params: { s: Math.max(0, back - now) }, act: 'credentials' };
  if (counts.exhausted) return { key: 'all_exhausted', act: 'credentials' };
  if (counts.disabled === credentials.length) return { key: 'all_disabled', act: 'credentials' };
  return { key: 'all_need_login', act: 'credentials' };
}

// What the feed's reasons (gateway/health.c) are called here, worst first, and where one looks. Others are told in the
// feed's words.
// Before credentials: without these, what is known of credentials is old or does not matter.
const FIRST = [
  ['no_worker', 'bad', 'no_worker', 'processes'],
  ['no_ready_worker', 'bad', 'no_worker', 'processes'],
  ['credd_away', 'warn', 'credd_away', 'processes'],
];
const THEN = [
  ['ledger_failing', 'warn', 'ledger_failing', 'processes'],
  ['statsd_away', 'warn', 'statsd_away', 'processes'],
  ['draining', 'warn', 'draining', null],
];

function fromReasons({ reasons }, table) {
  const found = table.find(([code]) => reasons.some((reason) => reason.code === code));
  return found ? { tone: found[1], key: found[2], params: {}, act: found[3] } : null;
}

// The pinned credential cannot serve, so rotation took over.
const pinFailed = (current) => Boolean(current?.pinned_id) && current.status !== 'manual_selected';

// Null while too little is known. `said`: { health, credentials, current } as the feed said them, null if not yet.
export function diagnose({ health, credentials, current, now }) {
  if (!health) return null;
  const first = fromReasons(health, FIRST);
  if (first) return first;
  if (!credentials) return null;
  const none = noCredential(credentials, now);
  if (none) return { tone: 'bad', params: {}, ...none };
  const then = fromReasons(health, THEN);
  if (then) return then;
  if (health.reasons.length > 0) {
    const tone = health.status === 'unhealthy' ? 'bad' : 'warn';
    return { tone, key: 'reason', params: { message: health.reasons[0].message }, act: 'processes' };
  }
  const counts = countStates(credentials);
  const params = { ready: counts.ready, n: credentials.length };
  if (pinFailed(current)) return { tone: 'warn', key: 'pin_failed', params, act: 'credentials' };
  const idle = NEEDS_HANDS.reduce((sum, state) => sum + (state === 'disabled' ? 0 : (counts[state] ?? 0)), 0);
  if (idle > 0) return { tone: 'warn', key: 'some_need_login', params: { n: idle }, act: 'credentials' };
  return { tone: 'good', key: 'healthy', params, act: null };
}
