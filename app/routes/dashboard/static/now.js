// Block one: what happens now, and the requests as they come.

import { Block, Chart, Empty, State, Table, Tile, clock, compact, count, dollars, html, milliseconds, useEffect, usePolled, useState } from './parts.js';
import { get, withQuery } from './api.js';
import { Record } from './record.js';

const KEPT = 200;

// The latest requests, newest first, and whether they are followed.
export function useTail(filter) {
  const [state, setState] = useState({ rows: [], live: false });
  const members = JSON.stringify(filter);
  useEffect(() => {
    let over = false;
    const query = JSON.parse(members);
    const add = (fresh) =>
      setState((before) => {
        const known = new Set(before.rows.map((one) => `${one.request_id}/${one.time}`));
        const added = fresh.filter((one) => !known.has(`${one.request_id}/${one.time}`));
        const rows = [...added.reverse(), ...before.rows];
        rows.sort((one, other) => other.time - one.time);
        return { rows: rows.slice(0, KEPT), live: true };
      });
    setState({ rows: [], live: false });
    get(withQuery('/requests', { ...query, limit: 50 })).then(
      (page) => over || setState((before) => ({ ...before, rows: before.rows.length ? before.rows : page.data })),
      () => {},
    );
    const source = new EventSource(withQuery('/admin/v1/requests/tail', query));
    source.addEventListener('open', () => over || setState((before) => ({ ...before, live: true })));
    source.addEventListener('error', () => over || setState((before) => ({ ...before, live: false })));
    source.addEventListener('requests', (event) => over || add(JSON.parse(event.data)));
    return () => {
      over = true;
      source.close();
    };
  }, [members]);
  return state;
}

export const REQUEST_COLUMNS = [
  { name: 'time (UTC)', of: (one) => clock(one.time) },
  { name: 'status', of: (one) => html`<${State} good=${one.status < 400}>${one.error || one.status}<//>` },
  { name: 'model', of: (one) => one.alias || '–' },
  { name: 'tenant / key', of: (one) => (one.key ? `${one.tenant} / ${one.key}` : '–') },
  { name: 'cache', of: (one) => one.cache || '–' },
  { name: 'tokens', number: true, of: (one) => (one.prompt_tokens === null ? '–' : `${count(one.prompt_tokens)} → ${count(one.completion_tokens)}${one.estimated ? ' ≈' : ''}`) },
  { name: 'first byte', number: true, of: (one) => milliseconds(one.first_byte_ms) },
  { name: 'total', number: true, of: (one) => milliseconds(one.total_ms) },
  { name: 'cost', number: true, of: (one) => (one.cost_usd === null ? '–' : dollars(one.cost_usd)) },
];

export function Tail({ title, filter, none }) {
  const tail = useTail(filter);
  const [chosen, choose] = useState(null);
  return html`<div class="tail">
    <div class="sub-head">
      <h3>${title}</h3>
      <span class="note" role="status">${tail.live ? 'following' : 'connecting …'}</span>
    </div>
    ${tail.rows.length
      ? html`<${Table} label=${title} columns=${REQUEST_COLUMNS} rows=${tail.rows.slice(0, 50)} choose=${choose} keyOf=${(one) => `${one.request_id}/${one.time}`} />`
      : none}
    ${chosen && html`<${Record} record=${chosen} close=${() => choose(null)} />`}
  </div>`;
}

export function Now({ whole }) {
  const polled = usePolled(whole ? '/activity' : null, 2);
  const [failing, setFailing] = useState(false);
  const now = polled.data;
  const times = (one) => `p95 ${milliseconds(one.p95)}`;
  const values = now && [
    now.seconds.map((one) => one[0]),
    now.seconds.map((one) => one[1]),
    now.seconds.map((one) => one[2] || null),
  ];
  const tools = html`<label class="check"><input type="checkbox" checked=${failing} onChange=${(event) => setFailing(event.target.checked)} /> failures only</label>`;
  return html`<${Block} id="now" title="Now" polled=${whole ? polled : null} tools=${tools}>
    ${now &&
    html`<dl class="tiles">
        <${Tile} name="in flight" value=${count(now.in_flight)} note=${`${now.workers} worker${now.workers === 1 ? '' : 's'}`} />
        <${Tile} name="requests / s" value=${compact(now.requests_per_second)} note="over 10 s" />
        <${Tile} name="errors / s" value=${compact(now.errors_per_second)} bad=${now.errors_per_second > 0} note="over 10 s" />
        <${Tile} name="first byte p50" value=${milliseconds(now.first_byte_ms.p50)} note=${times(now.first_byte_ms)} />
        <${Tile} name="gateway's own p50" value=${milliseconds(now.gateway_ms.p50)} note=${times(now.gateway_ms)} />
      </dl>
      <${Chart} label=${`Requests in each second of the last minute; now ${compact(now.requests_per_second)} a second`} values=${values} series=${[{ name: 'requests', tone: 'accent' }, { name: 'errors', tone: 'bad' }]} />`}
    <${Tail} title="Requests as they come" filter=${failing ? { status: 'error' } : {}}
      none=${html`<${Empty}>No request yet. Send one from the <a href="#/playground">playground</a>, or with <code>curl</code>; it shows up here within a second.<//>`} />
  <//>`;
}
