// What every block is made of: the framework, numbers as text, tables, charts, and asking again and again.

import { h, render } from './vendor/preact.js';
import { useCallback, useEffect, useRef, useState } from './vendor/hooks.js';
import htm from './vendor/htm.js';
import uPlot from './vendor/uplot.js';
import { get } from './api.js';

export const html = htm.bind(h);
export { render, useCallback, useEffect, useRef, useState };

// Numbers.

const COUNT = new Intl.NumberFormat('en');
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (value) => COUNT.format(value || 0);
export const compact = (value) => COMPACT.format(value || 0);

// Dollars come as text, exact to the nano-dollar; shown to the micro-dollar where they are small.
export function dollars(text) {
  const value = Number(text || 0);
  if (value === 0) return '$0';
  if (Math.abs(value) < 0.000001) return '< $0.000001';
  const digits = Math.abs(value) >= 100 ? 2 : Math.abs(value) >= 1 ? 4 : 6;
  return `$${value.toLocaleString('en', { maximumFractionDigits: digits })}`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return '–';
  if (value < 10) return `${value.toFixed(2)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(1)} s`;
}

export const percent = (part) =>
  part === null || part === undefined ? '–' : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;

export const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
export const moment = (text) => (text ? text.replace('T', ' ').replace(/(:\d\d)?(\.\d+)?(Z|\+00:00)$/, '') : '–');

export function ago(seconds, now = Date.now() / 1000) {
  const passed = Math.max(0, now - seconds);
  if (passed < 90) return `${Math.round(passed)} s`;
  if (passed < 5400) return `${Math.round(passed / 60)} min`;
  if (passed < 172800) return `${Math.round(passed / 3600)} h`;
  return `${Math.round(passed / 86400)} d`;
}

// Asks for a path at once, then every so many seconds while somebody looks.
export function usePolled(path, seconds) {
  const [state, setState] = useState({ data: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!path) return undefined;
    let over = false;
    let timer = 0;
    const look = async () => {
      if (!document.hidden) {
        try {
          const data = await get(path);
          if (!over) setState({ data, error: null });
        } catch (error) {
          if (!over) setState((before) => ({ data: before.data, error }));
        }
      }
      if (!over) timer = setTimeout(look, seconds * 1000);
    };
    const seen = () => {
      if (!document.hidden) {
        clearTimeout(timer);
        look();
      }
    };
    look();
    document.addEventListener('visibilitychange', seen);
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [path, seconds, turn]);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  return { ...state, again };
}

// Blocks.

export function Block({ id, title, note, tools, polled, children }) {
  const error = polled?.error;
  return html`<section class="block" id=${id} aria-labelledby=${`${id}-title`}>
    <header class="block-head">
      <h2 id=${`${id}-title`}>${title}</h2>
      ${note && html`<p class="note">${note}</p>`}
      ${tools && html`<div class="tools">${tools}</div>`}
    </header>
    ${error && html`<p class="trouble" role="status">${error.message}</p>`}
    ${!polled || polled.data ? children : !error && html`<p class="note">Loading …</p>`}
  </section>`;
}

export const Empty = ({ children }) => html`<div class="empty">${children}</div>`;

export const Tile = ({ name, value, note, bad }) => html`<div class="tile">
  <dt>${name}</dt>
  <dd class=${bad ? 'bad' : ''}>${value}</dd>
  ${note && html`<dd class="note">${note}</dd>`}
</div>`;

export const State = ({ good, children }) =>
  html`<span class=${good ? 'state good' : 'state bad'}><span aria-hidden="true">${good ? '●' : '▲'}</span> ${children}</span>`;

// `columns` are {name, of, number}; a row may be chosen with the mouse or with Enter.
export function Table({ label, columns, rows, foot, choose, keyOf }) {
  const cells = (row, tag) =>
    columns.map((column, place) => {
      const content = column.of(row);
      const kind = column.number ? 'number' : '';
      if (tag === 'td' && place === 0 && choose)
        return html`<td class=${kind}><button class="row-link" onClick=${() => choose(row)}>${content}</button></td>`;
      return h(tag, { class: kind }, content);
    });
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead><tr>${columns.map((column) => html`<th scope="col" class=${column.number ? 'number' : ''}>${column.name}</th>`)}</tr></thead>
      <tbody>${rows.map((row, place) => html`<tr key=${keyOf ? keyOf(row) : place}>${cells(row, 'td')}</tr>`)}</tbody>
      ${foot && html`<tfoot><tr>${cells(foot, 'td')}</tr></tfoot>`}
    </table>
  </div>`;
}

export function Bar({ label, spent, held, limit }) {
  const whole = Number(limit) || 1;
  const part = (value) => `${Math.min(100, Math.max(0, (100 * value) / whole))}%`;
  const used = Number(spent);
  return html`<svg class="bar" role="img" aria-label=${label} preserveAspectRatio="none">
    <rect class="bar-whole" width="100%" height="100%" rx="3" />
    <rect class="bar-held" width=${part(used + Number(held))} height="100%" rx="3" />
    <rect class=${used >= 0.9 * whole ? 'bar-used bad-fill' : 'bar-used'} width=${part(used)} height="100%" rx="3" />
  </svg>`;
}

// Moments on an axis, in UTC: as fine as the steps between them.
function timesOf(_, moments, __, ___, step) {
  const [from, to] = step >= 86400 ? [5, 10] : step >= 60 ? [11, 16] : [14, 19];
  return moments.map((one) => new Date(one * 1000).toISOString().slice(from, to));
}

// `values` is uPlot's [times, series …]; `series` are {name, tone, bars}.
export function Chart({ label, values, series, height = 150, format = compact }) {
  const place = useRef(null);
  const chart = useRef(null);
  const theme = document.documentElement.dataset.theme;
  useEffect(() => {
    const style = getComputedStyle(document.documentElement);
    const tone = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: tone('quiet'), grid: { stroke: tone('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui' };
    const made = new uPlot(
      {
        width: place.current.clientWidth || 300,
        height,
        cursor: { y: false, points: { size: 6 } },
        legend: { show: false },
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
        scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.15 : 1] } },
        axes: [{ ...axis, values: timesOf }, { ...axis, size: 52, values: (_, ticks) => ticks.map((one) => format(one)) }],
        series: [
          {},
          ...series.map((one) => ({
            label: one.name,
            stroke: tone(one.tone),
            fill: one.bars || one.tone === 'accent' ? `${tone(one.tone)}${one.bars ? '' : '22'}` : undefined,
            width: one.bars ? 0 : 1.75,
            paths: one.bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
            points: { show: false },
          })),
        ],
      },
      values,
      place.current,
    );
    chart.current = made;
    const fit = new ResizeObserver(() => place.current && made.setSize({ width: place.current.clientWidth, height }));
    fit.observe(place.current);
    return () => {
      fit.disconnect();
      made.destroy();
    };
  }, [theme, series.map((one) => one.name).join(), height]);
  useEffect(() => chart.current?.setData(values), [values]);
  return html`<div class="chart" ref=${place} role="img" aria-label=${label}></div>`;
}
