// The page: who is signed in, which view is open, and how it looks.

import { html, render, useEffect, useState } from './parts.js';
import { onSignedOut, session, signIn, signOut } from './api.js';
import { Now } from './now.js';
import { Spend } from './spend.js';
import { Cache, Errors, Limits, Upstreams } from './blocks.js';
import { Keys } from './keys.js';
import { Playground } from './playground.js';

const VIEWS = [
  ['', 'Overview'],
  ['keys', 'Keys'],
  ['playground', 'Playground'],
];
const BLOCKS = [
  ['now', 'Now'],
  ['spend', 'Spend'],
  ['cache', 'Cache'],
  ['limits', 'Limits and budgets'],
  ['upstreams', 'Upstreams'],
  ['errors', 'Errors'],
];

// Only how the page looks is remembered by the browser, and nothing else.
function wantedTheme() {
  try {
    const kept = localStorage.getItem('headgate-theme');
    if (kept === 'light' || kept === 'dark') return kept;
  } catch {
    // A browser that keeps nothing follows the system.
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  return theme;
}

applyTheme(wantedTheme());

function useView() {
  const read = () => location.hash.replace(/^#\/?/, '');
  const [view, setView] = useState(read());
  useEffect(() => {
    const changed = () => setView(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return VIEWS.some(([name]) => name === view) ? view : '';
}

function SignIn({ entered, told }) {
  const [trouble, setTrouble] = useState(told);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      entered(await signIn({ key: new FormData(event.target).get('key') }));
    } catch (error) {
      setTrouble(error.message);
    }
    setBusy(false);
  };
  return html`<main class="sign-in">
    <h1>Headgate</h1>
    <form onSubmit=${submit}>
      <label for="key">Admin key</label>
      <input id="key" name="key" type="password" autocomplete="off" autofocus required />
      <button class="primary" disabled=${busy}>Sign in</button>
    </form>
    <p class="trouble" role="alert">${trouble}</p>
    <p class="note">An admin key stands under <code>admin.keys</code> in the configuration; <code>headgate keys new</code> makes one. The session ends after eight hours, and nothing is kept in this browser but its cookie.</p>
  </main>`;
}

function Overview({ whole, may }) {
  return html`<nav class="jump" aria-label="Blocks">${BLOCKS.map(([id, name]) => html`<a href=${`#${id}`} onClick=${(event) => jump(event, id)}>${name}</a>`)}</nav>
    <main class="grid" id="main">
      ${may('usage:read')
        ? html`<${Now} whole=${whole} /><${Spend} /><${Cache} /><${Limits} />`
        : html`<p class="empty">This admin key may not read usage; it lacks the scope <code>usage:read</code>.</p>`}
      ${whole && may('config:read') && html`<${Upstreams} />`}
      ${may('usage:read') && html`<${Errors} />`}
    </main>`;
}

function jump(event, id) {
  event.preventDefault();
  const block = document.getElementById(id);
  if (!block) return;
  block.scrollIntoView({ block: 'start' });
  const heading = block.querySelector('h2');
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function Page({ who, leave }) {
  const view = useView();
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  const turn = () => {
    const next = applyTheme(theme === 'dark' ? 'light' : 'dark');
    try {
      localStorage.setItem('headgate-theme', next);
    } catch {
      // It holds for as long as the page is open.
    }
    setTheme(next);
  };
  const may = (scope) => who.scopes.some((one) => one === '*' || one === scope || one === `${scope.split(':')[0]}:*`);
  const whole = who.tenants === null;
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main').scrollIntoView(); }}>Skip to the content</a>
    <header class="top">
      <h1><img src="/dashboard/icon.svg" alt="" width="22" height="22" /> Headgate</h1>
      <nav aria-label="Views">${VIEWS.map(([name, title]) => html`<a href=${`#/${name}`} aria-current=${view === name ? 'page' : undefined}>${title}</a>`)}</nav>
      <div class="who">
        <span class="note">${who.id}${whole ? '' : ` (${who.tenants.join(', ')})`}</span>
        <button onClick=${turn} aria-pressed=${theme === 'dark'}>Dark</button>
        <button onClick=${leave}>Sign out</button>
      </div>
    </header>
    ${view === '' && html`<${Overview} whole=${whole} may=${may} />`}
    ${view === 'keys' && html`<main id="main"><${Keys} may=${may} tenants=${who.tenants} /></main>`}
    ${view === 'playground' && html`<main id="main"><${Playground} /></main>`}`;
}

// A sign-in link ends with a one-time secret behind the #, which no server or log gets to see.
async function begin() {
  const link = location.hash.match(/^#link=([\w-]+)$/);
  if (link) {
    history.replaceState(null, '', location.pathname);
    try {
      return { who: await signIn({ link: link[1] }), told: '' };
    } catch (error) {
      return { who: null, told: error.message };
    }
  }
  try {
    const who = await session();
    return { who: who.id === null ? null : who, told: '' };
  } catch (error) {
    return { who: null, told: error.status === 401 ? '' : error.message };
  }
}

function Root() {
  const [state, setState] = useState(null);
  useEffect(() => {
    onSignedOut(() => setState((before) => (before?.who ? { who: null, told: 'The session is over; sign in again.' } : before)));
    begin().then(setState);
  }, []);
  const leave = async () => {
    await signOut().catch(() => {});
    setState({ who: null, told: '' });
  };
  if (state === null) return null;
  if (state.who === null) return html`<${SignIn} told=${state.told} entered=${(who) => setState({ who, told: '' })} />`;
  return html`<${Page} who=${state.who} leave=${leave} />`;
}

render(html`<${Root} />`, document.getElementById('app'));
