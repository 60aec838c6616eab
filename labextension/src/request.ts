/** Every request of the pages: to our routes on the Jupyter server, which holds the key. Failures are Troubles. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { trans } from './trans';
import { TroubleContent } from './types';

export type TroubleState = TroubleContent['state'];

/** What went wrong, as a state to be designed for and one line to be shown. */
export class Trouble extends Error {
  constructor(
    readonly state: TroubleState,
    detail: string,
    /** The answer that said so; Lab looks at its status. */
    readonly response?: Response
  ) {
    super(detail);
  }
}

export interface Ask {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Sent as JSON. */
  body?: unknown;
  form?: FormData;
  /** Refuse to replace what is there, with status 412. */
  isNew?: boolean;
  signal?: AbortSignal;
}

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
export async function open(path: string, { method = 'GET', body, form, isNew, signal }: Ask = {}): Promise<Response> {
  const headers = {
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(isNew ? { 'If-None-Match': '*' } : {})
  };
  const content = body === undefined ? form : JSON.stringify(body);
  const init: RequestInit = { method, signal, body: content, headers };
  const sent = Date.now() / 1000;
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(urlOf(path), init, ServerConnection.makeSettings());
  } catch (failure) {
    signal?.throwIfAborted();
    throw failure instanceof ServerConnection.NetworkError ? noServer() : failure;
  }
  compareClocks(response, sent);
  if (!response.ok) {
    throw await troubleOf(response);
  }
  return response;
}

/** Seconds by which the clock of the Jupyter server is ahead of the browser's, no more than its answers prove. */
let ahead = 0;

/** This moment in Unix seconds by the clock of the Jupyter server, which the journal was written by. */
export function serverNow(): number {
  return Date.now() / 1000 + ahead;
}

/** The last whole second of that clock: what shows a cost counts at these moments, here and in the kernel. */
export const thisSecond = () => Math.floor(serverNow());

/** What is called at each whole second of that clock, all at once, so that the page is drawn once for all. */
const eachCall = new Set<() => void>();
let clock = 0;

/** Call a function at each whole second of that clock while the page is seen, until the answer is called. */
export function eachSecond(call: () => void): () => void {
  const own = () => call();
  eachCall.add(own);
  if (eachCall.size === 1) {
    plan();
    document.addEventListener('visibilitychange', callAll);
  }
  return () => {
    if (eachCall.delete(own) && !eachCall.size) {
      window.clearTimeout(clock);
      document.removeEventListener('visibilitychange', callAll);
    }
  };
}

function plan(): void {
  clock = window.setTimeout(
    () => {
      plan();
      callAll();
    },
    1000 * (1 - (serverNow() % 1))
  );
}

function callAll(): void {
  if (!document.hidden) {
    eachCall.forEach(call => call());
  }
}

/** The answer names the second in which it was made, which lies between the request and now. */
function compareClocks({ headers }: Response, sent: number): void {
  const made = Date.parse(headers.get('date') ?? '') / 1000;
  if (Number.isFinite(made)) {
    ahead = Math.min(Math.max(ahead, made - Date.now() / 1000), made + 1 - sent);
  }
}

async function troubleOf(response: Response): Promise<Trouble> {
  try {
    const { state, detail, message } = (await response.json()) as Partial<TroubleContent> & { message?: string };
    if (state) {
      return new Trouble(state, detail ?? '', response);
    }
    return response.status === 404 ? noExtension() : refused(message || response.statusText);
  } catch {
    return response.status === 404 ? noExtension() : noApi(response);
  }
}

function noServer(): Trouble {
  const words = trans.__(
    "The Jupyter server doesn't answer. It may be restarting; the panel reconnects automatically."
  );
  return new Trouble('unreachable', words);
}

function noExtension(): Trouble {
  const words = trans.__(
    'The Jupyter server has no lk_jupyter extension. Install lk_jupyter where the server runs, then restart it.'
  );
  return new Trouble('not-allowed', words);
}

function refused(why: string): Trouble {
  return new Trouble('not-allowed', trans.__('Jupyter refused (%1). Sign in to Jupyter again.', why));
}

function noApi({ status, headers }: Response): Trouble {
  const kind = headers.get('content-type')?.split(';')[0];
  const words = kind
    ? trans.__(
        'The Jupyter server answered HTTP %1 with %2. A proxy or a sign-in page may stand between: reload the page.',
        status,
        kind
      )
    : trans.__(
        'The Jupyter server answered HTTP %1 with text of no stated kind. A proxy or a sign-in page may stand between: reload the page.',
        status
      );
  return new Trouble('not-an-api', words);
}
