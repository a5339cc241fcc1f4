// Callers' keys: make one, rotate it, block it, give it another budget.

import { Block, Empty, State, Table, html, moment, useEffect, usePolled, useState } from './parts.js';
import { get, withQuery, write } from './api.js';

const LIST = (text) => text.split(/[\s,]+/).filter(Boolean);

// A secret that is shown once, with what to do with it.
function Secret({ made, close }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(made.secret);
      setCopied(true);
    } catch {
      setCopied(false);
    }
  };
  return html`<div class="secret" role="status">
    <p><strong>The secret of ${made.id}</strong>, shown this once:</p>
    <p><code id="secret">${made.secret}</code></p>
    <div class="row"><button onClick=${copy}>${copied ? 'Copied' : 'Copy'}</button><button onClick=${close}>Done</button></div>
    <p class="note">Only its SHA-256 is kept. To try it, paste it into the <a href="#/playground">playground</a>.</p>
  </div>`;
}

function names(list) {
  return (list || []).map((one) => one.id ?? one.name);
}

// What a key may be given: names of the policies that exist, as far as this operator may see them.
function useChoices(may, tenants) {
  const [choices, setChoices] = useState({ tenants: [], limits: [], budgets: [] });
  useEffect(() => {
    if (tenants) setChoices((before) => ({ ...before, tenants }));
    for (const kind of ['tenants', 'limits', 'budgets'].filter((one) => may(`${one}:read`)))
      get(`/${kind}?limit=200`).then((page) => setChoices((before) => ({ ...before, [kind]: names(page.data) })), () => {});
  }, []);
  return choices;
}

const Choice = ({ name, label, of, none }) => html`<label>${label}
  <select name=${name}>${none && html`<option value="">${none}</option>`}${of.map((one) => html`<option value=${one}>${one}</option>`)}</select>
</label>`;

function NewKey({ choices, made, failed }) {
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const given = Object.fromEntries(new FormData(form));
    const body = { id: given.id, tenant: given.tenant };
    if (given.models) body.models = LIST(given.models);
    if (given.capabilities) body.capabilities = LIST(given.capabilities);
    if (given.limits) body.limits = given.limits;
    if (given.budget) body.budget = given.budget;
    if (given.expires) body.expires = `${given.expires}T00:00:00Z`;
    try {
      made(await write('POST', '/keys', body));
      form.reset();
    } catch (error) {
      failed(error);
    }
  };
  return html`<details>
    <summary>New key</summary>
    <form onSubmit=${submit}>
      <div class="fields">
        <label>Name <input name="id" pattern="[A-Za-z0-9._\\-]+" maxlength="64" required autocomplete="off" /></label>
        ${choices.tenants.length
          ? html`<${Choice} name="tenant" label="Tenant" of=${choices.tenants} />`
          : html`<label>Tenant <input name="tenant" required /></label>`}
        <label>Models, * for all <input name="models" value="*" /></label>
        <label>Capabilities <input name="capabilities" value="completions, chat" /></label>
        <${Choice} name="limits" label="Limits" of=${choices.limits} none="none of its own" />
        <${Choice} name="budget" label="Budget" of=${choices.budgets} none="none of its own" />
        <label>Expires <input name="expires" type="date" /></label>
      </div>
      <button class="primary">Create the key</button>
    </form>
  </details>`;
}

function Actions({ row, run, choices }) {
  if (row.source === 'file') return html`<span class="note">in ${row.line ? row.line.split('/').pop() : 'the file'}</span>`;
  const path = `/keys/${encodeURIComponent(row.id)}`;
  const sure = (question, then) => confirm(question) && then();
  return html`<span class="pills">
    ${row.blocked
      ? html`<button onClick=${() => run('POST', `${path}/unblock`)}>Unblock</button>`
      : html`<button class="danger" onClick=${() => sure(`Block ${row.id}? Its requests are refused within a second.`, () => run('POST', `${path}/block`))}>Block</button>`}
    <button onClick=${() => sure(`Rotate ${row.id}? The old secret works for 24 more hours.`, () => run('POST', `${path}/rotate`))}>Rotate</button>
    <label>budget <select aria-label=${`Budget of ${row.id}`} value=${row.budget || ''} onChange=${(event) => run('PATCH', path, { budget: event.target.value || null })}>
      <option value="">none</option>${choices.budgets.map((one) => html`<option value=${one}>${one}</option>`)}
    </select></label>
  </span>`;
}

const state = (row) => (row.blocked ? 'blocked' : row.expired ? 'expired' : row.shadowed ? 'shadowed by the file' : 'good');

export function Keys({ may, tenants }) {
  const [cursors, setCursors] = useState(['']);
  const [made, setMade] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const reads = may('keys:read');
  const polled = usePolled(reads && withQuery('/keys', { cursor: cursors[cursors.length - 1], limit: '50' }), 5);
  const choices = useChoices(may, tenants);
  const writes = may('keys:write');
  const rows = polled.data?.data || [];
  const done = (answer) => {
    setTrouble(null);
    if (answer?.secret) setMade(answer);
    polled.again();
  };
  const run = (method, path, body) => write(method, path, body).then(done, setTrouble);
  const columns = [
    { name: 'key', of: (row) => html`${row.id} ${row.prefix && html`<span class="quiet mono">${row.prefix}…</span>`}` },
    { name: 'tenant', of: (row) => row.tenant },
    { name: 'state', of: (row) => html`<${State} good=${state(row) === 'good'}>${state(row)}<//>` },
    { name: 'models', of: (row) => (row.models || []).join(', ') },
    { name: 'limits', of: (row) => row.limits || '–' },
    { name: 'budget', of: (row) => row.budget || '–' },
    { name: 'made', of: (row) => moment(row.created) },
    { name: 'last used', of: (row) => moment(row.last_used) },
    { name: 'expires', of: (row) => moment(row.expires) },
    { name: 'change', of: (row) => writes && html`<${Actions} row=${row} run=${run} choices=${choices} />` },
  ];
  return html`<${Block} id="keys" title="Keys" polled=${reads ? polled : null} note="A change holds on every replica within a second.">
    ${trouble && html`<div class="trouble" role="alert"><p>${trouble.message}</p>
      ${trouble.details?.length > 1 && html`<ul>${trouble.details.map((one) => html`<li>${one.param}: ${one.message}</li>`)}</ul>`}</div>`}
    ${made && html`<${Secret} made=${made} close=${() => setMade(null)} />`}
    ${writes ? html`<${NewKey} choices=${choices} made=${done} failed=${setTrouble} />` : html`<p class="note">This admin key may look at keys, and not change them.</p>`}
    ${!reads && html`<${Empty}>This admin key may not look at keys; it lacks the scope <code>keys:read</code>.<//>`}
    ${rows.length
      ? html`<${Table} label="Callers' keys" columns=${columns} rows=${rows} keyOf=${(row) => row.id} />`
      : polled.data && html`<${Empty}>There is no key yet. Open “New key” above and create one; it works within a second, on every replica.<//>`}
    ${(polled.data?.next_cursor || cursors.length > 1) &&
    html`<div class="row">
      <button disabled=${cursors.length < 2} onClick=${() => setCursors(cursors.slice(0, -1))}>Back</button>
      <button disabled=${!polled.data?.next_cursor} onClick=${() => setCursors([...cursors, polled.data.next_cursor])}>Next</button>
    </div>`}
  <//>`;
}
