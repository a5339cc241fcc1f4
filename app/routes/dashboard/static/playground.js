// The playground: calls a model with a caller's key, as any caller would.

import { Block, dollars, html, milliseconds, useEffect, useRef, useState } from './parts.js';
import { callModel, get, withQuery } from './api.js';
import { eventsOf, textsOf, tokensOf } from './stream.js';

const KINDS = [
  ['prompt', 'prompt'],
  ['list', 'list of prompts, one a line'],
  ['tokens', 'token ids'],
  ['messages', 'messages (JSON)'],
];
const EXAMPLES = {
  prompt: 'Once upon a time',
  list: 'A haiku about rivers\nA haiku about dams',
  tokens: '9906, 1917',
  messages: '[\n  {"role": "user", "content": "Say hello."}\n]',
};
const KEPT_HEADERS = /^(x-|age$|retry-after)/;

// What is sent: the path and the body. Throws where a text cannot be read.
function requestOf(form) {
  const body = { model: form.model };
  if (form.kind === 'prompt') body.prompt = form.text;
  if (form.kind === 'list') body.prompt = form.text.split('\n').filter(Boolean);
  if (form.kind === 'tokens') body.prompt = form.text.split(/[\s,]+/).filter(Boolean).map(Number);
  if (form.kind === 'messages') body.messages = JSON.parse(form.text);
  for (const name of ['max_tokens', 'temperature', 'seed', 'n']) if (form[name] !== '') body[name] = Number(form[name]);
  if (form.user) body.user = form.user;
  if (form.logprobs !== '') Object.assign(body, form.kind === 'messages' ? { logprobs: true, top_logprobs: Number(form.logprobs) } : { logprobs: Number(form.logprobs) });
  if (form.stream) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  return { path: form.kind === 'messages' ? '/v1/chat/completions' : '/v1/completions', body };
}

function curlOf({ path, body }) {
  const text = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl${body.stream ? ' -N' : ''} "$HEADGATE_URL${path}" \\\n  -H "authorization: Bearer $HEADGATE_KEY" \\\n  -H 'content-type: application/json' \\\n  -d '${text}'`;
}

// JSON as Python writes it.
function python(value) {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(', ')}}`;
  return JSON.stringify(value);
}

function pythonOf({ path, body }) {
  const call = path.includes('chat') ? 'chat.completions' : 'completions';
  const members = Object.entries(body).map(([name, value]) => `    ${name}=${python(value)},`);
  return [
    'import os',
    'from openai import OpenAI',
    '',
    'client = OpenAI(base_url=os.environ["HEADGATE_URL"] + "/v1", api_key=os.environ["HEADGATE_KEY"])',
    `answer = client.${call}.create(`,
    ...members,
    ')',
    body.stream ? 'for chunk in answer:\n    print(chunk)' : 'print(answer)',
  ].join('\n');
}

function Copy({ title, text }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true), () => {});
  return html`<details><summary>${title}</summary>
    <pre class="output" tabindex="0" aria-label=${title}>${text}</pre><button onClick=${copy}>${copied ? 'Copied' : 'Copy'}</button>
  </details>`;
}

const NOTHING = { status: 0, took: 0, texts: {}, tokens: [], headers: [], usage: null, error: null, running: false };

function Answer({ answer }) {
  const texts = Object.entries(answer.texts);
  const error = answer.error;
  return html`<div aria-live="polite" aria-busy=${answer.running}>
    <h3>Answer ${answer.status ? `(${answer.status}, ${milliseconds(answer.took)})` : ''}</h3>
    ${answer === NOTHING && html`<div class="empty">Paste a caller's key, choose a model and send. The key stays in this page's memory; a reload forgets it.</div>`}
    ${error && html`<p class="trouble" role="alert">${error.code ? html`<code>${error.code}</code> ` : ''}${error.message}</p>`}
    ${texts.map(([index, text]) => html`<pre class="output" tabindex="0" aria-label=${`Choice ${index}`} data-choice=${index}>${text}</pre>`)}
    ${answer.tokens.length > 0 &&
    html`<h3>Tokens</h3><p class="mono">${answer.tokens.map(([token, value]) => html`<span title=${value === null || value === undefined ? 'no log-probability' : `log-probability ${value.toFixed(3)}, ${(100 * Math.exp(value)).toFixed(1)} %`}>${token} <small class="quiet">${value?.toFixed(2)}</small> </span>`)}</p>`}
    ${(answer.headers.length > 0 || answer.usage) &&
    html`<h3>Headers and usage</h3>
      <dl class="facts">
        ${answer.usage && html`<dt>usage</dt><dd>${JSON.stringify(answer.usage)}</dd>`}
        ${answer.headers.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}
      </dl>`}
  </div>`;
}

// A stream's cost is known when it is over, too late for a header: its record has it, a second later.
async function costOf(id) {
  for (let turn = 0; id && turn < 5; turn += 1) {
    await new Promise((then) => setTimeout(then, 600));
    const page = await get(withQuery('/requests', { request_id: id })).catch(() => null);
    if (page === null || page.data.length) return page?.data[0].cost_usd;
  }
  return null;
}

function useAnswer() {
  const [answer, setAnswer] = useState(NOTHING);
  const turn = useRef(0);
  const take = (document) =>
    setAnswer((before) => {
      const texts = { ...before.texts };
      for (const [index, text] of textsOf(document)) texts[index] = (texts[index] || '') + text;
      return { ...before, texts, tokens: [...before.tokens, ...tokensOf(document)].slice(0, 2000), usage: document.usage || before.usage, error: document.error || before.error };
    });
  const run = async (key, form) => {
    const mine = ++turn.current;
    const current = () => mine === turn.current;
    const began = performance.now();
    let id = '';
    setAnswer({ ...NOTHING, running: true });
    try {
      const { path, body } = requestOf(form);
      const response = await callModel(path, key, body);
      if (!response.headers.has('x-headgate-cost-usd')) id = response.headers.get('x-request-id');
      const headers = [...response.headers].filter(([name]) => KEPT_HEADERS.test(name));
      if (current()) setAnswer((before) => ({ ...before, status: response.status, took: performance.now() - began, headers }));
      if (response.ok && body.stream) {
        for await (const chunk of eventsOf(response.body)) {
          if (!current()) return;
          take(chunk);
        }
      } else {
        const document = JSON.parse(await response.text());
        if (current()) take(document);
      }
    } catch (error) {
      if (current()) setAnswer((before) => ({ ...before, error: { message: error.message } }));
    }
    if (current()) setAnswer((before) => ({ ...before, running: false, took: performance.now() - began }));
    const cost = await costOf(id);
    if (current() && cost) setAnswer((before) => ({ ...before, headers: [...before.headers, ['cost, of the record', dollars(cost)]] }));
  };
  return [answer, run];
}

// The models that a key may use; an empty list until it is known.
function useModels(key) {
  const [models, setModels] = useState([]);
  useEffect(() => {
    let over = false;
    const timer = setTimeout(async () => {
      if (!key) return setModels([]);
      const response = await callModel('/v1/models', key).catch(() => null);
      const document = response?.ok ? await response.json() : { data: [] };
      if (!over) setModels(document.data.map((one) => one.id));
    }, 300);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key]);
  return models;
}

const FIRST = { kind: 'prompt', text: EXAMPLES.prompt, model: '', max_tokens: '64', temperature: '', seed: '', n: '', logprobs: '', user: '', stream: true };

export function Playground() {
  const [key, setKey] = useState('');
  const [form, setForm] = useState(FIRST);
  const [answer, run] = useAnswer();
  const models = useModels(key);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value });
  const chosen = { ...form, model: form.model || models[0] || '' };
  let request = null;
  let unread = '';
  try {
    request = requestOf(chosen);
  } catch (error) {
    unread = error.message;
  }
  const turned = (event) => setForm({ ...form, kind: event.target.value, text: EXAMPLES[event.target.value] });
  const number = (name, label, more = {}) => html`<label>${label} <input type="number" value=${form[name]} onInput=${set(name)} ...${more} /></label>`;
  return html`<${Block} id="playground" title="Playground" note="A call is like any caller's: it passes limits and guardrails, and costs what it costs.">
    <div class="split">
      <form onSubmit=${(event) => { event.preventDefault(); run(key, chosen); }}>
        <div class="fields">
          <label>Caller's key <input type="password" autocomplete="off" required value=${key} onInput=${(event) => setKey(event.target.value.trim())} placeholder="kept in this page only" /></label>
          <label>Model <input list="models" required value=${chosen.model} onInput=${set('model')} /></label>
          <datalist id="models">${models.map((one) => html`<option value=${one} />`)}</datalist>
          <label>Input <select value=${form.kind} onChange=${turned}>${KINDS.map(([kind, name]) => html`<option value=${kind}>${name}</option>`)}</select></label>
        </div>
        <label class="wide">Text <textarea rows="7" value=${form.text} onInput=${set('text')} spellcheck="false"></textarea></label>
        <div class="fields">
          ${number('max_tokens', 'max_tokens', { min: 0 })}
          ${number('temperature', 'temperature', { min: 0, max: 2, step: 0.1 })}
          ${number('seed', 'seed')}
          ${number('n', 'n', { min: 1, max: 128 })}
          ${number('logprobs', 'logprobs', { min: 0, max: 5 })}
          <label>user <input value=${form.user} onInput=${set('user')} /></label>
        </div>
        <div class="row">
          <label class="check"><input type="checkbox" checked=${form.stream} onChange=${set('stream')} /> stream</label>
          <button class="primary" disabled=${answer.running || !!unread}>Send</button>
          ${unread && html`<span class="trouble" role="status">${unread}</span>`}
        </div>
        ${request && html`<${Copy} title="curl" text=${curlOf(request)} /><${Copy} title="Python" text=${pythonOf(request)} />`}
      </form>
      <${Answer} answer=${answer} />
    </div>
  <//>`;
}
