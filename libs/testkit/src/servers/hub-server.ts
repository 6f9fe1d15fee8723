import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository on the hub, at one commit. */
export interface HubRepository {
  /** `OWNER/NAME`. */
  readonly name: string;
  /** 40 hex digits; asked for as itself, as `HEAD`, `main`, and as any of `tags`. */
  readonly commit: string;
  readonly tags?: readonly string[];
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Only for whoever sends the token. */
  readonly isPrivate?: boolean;
  /** Nobody has been let in yet. */
  readonly isGated?: boolean;
}

/** How an answer goes wrong. */
export type HubFault =
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** The connection is cut after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** One byte of the body is another. */
  | { readonly garbled: true }
  /** So many bytes of the body, then none, while the connection stays. */
  | { readonly stallAfter: number }
  /** The whole file, whatever range was asked for. */
  | { readonly noRanges: true };

export interface HubRequest {
  /** `api`, `resolve`, or `cdn`, which is another origin. */
  readonly part: 'api' | 'resolve' | 'cdn';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Bytes of the file's body that left. */
  sentBytes: number;
}

export interface HubServer {
  readonly endpoint: string;
  readonly requests: HubRequest[];
  readonly repositories: HubRepository[];
  /** Asked before each answer; what it returns goes wrong. */
  fault: (request: HubRequest) => HubFault | undefined;
  /** Bytes of bodies that left for a file, all requests together. */
  sentBytes(name: string): number;
  close(): Promise<void>;
}

export const HUB_TOKEN = 'hf_onlyForTests';
/** Files from this size on are kept in large file storage: their bytes come from the other origin. */
const LFS_BYTES = 2048;
/** Entries of one page of a listing: small, so that every listing has several. */
const PAGE = 3;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const gitOid = (bytes: Uint8Array) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

/**
 * A hub as HuggingFace's answers: revisions, paged listings with git's and large file storage's digests, and `resolve`, which
 * redirects to another origin where the bytes lie. Ranges, tokens, and whatever faults a test asks for.
 */
export async function startHub(repositories: readonly HubRepository[]): Promise<HubServer> {
  const cdn = createServer();
  const front = createServer();
  const [cdnUrl, endpoint] = [await listen(cdn), await listen(front)];
  const hub: HubServer = {
    endpoint,
    requests: [],
    repositories: [...repositories],
    fault: () => undefined,
    sentBytes: (name) =>
      hub.requests
        .filter(
          ({ part, path, range }) =>
            part !== 'api' && path.endsWith(`/${name}`) && range !== 'bytes=0-0',
        )
        .reduce((sum, { sentBytes }) => sum + sentBytes, 0),
    close: async () => {
      for (const server of [front, cdn]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
  front.on('request', (request, response) => answerFront(hub, cdnUrl, request, response));
  cdn.on('request', (request, response) => answerCdn(hub, request, response));
  return hub;
}

function begin(
  hub: HubServer,
  part: HubRequest['part'],
  { url = '/', headers }: IncomingMessage,
  response: ServerResponse,
):
  | { readonly noted: HubRequest; readonly fault: HubFault | undefined; readonly url: URL }
  | undefined {
  const parsed = new URL(url, hub.endpoint);
  const { range, authorization } = headers;
  const noted = {
    part,
    path: decodeURIComponent(parsed.pathname),
    range,
    authorization,
    sentBytes: 0,
  };
  hub.requests.push(noted);
  const fault = hub.fault(noted);
  if (fault === undefined || !('status' in fault)) return { noted, fault, url: parsed };
  response.writeHead(fault.status, fault.headers).end(fault.body ?? '');
  return undefined;
}

function answerFront(
  hub: HubServer,
  cdnUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const path = (request.url ?? '').split('?')[0] ?? '';
  const begun = begin(hub, path.startsWith('/api/') ? 'api' : 'resolve', request, response);
  if (begun === undefined) return;
  const { noted, fault, url } = begun;
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(noted.path);
  const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(noted.path);
  const [, name = '', revision = ''] = api ? [api[0], api[1], api[3]] : (resolve ?? []);
  const repository = find(hub, name, revision, noted.authorization, response);
  if (repository === undefined) return;
  if (api?.[2] === 'revision') {
    json(response, {
      _id: '1',
      id: name,
      sha: repository.commit,
      lastModified: '2026-01-01T00:00:00Z',
    });
  } else if (api) {
    list(hub, repository, url, response);
  } else {
    const file = resolve?.[3] ?? '';
    const bytes = repository.files.get(file);
    if (bytes === undefined) refuse(response, 404, 'EntryNotFound', 'Entry not found');
    else if (bytes.length < LFS_BYTES) send(response, noted, bytes, `"${gitOid(bytes)}"`, fault);
    else redirect(response, `${cdnUrl}/${name}/${sha256(bytes)}/${file}`, bytes);
  }
}

function find(
  hub: HubServer,
  name: string,
  revision: string,
  authorization: string | undefined,
  response: ServerResponse,
): HubRepository | undefined {
  const repository = hub.repositories.find((each) => each.name === name);
  const known = authorization === `Bearer ${HUB_TOKEN}`;
  if (authorization !== undefined && !known) {
    refuse(response, 401, '', 'Invalid credentials in Authorization header');
  } else if (!known && (repository === undefined || repository.isPrivate)) {
    refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
  } else if (repository === undefined) {
    refuse(response, 404, 'RepoNotFound', 'Repository not found');
  } else if (repository.isGated) {
    refuse(response, 403, 'GatedRepo', 'Access to this model is restricted.');
  } else if (!['HEAD', 'main', repository.commit, ...(repository.tags ?? [])].includes(revision)) {
    refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  } else return repository;
  return undefined;
}

function list(
  hub: HubServer,
  { files, name, commit }: HubRepository,
  url: URL,
  response: ServerResponse,
) {
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const entries = [...files].slice(from, from + PAGE).map(([path, bytes]) => {
    const pointer = gitOid(new TextEncoder().encode(`pointer ${sha256(bytes)}`));
    if (bytes.length < LFS_BYTES)
      return { type: 'file', oid: gitOid(bytes), size: bytes.length, path };
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 135 };
    return { type: 'file', oid: pointer, size: bytes.length, path, lfs };
  });
  if (from + PAGE < files.size) {
    const next = `${hub.endpoint}/api/models/${name}/tree/${commit}?cursor=${from + PAGE}`;
    response.setHeader('link', `<${next}>; rel="next"`);
  }
  json(response, [
    ...(from === 0 ? [{ type: 'directory', oid: '0', size: 0, path: 'onnx' }] : []),
    ...entries,
  ]);
}

function redirect(response: ServerResponse, location: string, bytes: Uint8Array): void {
  const linked = { 'x-linked-size': String(bytes.length), 'x-linked-etag': `"${sha256(bytes)}"` };
  response.writeHead(302, { location, ...linked }).end();
}

function answerCdn(hub: HubServer, request: IncomingMessage, response: ServerResponse): void {
  const begun = begin(hub, 'cdn', request, response);
  if (begun === undefined) return;
  const { noted, fault } = begun;
  const [, owner, name, digest, ...rest] = noted.path.split('/');
  const repository = hub.repositories.find((each) => each.name === `${owner}/${name}`);
  const bytes = repository?.files.get(rest.join('/'));
  if (bytes === undefined || sha256(bytes) !== digest) refuse(response, 404, '', 'gone');
  // A store refuses who comes with the hub's token beside its own signature.
  else if (noted.authorization) refuse(response, 400, '', 'only one way to authenticate');
  else send(response, noted, bytes, `"${digest}"`, fault);
}

function send(
  response: ServerResponse,
  noted: HubRequest,
  whole: Uint8Array,
  etag: string,
  fault: HubFault | undefined,
): void {
  const ranged = fault && 'noRanges' in fault ? undefined : noted.range;
  const [, first = '0', last = ''] = /^bytes=(\d+)-(\d*)$/.exec(ranged ?? '') ?? [];
  const [from, to] = [
    Number(first),
    Math.min(last === '' ? Infinity : Number(last), whole.length - 1),
  ];
  const body = Buffer.from(whole.subarray(from, to + 1));
  const headers = {
    etag,
    'content-length': body.length,
    'content-type': 'application/octet-stream',
  };
  if (ranged === undefined) response.writeHead(200, headers);
  else if (from >= whole.length) {
    response.writeHead(416).end();
    return;
  } else
    response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${to}/${whole.length}` });
  const part =
    fault && 'cutAfter' in fault
      ? fault.cutAfter
      : fault && 'stallAfter' in fault
        ? fault.stallAfter
        : undefined;
  if (part === undefined || part >= body.length) {
    if (fault && 'garbled' in fault) body[body.length >> 1] = ~(body[body.length >> 1] ?? 0);
    noted.sentBytes += body.length;
    response.end(body);
    return;
  }
  noted.sentBytes += part;
  response.write(body.subarray(0, part), () => {
    if (fault && 'cutAfter' in fault) response.destroy();
  });
}

function refuse(response: ServerResponse, status: number, code: string, error: string): void {
  const headers = { 'x-error-code': code, 'x-error-message': error };
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ error }));
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
}
