/**
 * All requests of the pages go to our routes on the Jupyter server, which stores the API key. Failures are Troubles.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { compareClocks } from './serverClock';
import { trans, unturned } from './trans';
import { TroubleContent } from './types';

export type TroubleState = TroubleContent['state'];

/** A failed request: a state that views handle, and a message of one line. */
export class Trouble extends Error {
  constructor(
    readonly state: TroubleState,
    detail: string,
    /** The failed answer. Lab reads its status. */
    readonly response?: Response
  ) {
    super(detail);
  }
}

export interface Ask {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Body of the request, sent as JSON. */
  body?: unknown;
  form?: FormData;
  /** Refuse to replace an existing object, with status 412. */
  isNew?: boolean;
  signal?: AbortSignal;
}

/** Return the address of a route. `path` is the encoded path behind `lk/`. */
export function routeUrl(path: string): string {
  return URLExt.join(ServerConnection.makeSettings().baseUrl, 'lk', path);
}

/** Routes whose names must stay exact, such as keys of the bucket. The views that show such names clean them. */
const EXACT_PATHS = /^(api\/)?storage\b/;

/** Fields with source code or output, which must stay exact. */
const EXACT_FIELDS = new Set(['code', 'stdout', 'stderr', 'import_files']);

/** Remove characters that change the direction of text from names and texts. */
function plainly(field: string, value: unknown): unknown {
  return typeof value === 'string' && !EXACT_FIELDS.has(field) ? unturned(value) : value;
}

/** Parse the JSON of an answer, without characters that change the direction of text. */
export function parseJson(path: string, text: string): unknown {
  return JSON.parse(text || 'null', EXACT_PATHS.test(path) ? undefined : plainly);
}

/** Send a request and return the JSON of the answer. */
export async function request<T>(path: string, ask: Ask = {}): Promise<T> {
  const response = await open(path, ask);
  const text = await response.text();
  try {
    return parseJson(path, text) as T;
  } catch {
    throw noApi(response);
  }
}

/** Send requests, and abort them after a time limit. */
export async function withTimeLimit<T>(milliseconds: number, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = window.setTimeout(() => controller.abort(noServer()), milliseconds);
  return send(controller.signal).finally(() => window.clearTimeout(timer));
}

/** Send a request and return the answer before its body has arrived. */
export async function open(path: string, { method = 'GET', body, form, isNew, signal }: Ask = {}): Promise<Response> {
  const headers = {
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(isNew ? { 'If-None-Match': '*' } : {})
  };
  const content = body === undefined ? form : JSON.stringify(body);
  const init: RequestInit = { method, signal, body: content, headers };
  const requestedAt = Date.now() / 1000;
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(routeUrl(path), init, ServerConnection.makeSettings());
  } catch (failure) {
    signal?.throwIfAborted();
    throw failure instanceof ServerConnection.NetworkError ? noServer() : failure;
  }
  compareClocks(response.headers, requestedAt);
  if (!response.ok) {
    throw await readTrouble(response);
  }
  return response;
}

async function readTrouble(response: Response): Promise<Trouble> {
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
    'The Jupyter server has no lk_jupyter extension. Install lk_jupyter in the Python environment of the server, then restart the server.'
  );
  return new Trouble('not-allowed', words);
}

function refused(why: string): Trouble {
  return new Trouble('not-allowed', trans.__('Jupyter refused the request (%1). Sign in to Jupyter again.', why));
}

function noApi({ status, headers }: Response): Trouble {
  const kind = headers.get('content-type')?.split(';')[0];
  const words = kind
    ? trans.__(
        'The Jupyter server answered HTTP %1 with the content type %2. A proxy or a sign-in page may have answered, so reload the page.',
        status,
        kind
      )
    : trans.__(
        'The Jupyter server answered HTTP %1 without a content type. A proxy or a sign-in page may have answered, so reload the page.',
        status
      );
  return new Trouble('not-an-api', words);
}
