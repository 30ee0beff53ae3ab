// SPDX-License-Identifier: MIT
// Calls of the admin API. What goes wrong is an ApiError; a session that is over leads to the sign-in by itself.
import { sessionBegan, sessionOver } from './session.js';

export class ApiError extends Error {
  // status 0: there was no answer (code 'network').
  constructor({ status, code, message, param = null, retryAfterS = null, requestId = null, body = null }) {
    super(message);
    Object.assign(this, { status, code, param, retryAfterS, requestId, body });
  }
}

// The error of a Response that is not ok, or that is not JSON.
export async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const error = typeof body?.error === 'object' && body.error ? body.error : {};
  return new ApiError({
    status: response.status,
    code: error.code ?? (typeof body?.error === 'string' ? body.error : `http_${response.status}`),
    message: error.message ?? body?.error_description ?? response.statusText,
    param: error.param,
    retryAfterS: Number(response.headers.get('retry-after')) || null,
    requestId: response.headers.get('x-request-id'),
    body,
  });
}

// fetch to our own origin, with the cookie. Rejects with an ApiError if there is no answer; aborts stay AbortErrors.
export async function ask(path, { method = 'GET', body, signal, headers } = {}) {
  try {
    return await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      credentials: 'same-origin',
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError({ status: 0, code: 'network', message: error.message });
  }
}

async function call(method, path, body, { signal } = {}) {
  const response = await ask(path, { method, body, signal });
  if (response.status === 401) sessionOver('ended');
  if (!response.ok) throw await errorOf(response);
  return response.json();
}

export const get = (path, options) => call('GET', path, undefined, options);
export const post = (path, body, options) => call('POST', path, body, options);
export const remove = (path, options) => call('DELETE', path, undefined, options);
// A path's query from an object; empty values are left out.
export function query(params) {
  const text = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== '' && value != null)).toString();
  return text ? `?${text}` : '';
}

// ---- the session ----

// The first answer is on its way since boot.js; if it failed, it is asked for again.
async function firstAnswer() {
  const response = await window.firstSession;
  window.firstSession = null;
  return response?.ok ? response.json() : null;
}

export async function askSession() {
  const answer = (await firstAnswer()) ?? (await get('/api/session'));
  if (answer.signed_in) sessionBegan(answer.expires_at);
  else sessionOver(null);
}

// Throws an ApiError: 401 the password is wrong, 429 too many tries, 503 not ready yet.
export async function signIn(password) {
  const response = await ask('/api/login', { method: 'POST', body: { password } });
  if (!response.ok) throw await errorOf(response);
  await askSession();
}

export async function signOut() {
  const response = await ask('/api/logout', { method: 'POST', body: {} });
  if (!response.ok) throw await errorOf(response);
  sessionOver('left');
}
