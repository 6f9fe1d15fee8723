import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { Clients } from '@heddle/ports';
import { createService } from './explorer.ts';

const job = {
  id: 'qk-fit-1',
  kind: 'qk.fit',
  state: 'JOB_STATE_RUNNING',
  progress: { done: 3, total: 9, unit: 'heads', message: '' },
  created_ms: 1,
  error: null,
};

const clients = {
  activation: {
    ListModels: () =>
      Promise.reject(new OperationError({ code: 'unavailable', message: 'restarting' })),
  },
  jobs: { List: async () => ({ jobs: [job] }) },
} as unknown as Clients;

interface Answer {
  readonly found: boolean;
  readonly body: string;
  readonly headers: ReadonlyMap<string, string>;
}

async function get(url: string): Promise<Answer> {
  const headers = new Map<string, string>();
  let body = '';
  const response = {
    setHeader: (name: string, value: string) => headers.set(name, value),
    end: (text: unknown) => {
      body = String(text);
    },
  };
  const { pages } = createService({ clients, contracts: ['activation', 'jobs'] });
  const found = await pages({ url } as IncomingMessage, response as unknown as ServerResponse);
  return { found, body, headers };
}

test('the state has jobs in plain words, and names a part that could not be had', async () => {
  const { body } = await get('/api/state');
  const state = JSON.parse(body);
  assert.deepEqual(state.services, ['activation', 'jobs']);
  assert.equal(state.jobs[0].state, 'running');
  assert.equal(state.jobs[0].done, 3);
  assert.deepEqual(state.models, []);
  assert.deepEqual(state.missing, ['models: restarting']);
});

test('a page loads nothing from elsewhere, and what it names is there', async () => {
  const { body, headers } = await get('/?from=a-link');
  assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none'/);
  const names = [...body.matchAll(/(?:src|href)="(\/[^"]+\.(?:js|css))"/g)].map(([, name]) => name);
  assert.deepEqual(names.sort(), ['/page.css', '/page.js']);
  for (const name of names) assert.ok((await get(name ?? '')).found);
});

test('there is no other file to be had', async () => {
  assert.equal((await get('/../package.json')).found, false);
  assert.equal((await get('/page/page.html')).found, false);
});
