// SPDX-License-Identifier: MIT
// Something asked of the API by a view: { data, error, isLoading, isStale, reload }. While it is asked again the old data
// stays, so nothing jumps (isStale: it answers an older question); what an older question answers late is dropped.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { feed } from './live.js';

const AGAIN_MS = 1500; // the feed may be back before the service that answers

// `load(signal)` is asked when the view appears and when `deps` change.
export function useResource(load, deps) {
  const [state, setState] = useState({ data: null, error: null, isLoading: true, key: null });
  const key = JSON.stringify(deps);
  const running = useRef(null);
  const reload = useCallback(async () => {
    running.current?.abort();
    const mine = new AbortController();
    running.current = mine;
    setState((old) => ({ ...old, isLoading: true }));
    try {
      const data = await load(mine.signal);
      if (running.current === mine) setState({ data, error: null, isLoading: false, key });
    } catch (error) {
      if (running.current === mine && error.name !== 'AbortError') setState((old) => ({ ...old, error, isLoading: false, key }));
    }
  }, deps);
  useEffect(() => {
    reload();
    return () => {
      running.current?.abort();
      running.current = null;
    };
  }, [reload]);
  // What failed because nobody was there to answer is asked again when the feed is back.
  const isAway = state.error !== null && (state.error.status === 0 || state.error.status === 503);
  const isBack = isAway && feed.value === 'open';
  useEffect(() => {
    if (!isBack) return undefined;
    const timer = setTimeout(reload, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [isBack, state.error]);
  const isStale = state.key !== null && state.key !== key;
  return { data: state.data, error: isStale ? null : state.error, isLoading: state.isLoading || isStale, isStale, reload };
}
