// The admin API, as the page asks it. The session's token is kept here, in memory only.

let token = '';
let signedOut = () => {};

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `The gateway answered ${status}.`);
    this.status = status;
    this.code = error?.code || '';
    this.details = error?.details || [];
  }
}

// Calls `then` when the session is over.
export function onSignedOut(then) {
  signedOut = then;
}

async function answered(response) {
  const text = await response.text();
  let document = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    document = null;
  }
  if (!response.ok) throw new Refused(response.status, document?.error);
  return document;
}

export async function ask(method, path, body, headers = {}) {
  const sent = { ...headers };
  if (method !== 'GET') sent['x-headgate-token'] = token;
  if (body !== undefined) sent['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new Refused(0, { message: 'The gateway cannot be reached.', code: 'unreachable' });
  }
  try {
    return await answered(response);
  } catch (error) {
    if (error.code === 'not_signed_in') signedOut();
    throw error;
  }
}

export const get = (path) => ask('GET', `/admin/v1${path}`);
export const write = (method, path, body, headers) => ask(method, `/admin/v1${path}`, body, headers);

function took(session) {
  token = session.token;
  return session;
}

export const session = async () => took(await ask('GET', '/dashboard/session'));
export const signIn = async (given) => took(await ask('POST', '/dashboard/session', given));
export const signOut = () => ask('DELETE', '/dashboard/session');

// A path with the members that have a value.
export function withQuery(path, members) {
  const query = new URLSearchParams(Object.entries(members).filter(([, value]) => value));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

// A caller's call, sent with the caller's key. Gives the response as it comes.
export function callModel(path, key, body) {
  return fetch(`/dashboard${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'x-headgate-token': token,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: 'same-origin',
    cache: 'no-store',
  });
}
