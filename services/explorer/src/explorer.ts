import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { OperationError } from '@heddle/core';
import type { Clients, ContractName } from '@heddle/ports';
import { clusterState } from './cluster-state.ts';

export interface ExplorerDeps {
  /** Clients of the cluster that is looked at. */
  readonly clients: Clients;
  /** What it runs. */
  readonly contracts: readonly ContractName[];
}

export interface Explorer {
  /** Answers a page; false when it has none of that name. */
  readonly pages: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;
}

/** Pages may run nothing but their own script and load nothing from elsewhere. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";

const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  '/': { file: 'page.html', type: 'text/html; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
};

/** A web page over the same gRPC that everything else uses: services, models and jobs, live. */
export function createService(deps: ExplorerDeps): Explorer {
  return {
    async pages(request, response) {
      const { pathname } = new URL(request.url ?? '/', 'http://explorer');
      response.setHeader('content-security-policy', POLICY);
      if (pathname === '/api/state') return sendState(deps, response);
      const page = FILES[pathname];
      if (page === undefined) return false;
      response.setHeader('content-type', page.type);
      response.end(await readFile(new URL(`./page/${page.file}`, import.meta.url)));
      return true;
    },
  };
}

async function sendState(deps: ExplorerDeps, response: ServerResponse): Promise<boolean> {
  response.setHeader('content-type', 'application/json');
  response.setHeader('cache-control', 'no-store');
  try {
    response.end(JSON.stringify(await clusterState(deps)));
  } catch (thrown) {
    const { code, message } = OperationError.from(thrown);
    response.writeHead(502).end(JSON.stringify({ error: { code, message } }));
  }
  return true;
}
