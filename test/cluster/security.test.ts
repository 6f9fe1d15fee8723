/**
 * A cluster as it is run where others are: TLS with certificates that rotate, tokens with roles, a user of NATS for each
 * service. Its main job works through the front door; whoever is nobody, or somebody else, gets nowhere.
 */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@heddle/adapters/clock';
import { callContext } from '@heddle/adapters/grpc';
import { accountsConfig, natsConnection, openNats, passwordVariable } from '@heddle/adapters/nats';
import { TlsFiles, tlsPaths } from '@heddle/adapters/tls';
import { issueToken, makeTokenKey } from '@heddle/adapters/tokens';
import { type Access, connect, type Heddle } from '@heddle/client';
import { OperationError } from '@heddle/core';
import type { Role } from '@heddle/ports';
import {
  type Cluster,
  launch,
  missingServer,
  type NatsServer,
  SERVERS,
  type ServiceName,
  silentLog,
  startCluster,
  startNats,
  temporaryFolder,
  until,
} from '@heddle/testkit';
import { type Authority, makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { NATS_USERS } from 'heddle';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const SERVICES: readonly ServiceName[] = [
  'activation',
  'lorsa',
  'qk',
  'circuit',
  'attribution',
  'explorer',
];
const HOUR_MS = 3_600_000;
const skip = missingServer(SERVERS.natsCurrent) ?? false;

const folder = await temporaryFolder();
const path = (...names: string[]) => join(folder.path, ...names);
const key = await makeTokenKey();
const stranger = await makeAuthority('somebody else');
let authority: Authority;
let nats: NatsServer;
let cluster: Cluster;

interface TokenOptions {
  readonly expiresInMs?: number;
  readonly audience?: string;
}

const tokenOf = (tenant: string, role: Role, options: TokenOptions = {}) => {
  const { expiresInMs = HOUR_MS, audience = 'heddle' } = options;
  const [issuedMs, expiresMs] = [Date.now() - HOUR_MS, Date.now() + expiresInMs];
  return issueToken({ key: key.privateKey, tenant, role, issuedMs, expiresMs, audience });
};

/** The certificate of a service: the front door's also for the address that people ask. */
async function certify(by: Authority): Promise<void> {
  await writeFile(path('ca.pem'), by.ca);
  for (const service of SERVICES) {
    const names = [`heddle-${service}`, ...(service === 'explorer' ? ['127.0.0.1'] : [])];
    await writeTls(path(service), by, await by.issue({ names }));
  }
}

function natsOf(service: ServiceName): Record<string, string> {
  if (service === 'explorer') return { HEDDLE_NATS: '', HEDDLE_TOKENS_JWKS: path('jwks.json') };
  return {
    HEDDLE_NATS_USER: service,
    HEDDLE_NATS_PASSWORD_FILE: path(`${service}.password`),
    HEDDLE_NATS_CA: path('nats', 'ca.crt'),
    HEDDLE_NATS_CERT: path('nats', 'tls.crt'),
    HEDDLE_NATS_KEY: path('nats', 'tls.key'),
  };
}

before(async () => {
  if (skip) return;
  authority = await makeAuthority('the cluster');
  await certify(authority);
  await writeTls(path('nats'), authority, await authority.issue({ names: ['localhost'] }));
  await writeFile(path('jwks.json'), JSON.stringify(key.jwks));
  await writeFile(path('quotas.json'), '{"tenants": {"small": {"jobs": 0}}}');
  const users = [...NATS_USERS.map(({ name }) => name), 'operator', 'system'];
  const env: Record<string, string> = {};
  for (const user of users) {
    env[passwordVariable(user)] = `secret-of-${user}`;
    await writeFile(path(`${user}.password`), `secret-of-${user}\n`);
  }
  const files = ['ca', 'tls', 'tls'].map((name, i) =>
    path('nats', `${name}.${i === 2 ? 'key' : 'crt'}`),
  );
  const [ca, cert, secret] = files;
  const tls = `tls { ca_file: "${ca}", cert_file: "${cert}", key_file: "${secret}", verify: true }`;
  const config = `${accountsConfig(NATS_USERS)}\n${tls}`;
  nats = await startNats(SERVERS.natsCurrent, { config, env });
  cluster = await startCluster({
    nats,
    env: { HEDDLE_QUOTAS: path('quotas.json') },
    processes: SERVICES.map((service) => ({
      services: [service],
      env: { HEDDLE_TLS_DIR: path(service), ...natsOf(service) },
    })),
  });
});

after(async () => {
  await cluster?.remove();
  await nats?.remove();
  await folder.remove();
});

async function asking<T>(
  service: ServiceName,
  access: Access,
  body: (heddle: Heddle) => Promise<T>,
): Promise<T> {
  const heddle = connect(`https://${cluster.process(service).address}`, access);
  try {
    return await body(heddle);
  } finally {
    heddle.close();
  }
}

/** A person at the front door. */
const asPerson = async <T>(
  tenant: string,
  role: Role,
  body: (heddle: Heddle) => Promise<T>,
  options: TokenOptions = {},
): Promise<T> => {
  const token = await tokenOf(tenant, role, options);
  return asking('explorer', { tls: { ca: authority.ca }, token }, body);
};

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (thrown) {
    return OperationError.from(thrown).code;
  }
}

const models = ({ activation }: Heddle) => activation.ListModels({}, { timeoutMs: 60_000 });
const fit = ({ qk }: Heddle) => qk.StartFit({}, { timeoutMs: 60_000 });
const remove = ({ activation }: Heddle) =>
  activation.RemoveModel({ name: 'none' }, { timeoutMs: 60_000 });

/** As a person with this token would type it. */
async function typed(token: string, ...argv: readonly string[]): Promise<void> {
  const env = {
    HEDDLE_SERVER: `https://${cluster.address}`,
    HEDDLE_TOKEN: token,
    HEDDLE_TLS_CA: path('ca.pem'),
  };
  const child = launch(MAIN, [...argv, '--json'], { env, cwd: folder.path });
  const { code: status } = await child.exited;
  assert.equal(status, 0, child.stderr());
}

test('the main job works through TLS, a token and the users of NATS, and is its tenant’s', {
  skip,
}, async () => {
  const token = await tokenOf('ada', 'run');
  await typed(token, 'tour', '--exit');
  const jobsOf = (tenant: string, role: Role) =>
    asPerson(tenant, role, async ({ jobs }) => (await jobs.List({ limit: 100 })).jobs);
  const own = await jobsOf('ada', 'read');
  assert.ok(own.length >= 4, `${own.length} jobs`);
  const domains = new Set(own.map(({ kind }) => kind.split('.')[0]));
  for (const { name } of NATS_USERS) assert.ok(domains.has(name), name);
  for (const { tenant } of own) assert.equal(tenant, 'ada');
  assert.deepEqual(await jobsOf('bob', 'run'), []);
  assert.equal((await jobsOf('root', 'admin')).length, own.length);
  const [first] = own;
  const get = ({ jobs }: Heddle) => jobs.Get({ id: first?.id ?? '' });
  assert.equal(await code(asPerson('bob', 'run', get)), 'not_found');
  for (const process of cluster.processes) {
    assert.doesNotMatch(process.stderr(), /permission|refused|secret-of-/i, process.name);
    assert.ok(!process.stderr().includes(token), `${process.name} logged a token`);
  }
});

test('each role may what it may, and what it may not is said with both roles', {
  skip,
}, async () => {
  const reached = (role: Role, ask: (heddle: Heddle) => Promise<unknown>) =>
    code(asPerson('ada', role, ask));
  assert.equal(await reached('read', models), 'ok');
  assert.equal(await reached('read', fit), 'permission_denied');
  assert.equal(await reached('run', fit), 'invalid_argument'); // it came to the service, which wants contrasts
  assert.equal(await reached('run', remove), 'permission_denied');
  assert.equal(await reached('admin', remove), 'not_found');
  const collect = ({ jobs }: Heddle) => jobs.CollectGarbage({ dry_run: true });
  assert.equal(await reached('run', collect), 'permission_denied');
  assert.equal(await reached('admin', collect), 'ok');
  const denied = await asPerson('ada', 'read', fit).catch((error: OperationError) => error);
  assert.ok(denied instanceof OperationError);
  const { needs, has } = denied.details;
  assert.deepEqual({ needs, has }, { needs: 'run', has: 'read' });
});

test('no token, an expired one, one for another audience and a stranger’s get nowhere', {
  skip,
}, async () => {
  const tls = { ca: authority.ca };
  assert.equal(await code(asking('explorer', { tls }, models)), 'unauthenticated');
  const expired = asPerson('ada', 'admin', models, { expiresInMs: -60_000 });
  assert.equal(await code(expired), 'unauthenticated');
  const elsewhere = asPerson('ada', 'admin', models, { audience: 'loom' });
  assert.equal(await code(elsewhere), 'unauthenticated');
  const forged = await issueToken({
    key: (await makeTokenKey()).privateKey,
    tenant: 'ada',
    role: 'admin',
    issuedMs: Date.now(),
    expiresMs: Date.now() + HOUR_MS,
  });
  assert.equal(await code(asking('explorer', { tls, token: forged }, models)), 'unauthenticated');
});

test('a tenant that one only claims to be is not believed', { skip }, async () => {
  const token = await tokenOf('mallory', 'read');
  const callers = callContext();
  const claimed = { tenant: 'ada', role: 'admin' } as const;
  const access = { tls: { ca: authority.ca }, token, callers };
  await callers.run(claimed, async () => {
    const { jobs } = await asking('explorer', access, (heddle) => heddle.jobs.List({}));
    assert.deepEqual(jobs, []);
    assert.equal(await code(asking('explorer', access, fit)), 'permission_denied');
  });
});

test('behind the front door only certificates of the cluster count, and a token is nothing', {
  skip,
}, async () => {
  const token = await tokenOf('root', 'admin');
  const member = await authority.issue({ names: ['heddle-lorsa'] });
  const shown = {
    'no certificate': undefined,
    'another authority’s': await stranger.issue({ names: ['heddle-lorsa'] }),
    'an expired one': await authority.issue({ names: ['heddle-lorsa'], expired: true }),
    'of no member': await authority.issue({ names: ['grafana'] }),
  };
  const accessOf = async (issued: typeof member): Promise<Access & { close(): void }> => {
    await writeTls(path('shown'), authority, issued);
    const files = await TlsFiles.open(tlsPaths(path('shown')), { log: silentLog });
    return { tls: { files }, close: () => files.close() };
  };
  for (const service of ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const) {
    const list = ({ jobs }: Heddle) => jobs.List({}, { timeoutMs: 60_000 });
    for (const [what, issued] of Object.entries(shown)) {
      const access = issued === undefined ? undefined : await accessOf(issued);
      // The server is checked by its name as a member; a person's client would not even get there.
      const tls = access?.tls ?? { ca: authority.ca, serverName: `heddle-${service}` };
      const refused = await code(asking(service, { tls, token }, list));
      assert.equal(refused, 'unauthenticated', `${service}, ${what}`);
      access?.close();
    }
    const access = await accessOf(member);
    assert.equal(await code(asking(service, access, list)), 'ok');
    access.close();
  }
  const plain = connect(cluster.process('lorsa').address);
  assert.equal(await code(fit(plain)), 'unavailable');
  plain.close();
});

test('a tenant over its quota is refused with the quota’s name; others are not', {
  skip,
}, async () => {
  const start = ({ lorsa }: Heddle) => lorsa.StartTrain({ layer: 0, optimiser: { steps: 1 } });
  const refused = await asPerson('small', 'run', start).catch((error: OperationError) => error);
  assert.ok(refused instanceof OperationError);
  assert.equal(refused.code, 'resource_exhausted', refused.message);
  assert.equal(refused.details['quota'], 'jobs');
  const { job } = await asPerson('large', 'run', start);
  const asked = ({ jobs }: Heddle) => jobs.Get({ id: job?.id ?? '' });
  assert.equal((await asPerson('large', 'read', asked)).job?.tenant, 'large');
  await asPerson('large', 'run', ({ jobs }) => jobs.Cancel({ id: job?.id ?? '' }));
});

test('a service cannot put into another’s queue, and a user that NATS does not know is nobody', {
  skip,
}, async () => {
  const tls = {
    caFile: path('nats', 'ca.crt'),
    certFile: path('nats', 'tls.crt'),
    keyFile: path('nats', 'tls.key'),
  };
  const open = (user: string) =>
    openNats({
      servers: [nats.url],
      clock: systemClock,
      log: silentLog,
      connection: natsConnection({ user, passwordFile: path('qk.password'), ...tls }),
    });
  const stores = await open('qk');
  const bytes = new Uint8Array(1);
  assert.equal(await code(stores.queue.push('tasks.lorsa.train', 'k', bytes)), 'permission_denied');
  await stores.close();
  assert.equal(await code(open('nobody')), 'unauthenticated');
});

/** What a page answers, over TLS. */
function page(pathname: string, authorization?: string): Promise<{ status: number; text: string }> {
  const url = new URL(pathname, cluster.pages.replace('http:', 'https:'));
  const headers = authorization === undefined ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const asked = request(url, { ca: authority.ca, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject).end();
  });
}

test('the page wants a token and shows what is its owner’s; metrics are for whoever may come near', {
  skip,
}, async () => {
  assert.equal((await page('/')).status, 401);
  assert.equal((await page('/api/state', 'Bearer nonsense')).status, 401);
  assert.equal((await page('/healthz')).status, 200);
  assert.equal((await page('/readyz')).status, 200);
  const basic = async (tenant: string) =>
    `Basic ${Buffer.from(`me:${await tokenOf(tenant, 'read')}`).toString('base64')}`;
  assert.equal((await page('/', await basic('ada'))).status, 200);
  const jobsOf = async (tenant: string) => {
    const { text } = await page('/api/state', await basic(tenant));
    return (JSON.parse(text) as { jobs: unknown[] }).jobs.length;
  };
  assert.ok((await jobsOf('ada')) >= 4);
  assert.equal(await jobsOf('bob'), 0);
  const { status, text } = await page('/metrics');
  assert.equal(status, 200);
  assert.match(text, /grpc_calls_total\{[^}]*code="unauthenticated"/);
});

test('certificates and their authority are renewed while the cluster works, without a restart', {
  skip,
}, async () => {
  const before = cluster.processes.map(({ pid }) => pid);
  const old = authority.ca;
  authority = await makeAuthority('the next');
  await certify(authority);
  const token = await tokenOf('ada', 'run');
  const everywhere = async () => {
    for (const service of SERVICES) {
      const tls = { ca: authority.ca, serverName: `heddle-${service}` };
      if ((await code(asking(service, { tls }, fit))) !== 'unauthenticated') return false;
    }
    return true;
  };
  await until('all serve the new certificate', everywhere);
  // One is started anew: the front door, which was not, must find it by the new authority, and activation let it in.
  await cluster.process('attribution').restart();
  await typed(token, 'why', '--text', 'When Mary and John went to the store', '--next-token');
  const withOld = asking('explorer', { tls: { ca: old }, token }, fit);
  assert.equal(await code(withOld), 'unavailable');
  const after = cluster.processes.map(({ pid }) => pid);
  assert.equal(after.filter((pid, i) => pid !== before[i]).length, 1, 'only that one');
});
