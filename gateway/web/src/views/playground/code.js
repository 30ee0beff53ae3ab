// SPDX-License-Identifier: MIT
// What was sent, as code for a client. Texts are quoted by each language's own rules.
const shellQuote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const indent = (text, by) => text.replaceAll('\n', `\n${by}`);

function python(value) {
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value === null) return 'None';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(', ')}}`;
  return JSON.stringify(value); // numbers and texts are written alike
}

const pythonArguments = (body) => Object.entries(body).map(([name, value]) => `    ${name}=${name === 'messages' ? `[\n${value.map((one) => `        ${python(one)},`).join('\n')}\n    ]` : python(value)},`).join('\n');

export const LANGUAGES = [['curl', 'curl'], ['python', 'Python'], ['javascript', 'JavaScript']];

export function codeFor(language, base, body, key = 'YOUR_KEY') {
  if (language === 'curl')
    return `curl ${body.stream ? '-N ' : ''}${base}/chat/completions \\
  -H 'Authorization: Bearer ${key}' \\
  -H 'Content-Type: application/json' \\
  -d ${shellQuote(JSON.stringify(body, null, 2))}`;
  if (language === 'python')
    return `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key="${key}")
${body.stream ? 'stream' : 'answer'} = client.chat.completions.create(
${pythonArguments(body)}
)
${body.stream ? `for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)` : 'print(answer.choices[0].message.content)'}`;
  return `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: '${key}' });
const ${body.stream ? 'stream' : 'answer'} = await client.chat.completions.create(${indent(JSON.stringify(body, null, 2), '')});
${body.stream ? `for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? '');` : 'console.log(answer.choices[0].message.content);'}`;
}
