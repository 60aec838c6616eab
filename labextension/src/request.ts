/** Every request of the pages: to our routes on the Jupyter server, which holds the key. Failures are Troubles. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { TroubleContent } from './types';

export type TroubleState = TroubleContent['state'];

/** What went wrong, as a state to be designed for and one line to be shown. */
export class Trouble extends Error {
  constructor(
    readonly state: TroubleState,
    detail: string
  ) {
    super(detail);
  }
}

export interface Ask {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Sent as JSON. */
  body?: unknown;
  form?: FormData;
  signal?: AbortSignal;
}

const NO_SERVER = 'The Jupyter server does not answer. It may be restarting; this goes on by itself when it is back.';
const NO_EXTENSION =
  'The Jupyter server has no lk_jupyter extension. Install lk_jupyter where the server runs, then restart it.';

/** Address of one of our routes. `path` is what stands behind `lk/`, encoded. */
export function urlOf(path: string): string {
  return URLExt.join(ServerConnection.makeSettings().baseUrl, 'lk', path);
}

/** Ask and return the JSON of the answer. */
export async function request<T>(path: string, ask: Ask = {}): Promise<T> {
  const response = await open(path, ask);
  const text = await response.text();
  try {
    return JSON.parse(text || 'null') as T;
  } catch {
    throw noApi(response);
  }
}

/** Ask and return the answer with its body still on its way. */
export async function open(path: string, { method = 'GET', body, form, signal }: Ask = {}): Promise<Response> {
  const json =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  const init: RequestInit = { method, signal, body: form, ...json };
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(urlOf(path), init, ServerConnection.makeSettings());
  } catch (failure) {
    signal?.throwIfAborted();
    throw failure instanceof ServerConnection.NetworkError ? new Trouble('unreachable', NO_SERVER) : failure;
  }
  if (!response.ok) {
    throw await troubleOf(response);
  }
  return response;
}

async function troubleOf(response: Response): Promise<Trouble> {
  try {
    const { state, detail, message } = (await response.json()) as Partial<TroubleContent> & { message?: string };
    if (state) {
      return new Trouble(state, detail ?? '');
    }
    return response.status === 404
      ? new Trouble('not-allowed', NO_EXTENSION)
      : new Trouble('not-allowed', `Jupyter refused (${message || response.statusText}). Sign in to Jupyter again.`);
  } catch {
    return response.status === 404 ? new Trouble('not-allowed', NO_EXTENSION) : noApi(response);
  }
}

function noApi(response: Response): Trouble {
  const kind = response.headers.get('content-type')?.split(';')[0] || 'text of no stated kind';
  return new Trouble(
    'not-an-api',
    `The Jupyter server answered HTTP ${response.status} with ${kind}. A proxy or a sign-in page may stand between: reload the page.`
  );
}
