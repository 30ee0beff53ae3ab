// SPDX-License-Identifier: MIT
// Random numbers that a seed repeats (mulberry32: public domain, by Tommy Ettinger).
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // In [0, 1).
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  // An integer, both ends included.
  between(least, most) {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick(list) {
    return list[this.between(0, list.length - 1)];
  }

  shuffled(list) {
    const rest = [...list];
    const out = [];
    while (rest.length) out.push(...rest.splice(this.between(0, rest.length - 1), 1));
    return out;
  }
}
