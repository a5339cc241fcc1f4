// Block two: what was used and what it cost, by tenant, key and model, over any span.

import { Block, Chart, Empty, Table, Tile, compact, count, dollars, html, moment, usePolled, useState } from './parts.js';
import { withQuery } from './api.js';

export const SPANS = [
  ['1h', 'an hour'],
  ['24h', 'a day'],
  ['7d', '7 days'],
  ['31d', '31 days'],
];

export function Span({ value, change }) {
  const free = !SPANS.some(([span]) => span === value);
  return html`<span class="pills" role="group" aria-label="Time span">
    ${SPANS.map(([span, name]) => html`<button aria-pressed=${span === value} onClick=${() => change(span)}>${name}</button>`)}
    <label>from <input type="date" value=${free ? value : ''} onChange=${(event) => change(event.target.value || '24h')} /></label>
  </span>`;
}

// An estimate is marked: the tokens or the money that rest on one are said.
function Estimated({ of, estimated, format }) {
  return Number(estimated) > 0
    ? html`<span title=${`${format(estimated)} of it is estimated, because the upstream sent no usage`}>${format(of)} <abbr title="partly estimated">≈</abbr></span>`
    : format(of);
}

const COLUMNS = [
  { name: 'tenant', of: (row) => row.tenant },
  { name: 'key', of: (row) => row.key || html`<span class="quiet">all keys</span>` },
  { name: 'model', of: (row) => row.model || html`<span class="quiet">none</span>` },
  { name: 'requests', number: true, of: (row) => count(row.requests) },
  { name: 'errors', number: true, of: (row) => count(row.errors) },
  { name: 'tokens in', number: true, of: (row) => count(row.prompt_tokens) },
  { name: 'tokens out', number: true, of: (row) => html`<${Estimated} of=${row.completion_tokens} estimated=${row.estimated_tokens} format=${count} />` },
  { name: 'cost', number: true, of: (row) => html`<${Estimated} of=${row.cost_usd} estimated=${row.estimated_cost_usd} format=${dollars} />` },
  { name: 'saved', number: true, of: (row) => dollars(row.saved_usd) },
];

function csvOf(usage) {
  const names = ['tenant', 'key', 'model', 'requests', 'errors', 'prompt_tokens', 'completion_tokens', 'cost_usd', 'saved_usd', 'estimated_tokens', 'estimated_cost_usd'];
  // A spreadsheet must not take a name for a formula.
  const cell = (value) => `"${String(value ?? '').replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`;
  return [names.join(','), ...usage.rows.map((row) => names.map((name) => cell(row[name])).join(','))].join('\r\n');
}

function saveCsv(usage) {
  const url = URL.createObjectURL(new Blob([csvOf(usage)], { type: 'text/csv' }));
  Object.assign(document.createElement('a'), { href: url, download: 'headgate-usage.csv' }).click();
  URL.revokeObjectURL(url);
}

export function Spend() {
  const [span, setSpan] = useState('24h');
  const [only, setOnly] = useState({});
  const polled = usePolled(withQuery('/usage', { since: span, ...only }), 5);
  const usage = polled.data;
  const narrowed = Object.entries(only);
  const used = usage && (usage.rows.length > 0 || narrowed.length > 0);
  const others = usage?.others && { tenant: `${count(usage.others.rows)} more rows`, key: ' ', model: ' ', ...usage.others };
  return html`<${Block} id="spend" title="Spend" polled=${polled} tools=${html`<${Span} value=${span} change=${setSpan} />`}
    note=${usage && `${moment(usage.since)} to ${moment(usage.until)} UTC`}>
    ${usage && !used && html`<${Empty}>Nothing was used in this time. Choose a longer one, or make a <a href="#/keys">key</a> and call a model.<//>`}
    ${used &&
    html`<dl class="tiles">
        <${Tile} name="cost" value=${dollars(usage.totals.cost_usd)} note=${Number(usage.totals.estimated_cost_usd) > 0 ? `${dollars(usage.totals.estimated_cost_usd)} estimated` : ''} />
        <${Tile} name="saved by the cache" value=${dollars(usage.totals.saved_usd)} />
        <${Tile} name="requests" value=${count(usage.totals.requests)} note=${`${count(usage.totals.errors)} failed`} />
        <${Tile} name="tokens" value=${compact(usage.totals.prompt_tokens + usage.totals.completion_tokens)} note=${`${compact(usage.totals.prompt_tokens)} in, ${compact(usage.totals.completion_tokens)} out`} />
      </dl>
      <${Chart} label=${`Cost over time, ${dollars(usage.totals.cost_usd)} in all`} format=${(one) => dollars(one)}
        values=${[usage.series.map((one) => Date.parse(one.start) / 1000), usage.series.map((one) => Number(one.cost_usd))]}
        series=${[{ name: 'cost', tone: 'accent', bars: true }]} />
      ${usage.folded && html`<p class="note">Too many keys were in use to list them: the rows are sums over all keys. The total is exact. Ask for one key with the form below.</p>`}
      <form class="row" onSubmit=${(event) => { event.preventDefault(); const data = new FormData(event.target); setOnly(Object.fromEntries([...data].filter(([, value]) => value.trim()).map(([name, value]) => [name, value.trim()]))); }}>
        <label>tenant <input name="tenant" size="12" /></label>
        <label>key <input name="key" size="12" /></label>
        <label>model <input name="model" size="12" /></label>
        <button>Narrow</button>
        ${narrowed.length > 0 && html`<button type="reset" onClick=${() => setOnly({})}>All</button>`}
        <button type="button" onClick=${() => saveCsv(usage)}>CSV</button>
      </form>
      <${Table} label="Usage by tenant, key and model" columns=${COLUMNS} rows=${others ? [...usage.rows, others] : usage.rows}
        foot=${{ tenant: 'total', key: ' ', model: ' ', ...usage.totals }} keyOf=${(row) => `${row.tenant}/${row.key}/${row.model}`} />`}
  <//>`;
}
