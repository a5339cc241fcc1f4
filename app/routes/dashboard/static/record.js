// One request, in full.

import { html, useEffect, useRef } from './parts.js';

export function Record({ record, close }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const shown = Object.entries(record).filter(([, value]) => value !== null && value !== undefined);
  const text = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="record-title">
    <header class="block-head"><h2 id="record-title">Request ${record.request_id}</h2>
      <button onClick=${() => dialog.current.close()}>Close</button></header>
    <dl class="facts">
      ${shown.map(([name, value]) => html`<dt>${name}</dt><dd>${name === 'time' ? new Date(value * 1000).toISOString() : text(value)}</dd>`)}
    </dl>
    <p class="note">The log line of this request has the same id. Prompts are not kept here.</p>
  </dialog>`;
}
