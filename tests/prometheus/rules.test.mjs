// SPDX-License-Identifier: MIT
// deploy/prometheus: promtool accepts configuration and rules, and every alert is tested, both ways.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DIR, promtool } from './prometheus.mjs';

const read = (name) => readFileSync(join(DIR, name), 'utf8');
const alerts = read('alerts.rules.yml').split(/^ {6}- alert: /m).slice(1);
const nameOfAlert = (text) => /^\S+/.exec(text)[0];

test('promtool check config, with the rules it names', async () => {
  assert.match(await promtool('check', 'config', 'prometheus.yml'), /SUCCESS: 2 rule files found/);
});

test('promtool test rules', async () => {
  assert.match(await promtool('test', 'rules', 'alerts.test.yml'), /SUCCESS/);
});

test('every alert has a severity, a summary and what to do, and is in the README', () => {
  assert.ok(alerts.length > 15);
  const readme = read('README.md').replaceAll('`…', '`CodebuddyCredential');
  for (const alert of alerts) {
    assert.match(alert, /labels: \{severity: (critical|warning)\}/, alert);
    assert.match(alert, /summary: "\S/, alert);
    assert.ok((/description: (?:>-\n\s+|")([\s\S]*)/.exec(alert)?.[1] ?? '').length > 60, alert);
    assert.ok(readme.includes(`\`${nameOfAlert(alert)}\``), `README.md names ${nameOfAlert(alert)}`);
  }
});

test('for every alert a test in which it fires, and one in which it does not', () => {
  const checks = [...read('alerts.test.yml').matchAll(/expr: ALERTS\{alertname="(\w+)",alertstate="firing"\}\n\s+eval_time: \w+\n\s+exp_samples:( \[\])?/g)];
  for (const alert of alerts.map(nameOfAlert)) {
    const mine = checks.filter(([, name]) => name === alert);
    assert.ok(mine.some(([, , none]) => !none), `${alert} fires`);
    assert.ok(mine.some(([, , none]) => none), `${alert} does not fire`);
  }
});
