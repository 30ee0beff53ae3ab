// SPDX-License-Identifier: MIT
// What a set of processes has cost so far, from /proc: CPU in µs, memory in KiB.
import { readFileSync, readdirSync } from 'node:fs';

// All threads' time on a CPU. schedstat counts nanoseconds; stat only ticks of 10 ms.
function cpuOf(pid) {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return nanoseconds / 1000;
}

// Proportional set size: memory that processes share is counted once.
function memoryOf(pid) {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);
}

// All of its pages, shared ones too: this changes only when the process does something.
function residentOf(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

export function family(pid) {
  return [pid, ...childrenOf(pid).flatMap(family)];
}

// The program without its directory and our prefix; "supervisor" for the program of that prefix alone.
function nameOf(pid) {
  const program = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split(/[\0 ]/)[0].split('/').pop();
  return program.replace(/^codebuddy2api$/, 'supervisor').replace(/^codebuddy2api-/, '');
}

// By name: KiB.
export function resident(pids) {
  const by = {};
  for (const pid of pids) by[nameOf(pid)] = (by[nameOf(pid)] ?? 0) + residentOf(pid);
  return by;
}

// { cpu_us, memory_kib, by: { name: { cpu_us, memory_kib } } }
export function cost(pids) {
  const by = {};
  const sum = { cpu_us: 0, memory_kib: 0, by };
  for (const pid of pids) {
    const name = nameOf(pid);
    const one = { cpu_us: cpuOf(pid), memory_kib: memoryOf(pid) };
    by[name] ??= { cpu_us: 0, memory_kib: 0 };
    for (const key of ['cpu_us', 'memory_kib']) {
      sum[key] += one[key];
      by[name][key] += one[key];
    }
  }
  return sum;
}

export function spent(before, after) {
  const by = {};
  for (const name of Object.keys(after.by)) by[name] = after.by[name].cpu_us - (before.by[name]?.cpu_us ?? 0);
  return { cpu_us: after.cpu_us - before.cpu_us, by };
}
