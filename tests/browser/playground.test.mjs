// SPDX-License-Identifier: MIT
// Playground: answers as they arrive, stopped, failed, and the code for the same.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { startWorld } from './harness.mjs';

let world;
before(async () => (world = await startWorld()));
after(() => world?.stop());

async function send(page, model, { message = 'Hi', system = '', streamed = true } = {}) {
  const { tab } = page;
  await tab.getByLabel('Model').fill(model);
  await tab.getByLabel('System message').fill(system);
  await tab.getByLabel('Message', { exact: true }).fill(message);
  const toggle = tab.getByRole('switch', { name: 'Streamed' });
  if ((await toggle.isChecked()) !== streamed) await toggle.click();
  await tab.getByRole('button', { name: 'Send' }).click();
}
const fact = (tab, name) => tab.locator('.run-facts div').filter({ hasText: name }).locator('dd');

test('a streamed answer arrives in pieces, with its times', async () => {
  const page = await world.open({ view: 'playground' });
  const { tab } = page;
  await send(page, 's:chunks?n=20&gap_ms=50');
  await tab.locator('.run-answer').getByText('t0 ', { exact: false }).waitFor();
  const early = await tab.locator('.run-answer').textContent();
  await fact(tab, 'Finish').getByText('stop').waitFor();
  const whole = await tab.locator('.run-answer').textContent();
  assert.ok(whole.startsWith(early) && early.length < whole.length, `${early} | ${whole}`);
  assert.equal(whole.trim(), Array.from({ length: 20 }, (_, i) => `t${i}`).join(' '));
  assert.match(await fact(tab, 'First event').textContent(), /\d+ ms|\d\.\d+ s/);
  assert.match(await fact(tab, 'Tokens a second').textContent(), /^\d/);
  assert.match(await fact(tab, 'Tokens').last().textContent(), /in · 20 out/);
  await page.checkAccess('playground, answered');
  await page.shot('playground-answered');
  await page.close();
});

test('a plain answer, with a system message', async () => {
  const page = await world.open({ view: 'playground' });
  await send(page, 's:chunks', { streamed: false, system: 'Be brief.' });
  await fact(page.tab, 'Finish').getByText('stop').waitFor();
  assert.equal((await page.tab.locator('.run-answer').textContent()).trim(), 't0 t1 t2 t3 t4');
  const { requests } = await world.system.upstream.control('requests?kind=chat&limit=1');
  assert.deepEqual(JSON.parse(requests[0].body).messages.map(({ role, content }) => [role, content]), [['system', 'Be brief.'], ['user', 'Hi']]);
  await page.close();
});

test('stop ends it at once, upstream too', async () => {
  const page = await world.open({ view: 'playground' });
  const { tab } = page;
  const { aborts, chat: asked } = await world.system.upstream.control('stats');
  await send(page, 's:endless');
  await tab.locator('.run-answer').waitFor();
  await tab.getByRole('button', { name: 'Stop' }).click();
  await tab.getByText('Stopped. The upstream was told at once.').waitFor();
  assert.ok((await world.system.upstream.control(`wait?counter=aborts&at_least=${aborts + 1}`)).reached);
  await tab.getByRole('button', { name: 'Send' }).waitFor();
  const { chat } = await world.system.upstream.control('stats');
  assert.equal(chat, asked + 1, 'stopping sent it again');
  await page.close();
});

test('reasoning and tool calls are shown', async () => {
  const page = await world.open({ view: 'playground' });
  const { tab } = page;
  await send(page, 's:tools-text');
  await fact(tab, 'Finish').getByText('tool_calls').waitFor();
  assert.ok((await tab.locator('.run-thinking').textContent()).includes('r0'));
  assert.equal(await tab.locator('.run-tool').count(), 2);
  assert.equal(JSON.parse(await tab.locator('.run-tool pre').nth(1).textContent()).n, 1);
  await page.close();
});

test('what goes wrong is told: refused, cut short, and what was not filled in', async () => {
  const page = await world.open({ view: 'playground' });
  const { tab } = page;
  page.allow(/status of (4|5)\d\d/);
  await send(page, 's:429-retry?key=playground');
  await tab.getByText(/HTTP 429/).waitFor();
  await page.shot('playground-failed');
  await send(page, 's:eof-middle');
  await tab.getByText(/The answer was cut short/).waitFor();
  await send(page, '', { message: ' ' });
  await tab.getByText('Name a model.').waitFor();
  await tab.getByText('Write a message.').waitFor();
  await page.close();
});

test('the code is what was sent, in each language, whatever the text', async () => {
  const page = await world.open({ view: 'playground' });
  const { tab } = page;
  const message = `it's "quoted" \\ $HOME \`x\`\n</script> 你好 ${'{'}`;
  await send(page, 's:chunks', { message, streamed: false });
  await fact(tab, 'Finish').getByText('stop').waitFor();
  const code = tab.locator('.code-text');
  const curl = await code.textContent();
  const asked = spawnSync('bash', ['-c', `curl() { printf '%s' "\${@: -1}"; }; ${curl}`], { encoding: 'utf8' });
  const body = JSON.parse(asked.stdout);
  assert.equal(body.messages[0].content, message);
  await tab.getByRole('radio', { name: 'Python' }).check({ force: true });
  const python = await code.textContent();
  const parsed = spawnSync('python3', ['-c', 'import ast,sys,json\nfor n in ast.walk(ast.parse(sys.stdin.read())):\n  if isinstance(n, ast.keyword) and n.arg == "messages": print(json.dumps(ast.literal_eval(n.value)))'], { input: python, encoding: 'utf8' });
  assert.deepEqual(JSON.parse(parsed.stdout), body.messages, parsed.stderr);
  await tab.getByRole('radio', { name: 'JavaScript' }).check({ force: true });
  const script = await code.textContent();
  const sent = new Function(`return ${/create\(([\s\S]*)\);\nconsole/.exec(script)[1]}`)();
  assert.deepEqual(sent, body);
  for (const text of [curl, python, script]) assert.ok(text.includes('YOUR_KEY') && !text.includes(world.system.password));
  await page.close();
});
