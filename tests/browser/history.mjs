// SPDX-License-Identifier: MIT
// A ledger with thirty days behind it, so that charts, filters and pages have something to show. Written as the first
// version of the ledger was (statsd/ledger_schema.c); statsd adds it up when it starts.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const SCHEMA = `CREATE TABLE events(id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, started_wall_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL,
  first_event_ms INTEGER NOT NULL, key_id TEXT NOT NULL, credential_id TEXT NOT NULL, model TEXT NOT NULL, status INTEGER NOT NULL, outcome INTEGER NOT NULL,
  code TEXT NOT NULL, stream INTEGER NOT NULL, attempts INTEGER NOT NULL, moves INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, credit_micro INTEGER NOT NULL, UNIQUE(request_id, started_wall_ms)) STRICT;
CREATE INDEX events_started ON events(started_wall_ms); PRAGMA user_version=1;`;

// The ids of credentials are made of their files' names: work.json, team.json, spare.json.
export const CREDENTIAL_IDS = { work: 'a1226cb1ce30fce4', team: '97eb11a5d10a66ad', spare: 'cd1fec11f399b700' };
const MODELS = ['claude-4.0', 'gpt-5', 'gemini-2.5-pro', 'o4-mini', 'deepseek-v3.1'];
const KEYS = ['password', 'key_laptop', 'key_ci'];
// [outcome (proto/outcome.h), status, code]
const ENDS = [[0, 200, ''], [1, 499, 'cancelled'], [3, 502, 'upstream_error'], [4, 429, 'rate_limited'], [2, 400, 'invalid_request']];

// The same numbers each time: a small generator (mulberry32), seeded.
function randomOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

// The first of a list most often, the last seldom.
const pick = (random, list) => list[Math.floor(list.length * random() ** 2)];

function eventAt(random, wallMs, id) {
  const model = pick(random, MODELS);
  const [outcome, status, code] = random() < 0.93 ? ENDS[0] : pick(random, ENDS.slice(1));
  const isAnswered = outcome === 0;
  const first = isAnswered ? Math.round(180 + 900 * random() ** 3 + (model === 'o4-mini' ? 700 : 0)) : 0;
  const prompt = isAnswered ? Math.round(400 + 9000 * random() ** 2) : 0;
  const completion = isAnswered ? Math.round(60 + 1800 * random() ** 2) : 0;
  const cached = Math.round(prompt * 0.6 * random());
  return [id, `'${id.toString(16).padStart(32, '0')}'`, wallMs, first + Math.round(completion * 11 * (0.5 + random())), first, `'${pick(random, KEYS)}'`, `'${CREDENTIAL_IDS[pick(random, Object.keys(CREDENTIAL_IDS))]}'`,
    `'${model}'`, status, outcome, `'${code}'`, random() < 0.8 ? 1 : 0, 1, 0, prompt, completion, cached, model === 'o4-mini' ? Math.round(completion * 0.4) : 0, Math.round(prompt * 1.5 + completion * 6)];
}

// Busier by day and in the last hour. Times in ms before `end`.
function timesBefore(random, end) {
  const times = [];
  for (let i = 0; i < 2600; i++) {
    const at = end - Math.round(random() * 30 * 86_400_000);
    const hour = new Date(at).getHours();
    if (random() < (hour >= 8 && hour <= 20 ? 1 : 0.25)) times.push(at);
  }
  for (let i = 0; i < 260; i++) times.push(end - 45_000 - Math.round(random() * 3_500_000 * (0.4 + 0.6 * random())));
  return times.sort((a, b) => a - b);
}

// The widest that a row of requests gets: of each outcome (proto/outcome.h) one, none of today. All of them have the status
// 504, which the others have not.
function widestRows(end, id) {
  const at = end - 12 * 86_400_000;
  return [...Array(9).keys()].map((outcome) => [id + outcome, `'${(id + outcome).toString(16).padStart(32, '0')}'`, at + outcome, 3_599_000, 59_900, "'password'",
    `'${CREDENTIAL_IDS.work}'`, `'${MODELS[2]}'`, 504, outcome, "'upstream_timeout'", 1, 1, 0, 9_999, 9_999, 0, 0, outcome === 0 ? 88_880_000 : 0]);
}

// Makes DATA_DIR/usage.db, where the first version had it; how many requests are in it.
export function writeHistory(dataDir, end = Date.now()) {
  const random = randomOf(20_261_123);
  const usual = timesBefore(random, end).map((at, i) => eventAt(random, at, i + 1));
  const rows = [...usual, ...widestRows(end, usual.length + 1)].map((event) => `(${event.join(',')})`);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  execFileSync('sqlite3', [join(dataDir, 'usage.db')], { input: `${SCHEMA}\nBEGIN;\nINSERT INTO events VALUES ${rows.join(',\n')};\nCOMMIT;\n` });
  return rows.length;
}
