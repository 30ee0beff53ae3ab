// SPDX-License-Identifier: MIT
// What a client must see of every scenario of the stand-in upstream: one row each, for both modes. The texts
// are written from tests/upstream/README.md (chunk k says `tK `, reasoning chunk k `rK `, tool call i has the
// arguments below), the meaning from http-api.md 2 and upstream.md 5 and 6.
//
// A row has one of
//   says      the whole answer: content, reasoning, tools, finish, tokens (completion_tokens; null: no usage)
//   refused   { status, code, ... }: the HTTP error of both modes
//   breaks    { after, status, code, ... }: a stream says `after` and ends with an error event; plain is an
//             HTTP error (`streamMessage`: of the event; plain goes on to the next credential, and says why not)
//   endless   a stream that has no end: the client leaves after some events; plain is the HTTP error given
// and may have
//   fresh     the scenario harms credentials: a system of its own
//   system    'short': the system with timeouts of a second

export const BEYOND_ASCII = 'é世🙂';
const TOOL_NAMES = ['get_weather', 'get_time', 'search_web'];

const text = (count, tail = '') => Array.from({ length: count }, (_, k) => `t${k} ${tail}`).join('');
const thought = (count, tail = '') => Array.from({ length: count }, (_, k) => `r${k} ${tail}`).join('');

export function toolArguments(i, { bytes = 0, bad = false } = {}) {
  const open = `{"city":"City ${i}","n":${i},"note":"${BEYOND_ASCII} \\"q\\"`;
  const fill = Math.max(0, bytes - Buffer.byteLength(open) - 2);
  return open + 'x'.repeat(fill) + (bad ? '' : '"}');
}

// `id`: what it must be; undefined: made up, the same in no two calls.
function tools(count, { made = false, ...options } = {}) {
  return Array.from({ length: count }, (_, i) => ({
    id: made ? undefined : `call_s0${i}`,
    name: TOOL_NAMES[i],
    arguments: toolArguments(i, options),
  }));
}

const says = (content, more = {}) => ({
  says: { content, reasoning: undefined, tools: [], finish: 'stop', tokens: more.tokens, ...more },
});
const calls = (list, tokens, more = {}) => says(null, { tools: list, finish: 'tool_calls', tokens, ...more });

const incomplete = { status: 502, code: 'upstream_incomplete', type: 'upstream_error' };
const protocol = { status: 502, code: 'upstream_protocol_error', type: 'upstream_error' };
// Words of upstream-worker/attempt.c.
const TOO_LONG =
  "The upstream's answer is too long to be gathered (one event of 8 MiB, 64 MiB of text, or 128 MiB of events): ask for a stream, or for less.";
const upstream = { status: 502, code: 'upstream_error', type: 'upstream_error' };
const limited = { status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' };
const unknown = { status: 404, code: 'model_not_found', type: 'invalid_request_error', message: 'model not served' };
const timeout = { status: 504, code: 'upstream_timeout', type: 'upstream_error' };
const refused = (how, more = {}) => ({ refused: how, ...more });
const breaks = (after, how, more = {}) => ({ breaks: { after, ...how }, ...more });

export const table = {
  // Plain text of many kinds.
  chunks: says(text(5), { tokens: 5 }),
  load: says(Array.from({ length: 20 }, (_, k) => `t${k} `.padEnd(16, 'x')).join(''), { tokens: 20 }),
  slow: says(Array.from({ length: 40 }, (_, k) => `t${k} `.padEnd(16, 'x')).join(''), { tokens: 40 }),
  'empty-content': says(null, { tokens: 0 }),
  say: says('Hello! I am the stand-in upstream: these words came one by one, and your client put them together.', { tokens: 18 }),
  echo: says('Say hello.', { tokens: 1 }),
  'big-events': says(Array.from({ length: 3 }, (_, k) => `t${k} `.padEnd(1 << 20, 'x')).join(''), { tokens: 3 }),
  'big-body': says(Array.from({ length: 2048 }, (_, k) => `t${k} `.padEnd(4096, 'x')).join(''), { tokens: 2048 }),
  utf8: says(text(5, BEYOND_ASCII), { tokens: 5 }),
  escape: says(text(5, `${BEYOND_ASCII}"\\\t\n`), { tokens: 5 }),

  // Tool calls: the same story whatever the shape.
  'tools-proper': calls(tools(3), 13, { content: text(1) }),
  'tools-one': calls(tools(1), 4),
  'tools-whole': calls(tools(2), 2),
  'tools-index0': calls(tools(3), 12),
  'tools-index0-cont': calls(tools(3), 12),
  'tools-index0-whole': calls(tools(3), 3),
  'tools-index0-interleaved': calls(tools(2), 8),
  'tools-noid': calls(tools(3, { made: true }), 12),
  'tools-noid-interleaved': calls(tools(3, { made: true }), 12),
  'tools-emptyid': calls(tools(2), 8),
  'tools-noindex': calls(tools(2), 8),
  'tools-name-split': calls(tools(2), 10),
  'tools-name-every': calls(tools(2), 8),
  'tools-interleaved': calls(tools(3), 12),
  'tools-batch': calls(tools(3), 4),
  'tools-badargs': calls(tools(1, { bad: true }), 4),
  'tools-big': calls(tools(2, { bytes: 200000 }), 102),
  'tools-text': calls(tools(2), 13, { content: text(3, BEYOND_ASCII), reasoning: thought(2, BEYOND_ASCII) }),

  // Reasoning under both names, wherever it comes.
  reasoning: says(text(3), { reasoning: thought(3), tokens: 6 }),
  'reasoning-plain': says(text(3), { reasoning: thought(3), tokens: 6 }),
  'reasoning-both': says(text(3), { reasoning: thought(3), tokens: 6 }),
  'reasoning-after': says(text(3), { reasoning: thought(3), tokens: 6 }),
  'reasoning-with': says(text(3), { reasoning: thought(3), tokens: 3 }),
  'reasoning-mixed': says(text(3), { reasoning: thought(3), tokens: 6 }),

  // Usage, noise, roles, finish reasons.
  'usage-finish': says(text(3), { tokens: 3 }),
  'usage-every': says(text(3), { tokens: 3 }),
  'usage-none': says(text(3), { tokens: null }),
  credit: says(text(3), { tokens: 3, credit: 0.000123456789 }),
  noise: says(text(3), { tokens: 5 }),
  'noise-tools': calls(tools(2), 11, { content: text(1) }),
  extra: says(text(3), { tokens: 3, extra: true }),
  'no-role': says(text(3), { tokens: 3 }),
  'role-own': says(text(3), { tokens: 4 }),
  'role-every': says(text(3), { tokens: 3 }),
  'finish-length': says(text(3), { tokens: 3, finish: 'length' }),
  'finish-filter': says(text(1), { tokens: 1, finish: 'content_filter' }),
  'finish-on-last': says(text(3), { tokens: 3 }),

  // The same answer however it lies on the wire.
  'sep-lf': says(text(5), { tokens: 5 }),
  'sep-crlf': says(text(5), { tokens: 5 }),
  'sep-crlf1': says(text(5), { tokens: 5 }),
  'no-space': says(text(5), { tokens: 5 }),
  comments: says(text(5), { tokens: 5 }),
  fields: says(text(5), { tokens: 5 }),
  bom: says(text(3), { tokens: 3 }),
  'cut-1': says(text(3, BEYOND_ASCII), { tokens: 3 }),
  'cut-random': says(text(20, BEYOND_ASCII), { tokens: 20 }),
  'cut-utf8': says(text(5, BEYOND_ASCII), { tokens: 5 }),
  length: says(text(5), { tokens: 5 }),
  'until-close': says(text(5), { tokens: 5 }),
  close: says(text(5), { tokens: 5 }),

  // Ends, right and wrong. [DONE] or a finish_reason makes an answer whole; nothing else does.
  'no-done': says(text(3), { tokens: 3 }),
  'no-finish-done': says(text(3), { tokens: null }),
  'no-finish': breaks(text(3), incomplete),
  'eof-middle': breaks(text(2), incomplete),
  'eof-first': refused(incomplete),
  'abort-middle': breaks(text(2), incomplete),
  'reset-middle': breaks(text(2), incomplete),
  'abort-header': refused(upstream),
  'reset-header': refused(upstream),
  'reset-first': refused(incomplete),
  '200-empty-stream': refused(incomplete),
  '200-empty': refused(protocol),

  // Silence, and what never ends.
  silent: refused(timeout, { system: 'short' }),
  'silent-header': refused(timeout, { system: 'short' }),
  'silent-middle': breaks(text(2), timeout, { system: 'short' }),
  endless: { endless: timeout, system: 'short' },
  'endless-fast': { endless: { ...protocol, message: TOO_LONG } },
  'endless-line': breaks('t0 ', protocol),

  // Events that are not what they should be.
  'bad-json': breaks(text(2), protocol),
  'bad-json-first': refused(protocol),
  'bad-nul': breaks(text(2), protocol),
  'bad-shape': breaks(text(2), protocol),
  'bad-utf8': says(`${text(2)}\ufffd \ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd${'t2 t3 t4 '}`, { tokens: 5 }),

  // Errors inside a stream, and as the first event.
  'error-object': breaks(text(2), { status: 502, code: '11000', type: 'upstream_says_no', message: 'the stand-in says no' }),
  'error-text': breaks(text(2), { ...upstream, message: 'the stand-in says no' }),
  'error-code': breaks(text(2), { ...limited, streamMessage: 'credits used up' }, { fresh: true }),
  'error-object-first': refused({ status: 502, code: '11000', type: 'upstream_says_no', message: 'the stand-in says no' }),
  'error-text-first': refused({ ...upstream, message: 'the stand-in says no' }),
  'error-code-first': refused({ ...upstream, message: 'the stand-in says no' }),

  // Refusals. A 401 or 403 speaks of our credential, so the client never sees it as its own; the upstream's
  // type and code are passed on if they are text, and ours (404, 429) does not say more.
  '401-html': refused({ status: 503, code: 'no_credential' }, { fresh: true }),
  '401-json': refused({ status: 503, code: 'no_credential' }, { fresh: true }),
  '403-html': refused({ status: 503, code: 'no_credential' }, { fresh: true }),
  '403-json': refused({ status: 503, code: 'no_credential' }, { fresh: true }),
  '403-11140': refused({ ...upstream, message: 'request refused by risk control' }, { fresh: true }),
  404: refused(upstream),
  429: refused({ ...limited, retryAfter: [1, 60] }),
  '429-retry': refused({ ...limited, retryAfter: [1, 2] }),
  '429-date': refused({ ...limited, retryAfter: [1, 5] }),
  '429-text': refused({ ...limited, retryAfter: [1, 30] }),
  '429-iso': refused({ ...limited, retryAfter: [1, 30] }),
  '429-in': refused({ ...limited, retryAfter: [1, 30] }),
  '429-14018': refused(limited, { fresh: true }),
  500: refused({ ...upstream, message: 'internal error' }),
  '500-empty': refused(upstream),
  502: refused(upstream),
  503: refused(upstream),
  504: refused(upstream),
  11101: refused({ ...upstream, message: 'stream must be true' }),
  11102: refused(unknown),
  11128: refused({ ...upstream, message: 'first message must be system' }),
  400: refused({ status: 502, code: '400', type: 'upstream_says_no', message: 'bad request' }),

  // A 200 that is no stream.
  '200-envelope': refused(unknown),
  '200-error': refused({ status: 502, code: '500', message: 'internal error' }),
  '200-completion': says(text(5), { tokens: 5 }),
  '200-completion-tools': calls(tools(2), 10, { content: text(1), reasoning: thought(1) }),
  '200-html': refused(protocol),
};
