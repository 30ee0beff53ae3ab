// SPDX-License-Identifier: MIT
// What a storm found, by kind of fault.
import { KINDS } from './storm_kinds.mjs';

const median = (list) => (list.length ? [...list].sort((a, b) => a - b)[list.length >> 1] : 0);
const seconds = (ms) => (ms / 1000).toFixed(1);

function rowOf(name, faults) {
  const ends = faults.flatMap((fault) => fault.ends);
  const count = (...outcomes) => ends.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const times = faults.filter(({ recovered_ms }) => recovered_ms).map((fault) => fault.recovered_ms - fault.over_ms);
  return [
    name,
    faults.length,
    faults.reduce((sum, { requests }) => sum + requests, 0),
    faults.reduce((sum, { moved }) => sum + moved, 0),
    count('failed_after', 'cut_after'),
    count('failed_before', 'cut_before', 'refused'),
    faults.reduce((sum, { bad }) => sum + bad.filter(({ outcome }) => outcome !== 'wrong' && outcome !== 'hanging').length, 0),
    count('wrong', 'hanging'),
    `${seconds(median(times))} / ${seconds(Math.max(0, ...times))}`,
  ];
}

const HEAD = ['fault', 'times', 'requests', 'moved', 'failed after first byte', 'failed before', 'of these not allowed', 'wrong or hanging', 'seconds to recover: median / most'];

export function tableOf(faults) {
  const rows = KINDS.map(({ name }) => [name, faults.filter((fault) => fault.kind === name)])
    .filter(([, some]) => some.length)
    .map(([name, some]) => rowOf(name, some));
  return [HEAD, HEAD.map(() => '---'), ...rows, rowOf('**all**', faults)].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
