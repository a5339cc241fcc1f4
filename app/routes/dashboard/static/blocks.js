// Blocks three to six: cache, limits and budgets, upstreams and replicas, errors.

import { Bar, Block, Empty, State, Table, Tile, ago, count, dollars, html, milliseconds, moment, percent, usePolled, useState } from './parts.js';
import { withQuery } from './api.js';
import { Span } from './spend.js';
import { Tail } from './now.js';

export function Cache() {
  const polled = usePolled('/cache?since=24h', 10);
  const usage = usePolled('/usage?since=24h', 10);
  const cache = polled.data;
  const results = cache?.results;
  const asked = results && results.hit_rate !== null;
  const bounds = (one) => `${percent(one.low)} to ${percent(one.high)}`;
  return html`<${Block} id="cache" title="Cache" note="the last 24 hours" polled=${polled}>
    ${cache && !asked && html`<${Empty}>No model's answers are cached yet. Put <code>cache: {"{}"}</code> under a model in the configuration; a repeated prompt is then answered without the upstream.<//>`}
    ${cache && asked &&
    html`<dl class="tiles">
        <${Tile} name="hit rate" value=${percent(results.hit_rate)} note=${`${count(results.served)} served`} />
        <${Tile} name="saved" value=${dollars(usage.data?.totals.saved_usd)} />
        <${Tile} name="hits" value=${count(results.hit)} note=${`${count(results.stale)} stale, ${count(results.coalesced)} shared`} />
        <${Tile} name="of them by meaning" value=${count(results.semantic_hits)} note=${`${count((results.hit || 0) - results.semantic_hits)} exact`} />
        <${Tile} name="misses" value=${count(results.miss)} note=${`${count(results.bypass)} passed by`} />
      </dl>
      <${Table} label="Cache by model" rows=${cache.models} columns=${[
        { name: 'model', of: (row) => row.model || '–' },
        { name: 'exact hits', number: true, of: (row) => count((row.hit || 0) - row.semantic_hits) },
        { name: 'by meaning', number: true, of: (row) => count(row.semantic_hits) },
        { name: 'shared', number: true, of: (row) => count(row.coalesced) },
        { name: 'stale', number: true, of: (row) => count(row.stale) },
        { name: 'misses', number: true, of: (row) => count(row.miss) },
        { name: 'passed by', number: true, of: (row) => count(row.bypass) },
        { name: 'hit rate', number: true, of: (row) => percent(row.hit_rate) },
      ]} />`}
    ${cache &&
    (cache.errors.length
      ? html`<h3>Measured error of answers by meaning</h3>
          <${Table} label="Measured error" rows=${cache.errors} columns=${[
            { name: 'model', of: (row) => row.model },
            { name: 'tenant', of: (row) => row.tenant || 'all' },
            { name: 'tier', of: (row) => row.tier },
            { name: 'compared', number: true, of: (row) => count(row.compared) },
            { name: 'differed', number: true, of: (row) => count(row.differed) },
            { name: 'error', number: true, of: (row) => percent(row.error) },
            { name: 'bounds', number: true, of: bounds },
          ]} />`
      : asked && html`<p class="note">An exact hit is the answer to the same prompt, so there is no error to measure. Answers by meaning are measured once a model has <code>cache.semantic</code>.</p>`)}
  <//>`;
}

const limitText = (one) =>
  one.unit === 'concurrent' ? `${count(one.left)} of ${count(one.limit)} slots` : `${count(one.left)} of ${count(one.limit)} ${one.unit}`;

export function Limits() {
  const [cursors, setCursors] = useState(['']);
  const cursor = cursors[cursors.length - 1];
  const polled = usePolled(withQuery('/accounts', { cursor, limit: '50' }), 5);
  const rows = polled.data?.data || [];
  const columns = [
    { name: 'of', of: (row) => (row.key ? `key ${row.key}` : row.model ? `model ${row.model}` : 'tenant') },
    { name: 'tenant', of: (row) => row.tenant },
    { name: 'left of the limits', of: (row) => row.limits.map((one) => html`<div>${limitText(one)}</div>`) },
    { name: 'budget', of: (row) => row.budget && html`<${Bar} label=${`${dollars(row.budget.spent_usd)} of ${dollars(row.budget.limit_usd)} spent`} spent=${row.budget.spent_usd} held=${row.budget.held_usd} limit=${row.budget.limit_usd} />` },
    { name: 'spent', number: true, of: (row) => row.budget && dollars(row.budget.spent_usd) },
    { name: 'held', number: true, of: (row) => row.budget && dollars(row.budget.held_usd) },
    { name: 'left', number: true, of: (row) => row.budget && dollars(row.budget.left_usd) },
    { name: 'starts anew', of: (row) => row.budget && moment(row.budget.resets_at) },
    { name: 'refused in 24 h', number: true, of: (row) => html`<span title="by limits / by budgets">${count(row.refusals.rate_limit_exceeded)} / ${count(row.refusals.budget_exceeded)}</span>` },
  ];
  return html`<${Block} id="limits" title="Limits and budgets" polled=${polled}>
    ${polled.data && !rows.length && html`<${Empty}>Nothing is limited. Name a policy under <code>limits</code> or <code>budgets</code>, and give it to a tenant, a model or a <a href="#/keys">key</a>.<//>`}
    ${rows.length > 0 && html`<${Table} label="Limits and budgets as they stand" columns=${columns} rows=${rows} keyOf=${(row) => `${row.tenant}/${row.key}/${row.model}`} />`}
    ${(polled.data?.next_cursor || cursors.length > 1) &&
    html`<div class="row">
      <button disabled=${cursors.length < 2} onClick=${() => setCursors(cursors.slice(0, -1))}>Back</button>
      <button disabled=${!polled.data?.next_cursor} onClick=${() => setCursors([...cursors, polled.data.next_cursor])}>Next</button>
    </div>`}
  <//>`;
}

export function Upstreams() {
  const targets = usePolled('/upstreams', 5);
  const replicas = usePolled('/replicas', 5);
  const both = { data: targets.data && replicas.data, error: targets.error || replicas.error };
  const failed = (row) => Object.entries(row.failures).map(([kind, amount]) => `${kind} ${count(amount)}`).join(', ') || '–';
  const names = { closed: 'well', open: 'left alone', resting: 'resting', half_open: 'being probed', probing: 'being probed' };
  return html`<${Block} id="upstreams" title="Upstreams and replicas" polled=${both}
    note=${replicas.data && `configuration ${replicas.data.generation}`}>
    ${both.data &&
    html`${targets.data.data.length
        ? html`<${Table} label="Upstream targets" rows=${targets.data.data} keyOf=${(row) => row.target} columns=${[
            { name: 'target', of: (row) => row.target },
            { name: 'state', of: (row) => html`<${State} good=${row.state === 'closed'}>${names[row.state] || row.state}${row.reopens_in_seconds > 0 ? `, ${Math.ceil(row.reopens_in_seconds)} s` : ''}<//>` },
            { name: 'answers for', of: (row) => row.models.join(', ') },
            { name: 'in flight here', number: true, of: (row) => count(row.in_flight_here) },
            { name: 'first byte here', number: true, of: (row) => milliseconds(row.first_byte_ms_here) },
            { name: 'failures', of: failed },
            { name: 'breaker opened', number: true, of: (row) => count(row.openings) },
          ]} />`
        : html`<${Empty}>No model is configured yet. Add one under <code>models</code>.<//>`}
      <h3>Replicas</h3>
      ${replicas.data.drift && html`<p class="trouble" role="status">The workers do not all run on the same configuration: ${replicas.data.generations.join(', ')}.</p>`}
      <${Table} label="Workers of all replicas" rows=${replicas.data.data} keyOf=${(row) => row.worker} columns=${[
        { name: 'host', of: (row) => row.host },
        { name: 'worker', of: (row) => row.pid },
        { name: 'state', of: (row) => html`<${State} good=${!row.reason}>${row.reason || 'ready'}<//>` },
        { name: 'store', of: (row) => html`<${State} good=${row.store === 'ok'}>${row.store}<//>` },
        { name: 'configuration', of: (row) => row.generation },
        { name: 'in flight', number: true, of: (row) => count(row.running) },
        { name: 'loop lag', number: true, of: (row) => milliseconds(row.loop_lag_ms) },
        { name: 'runs for', number: true, of: (row) => ago(row.started) },
      ]} />`}
  <//>`;
}

export function Errors() {
  const [span, setSpan] = useState('24h');
  const [chosen, choose] = useState(null);
  const polled = usePolled(withQuery('/errors', { since: span }), 5);
  const rows = polled.data?.data || [];
  const columns = [
    { name: 'code', of: (row) => row.code || `status ${row.status}` },
    { name: 'status', of: (row) => row.status },
    { name: 'model', of: (row) => row.model || '–' },
    { name: 'tenant / key', of: (row) => (row.key ? `${row.tenant} / ${row.key}` : row.tenant || '–') },
    { name: 'times', number: true, of: (row) => count(row.count) },
  ];
  const filter = chosen && { status: 'error', code: chosen.code || '', key: chosen.key || '', model: chosen.model || '' };
  return html`<${Block} id="errors" title="Errors" polled=${polled} tools=${html`<${Span} value=${span} change=${setSpan} />`} note="counted for 8 days">
    ${polled.data && !rows.length && html`<${Empty}>Nothing failed in this time.<//>`}
    ${rows.length > 0 && html`<p class="note">${count(polled.data.total)} failures. Choose a row for its requests.</p>
      <${Table} label="Failures by code, model and key" columns=${columns} rows=${rows} choose=${choose} keyOf=${(row) => `${row.status}/${row.code}/${row.tenant}/${row.key}/${row.model}`} />`}
    ${chosen && html`<${Tail} title=${`Latest requests with ${chosen.code || chosen.status}`} filter=${filter}
      none=${html`<p class="note">The records of these requests are no longer kept; the log has them.</p>`} />`}
  <//>`;
}
