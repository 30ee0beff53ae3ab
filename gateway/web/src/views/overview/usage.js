// SPDX-License-Identifier: MIT
// What /api/usage says about a range, for tiles, charts and tables. Asked again while requests end, not more often
// than a range can show.
import { useEffect, useRef } from 'preact/hooks';
import { get, query } from '../../core/api.js';
import { live } from '../../core/live.js';
import { useResource } from '../../core/resource.js';

// seconds: of the range; step: of a point; every_ms: the least time between two questions
export const RANGES = {
  '1h': { seconds: 3600, step: 60, every_ms: 3000 },
  '24h': { seconds: 86400, step: 900, every_ms: 10_000 },
  '30d': { seconds: 30 * 86400, step: 86400, every_ms: 60_000 },
};

// Calls `act` when `value` has changed, at most every `ms`, and at last with the newest.
function useThrottled(act, value, ms) {
  const state = useRef({ at: 0, timer: null, value });
  useEffect(() => {
    const own = state.current;
    if (own.value === value) return undefined;
    own.value = value;
    if (own.timer) return undefined;
    own.timer = setTimeout(() => {
      own.timer = null;
      own.at = Date.now();
      act();
    }, Math.max(0, own.at + ms - Date.now()));
    return undefined;
  }, [value]);
  useEffect(() => () => clearTimeout(state.current.timer), []);
}

// A useResource of the answer. `by`: null for all in one.
export function useUsage(name, by) {
  const { seconds, step, every_ms } = RANGES[name];
  const asked = useResource(
    (signal) => {
      const to = Math.ceil(Date.now() / 1000);
      return get(`/api/usage${query({ from: to - seconds, to, step, by })}`, { signal });
    },
    [name, by],
  );
  useThrottled(asked.reload, live.stats.value?.totals.requests, every_ms);
  return asked;
}

const NOTHING = { requests: 0, errors: 0, cancelled: 0, prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0, reasoning_tokens: 0, credit: 0, first_event_mean_ms: null, first_event_p95_ms: null, duration_mean_ms: null };
export const totalsOf = (usage) => usage.series[0]?.totals ?? NOTHING;
export const pointsOf = (usage) => usage.series[0]?.points ?? Object.fromEntries(Object.keys(NOTHING).map((name) => [name, usage.times.map(() => NOTHING[name])]));
