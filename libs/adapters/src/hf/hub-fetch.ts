import { failedPrecondition, notFound, OperationError } from '@heddle/core';
import { ANSWER_MS, REASON_BYTES_MAX } from './limits.ts';

export interface HubFetchOptions {
  /** For messages: `hf:OWNER/NAME`. */
  readonly what: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** First byte that is wanted of a file; the answer must begin there. */
  readonly offset?: number;
}

type Fetch = typeof fetch;

/**
 * `fetch` as the hub's client calls it. Sends the token to the endpoint alone (a redirect to where the bytes lie loses it), and
 * turns whatever is no answer into an error that says what to do; the client's own have neither code nor delay.
 */
export function hubFetch(options: HubFetchOptions): { readonly fetch: Fetch; error(): unknown } {
  let last: unknown;
  const call: Fetch = async (input, init) => {
    last = undefined;
    try {
      return await ask(options, new Request(input, init));
    } catch (thrown) {
      options.signal?.throwIfAborted();
      last = unreachable(options, thrown);
      throw last;
    }
  };
  return { fetch: call, error: () => last };
}

async function ask(options: HubFetchOptions, request: Request): Promise<Response> {
  const { endpoint, token, signal, offset = 0 } = options;
  if (token && new URL(request.url).origin === new URL(endpoint).origin) {
    request.headers.set('authorization', `Bearer ${token}`);
  }
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), ANSWER_MS);
  let response: Response;
  try {
    const either = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    response = await fetch(request, { signal: either });
  } finally {
    clearTimeout(timer); // the body has its own watch
  }
  if (!response.ok) throw await refusal(options, response);
  const range = request.headers.get('range');
  if (offset > 0 && range !== null && range !== 'bytes=0-0') checkRange(options, response);
  return response;
}

/** Bytes that were not asked for must not be appended to those that are there. */
function checkRange({ what, offset }: HubFetchOptions, response: Response): void {
  const range = response.headers.get('content-range') ?? '';
  if (response.status === 206 && range.startsWith(`bytes ${offset}-`)) return;
  void response.body?.cancel();
  throw failedPrecondition(
    `${what}: asked for bytes from ${offset} on, the server answered ${response.status} ${range}: it serves no ranges`,
  );
}

async function refusal(
  { what, endpoint, token }: HubFetchOptions,
  response: Response,
): Promise<OperationError> {
  const { status, headers } = response;
  const said = headers.get('x-error-message') ?? (await reasonOf(response));
  const hub = `${new URL(endpoint).host} answered ${status}${said ? `: ${said}` : ''}`;
  const field = 'source';
  const retryAfterMs = retryAfter(headers.get('retry-after'));
  const soon = retryAfterMs === undefined ? {} : { retryAfterMs };
  const code = headers.get('x-error-code') ?? '';
  const page = `${endpoint}/${what.replace(/^hf:/, '').replace(/@.*$/, '')}`;
  switch (status) {
    case 401:
      if (token) {
        const message = `${what}: the token in HF_TOKEN is not accepted (${hub})`;
        return new OperationError({ code: 'unauthenticated', message, field });
      }
      if (code !== 'GatedRepo') {
        const remedy = 'check the name; if the model is private, set HF_TOKEN';
        return notFound(`${what}: no such model for callers without a token: ${remedy} (${hub})`, {
          field,
        });
      }
      return gated(what, page, hub);
    case 403:
      return gated(what, page, hub);
    case 404:
      return code === 'RevisionNotFound'
        ? notFound(`${what}: the model has no such revision (${hub})`, { field })
        : notFound(`${what}: no such model or file (${hub})`, { field });
    case 429: {
      const message = `${what}: too many requests (${hub})`;
      return new OperationError({ code: 'resource_exhausted', message, field, ...soon });
    }
    default: {
      const passing = status >= 500 || status === 408;
      if (!passing) return failedPrecondition(`${what}: ${hub}`, { field });
      return new OperationError({
        code: 'unavailable',
        message: `${what}: ${hub}`,
        field,
        ...soon,
      });
    }
  }
}

const gated = (what: string, page: string, hub: string) =>
  new OperationError({
    code: 'permission_denied',
    message: `${what}: its owner asks for consent: give it at ${page}, and set HF_TOKEN (${hub})`,
    field: 'source',
  });

/** The first bytes of the body, as a line. */
async function reasonOf(response: Response): Promise<string> {
  let text = '';
  try {
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString('utf8');
      if (text.length >= REASON_BYTES_MAX) break;
    }
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    if (typeof error === 'string') text = error;
  } catch {
    // no JSON, or broken off: what there is says enough
  }
  const line = text.replace(/\s+/g, ' ').trim();
  return line.startsWith('<') ? '' : line.slice(0, 200);
}

/** Seconds or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function unreachable({ what, endpoint }: HubFetchOptions, thrown: unknown): unknown {
  if (thrown instanceof OperationError) return thrown;
  const { cause } = thrown as { cause?: { code?: string; message?: string } };
  const why = cause?.code ?? cause?.message ?? (thrown as Error).message;
  return new OperationError({
    code: 'unavailable',
    message: `${what}: ${new URL(endpoint).host} cannot be reached: ${why}`,
    field: 'source',
    cause: thrown,
  });
}
