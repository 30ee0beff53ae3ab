// SPDX-License-Identifier: MIT
// A minute of faults under a known load (storm.mjs): every request right and whole, or a clear error that the design allows.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { KINDS } from './storm_kinds.mjs';
import { Storm } from './storm.mjs';

const SECONDS = Number(process.env.CB_STORM_SECONDS ?? 60);
const SEED = Number(process.env.CB_STORM_SEED ?? Date.now() % 1_000_000);

test(`a storm of ${SECONDS} s, seed ${SEED}`, async (t) => {
  const storm = await new Storm({ seed: SEED, say: (line) => t.diagnostic(line) }).start();
  let problem;
  await storm.run(SECONDS, KINDS.filter(({ long }) => !long)).catch((error) => (problem = error)); // hangs: worker.test.mjs
  const complaints = await storm.stop();
  for (const line of storm.table().split('\n')) t.diagnostic(line);
  t.diagnostic(JSON.stringify(storm.load.sums));
  for (const complaint of complaints) t.diagnostic(`complaint: ${typeof complaint === 'string' ? complaint : JSON.stringify(complaint)}`);
  if (problem) t.diagnostic(`problem: ${problem.stack}`);
  assert.deepEqual(complaints, [], `repeat it with: node tests/faults/storm.mjs --seed ${SEED}; log: ${storm.logFile}`);
  assert.ifError(problem);
  assert.ok(storm.faults.length >= 3, `${storm.faults.length} faults`);
});
