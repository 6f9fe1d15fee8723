import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, Metadata, credentials as noTls } from '@grpc/grpc-js';
import type { OperationError } from '@heddle/core';
import {
  type Caller,
  type ContractHandlers,
  ROLES,
  type Role,
  TOKEN_DEFAULTS,
} from '@heddle/ports';
import { CountingMetrics, type LogLine, recordingLog, temporaryFolder } from '@heddle/testkit';
import { type Authority, makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { TlsFiles, tlsPaths } from '../tls/index.ts';
import { issueToken, JwtTokens, makeTokenKey } from '../tokens/index.ts';
import { callContext } from './callers.ts';
import { type Channel, type ChannelConfig, openChannel } from './channel.ts';
import { CONTRACTS, methodsOf, SERVICES } from './contracts.ts';
import type { ServerSecurity } from './guard.ts';
import { grpcMetrics } from './metrics.ts';
import { METHOD_ROLES, roleOf } from './roles.ts';
import { type RunningServer, serve } from './server.ts';
import { fromServiceError } from './status.ts';
import type { ClusterTls } from './tls-credentials.ts';

const HOUR = 3_600_000;
const folder = await temporaryFolder();
test.after(() => folder.remove());
const { log, lines } = recorded();
const tokenKey = await makeTokenKey();
const authority = await makeAuthority('the cluster');
const stranger = await makeAuthority('somebody else');

function recorded() {
  const lines: LogLine[] = [];
  return { log: recordingLog(lines), lines };
}

async function openTokens(): Promise<JwtTokens> {
  const { writeFile } = await import('node:fs/promises');
  const jwks = join(folder.path, 'jwks.json');
  await writeFile(jwks, JSON.stringify(tokenKey.jwks));
  const roles = new Map(ROLES.map((role) => [role as string, role]));
  return JwtTokens.open({ jwks, ...TOKEN_DEFAULTS, roles, log });
}
const tokens = await openTokens();

const tokenOf = (tenant: string, role: Role, expiresInMs = HOUR) =>
  issueToken({
    key: tokenKey.privateKey,
    tenant,
    role,
    issuedMs: Date.now() - HOUR,
    expiresMs: Date.now() + expiresInMs,
  });

let folders = 0;
async function tlsOf(
  by: Authority,
  names: readonly string[],
  options: { readonly expired?: boolean; readonly trusts?: Authority } = {},
): Promise<ClusterTls & { readonly path: string }> {
  const path = join(folder.path, `tls-${folders++}`);
  await writeTls(path, options.trusts ?? by, await by.issue({ names, ...options }));
  return { files: await TlsFiles.open(tlsPaths(path), { log }), path };
}

interface Seen {
  readonly method: string;
  readonly caller: Caller;
}

/** A server that writes down in whose name each part of its handlers runs. */
async function guarded(security: ServerSecurity | undefined) {
  const callers = callContext();
  const seen: Seen[] = [];
  const see = (method: string) => seen.push({ method, caller: callers.current() });
  const handlers: ContractHandlers = {
    activation: {
      async *Run() {
        see('first');
        yield { start: {} };
        await new Promise((resolve) => setImmediate(resolve));
        see('second');
        yield { end: {} };
        see('last');
      },
      RemoveModel: async () => ({}),
    },
    jobs: {
      Get: async ({ id }) => {
        await new Promise((resolve) => setImmediate(resolve));
        see(id);
        return { job: { id } };
      },
    },
    lorsa: {
      async *Apply(requests) {
        for await (const _ of requests) see('request');
        see('end');
        yield { end: {} };
      },
    },
    qk: { StartFit: async () => ({ job: { id: 'qk-1' } }) },
  };
  const metrics = new CountingMetrics();
  metrics.register(grpcMetrics());
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    handlers,
    log,
    metrics,
    callers,
    security,
  });
  return { server, seen, callers, metrics };
}

async function asking<T>(
  { port }: RunningServer,
  config: ChannelConfig,
  body: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = openChannel(`127.0.0.1:${port}`, { ownConnection: true, ...config });
  try {
    return await body(channel);
  } finally {
    channel.close();
  }
}

const get = (server: RunningServer, config: ChannelConfig, id = 'x') =>
  asking(server, config, ({ clients }) => clients.jobs.Get({ id }, { timeoutMs: 5_000 }));

/** A method that is not sent again when nobody answers. */
const start = (server: RunningServer, config: ChannelConfig) =>
  asking(server, config, ({ clients }) => clients.qk.StartFit({}, { timeoutMs: 5_000 }));

async function fails(promise: Promise<unknown>, code: string): Promise<OperationError> {
  const error = await promise.then(
    () => assert.fail('it was let in'),
    (thrown: OperationError) => thrown,
  );
  assert.equal(error.code, code, error.message);
  return error;
}

test('every method of every contract has a role, and no role is for a method that is none', () => {
  for (const contract of CONTRACTS) {
    const methods = methodsOf(contract).map(([name]) => name);
    assert.deepEqual(Object.keys(METHOD_ROLES[contract]).sort(), methods.sort(), contract);
    for (const method of methods) assert.ok(roleOf(`/${SERVICES[contract]}/${method}`), method);
  }
});

test('a token lets in whom it names, with what its role may and no more', async () => {
  const { server, seen, metrics } = await guarded({ tokens });
  for (const role of ROLES) {
    const config = { token: await tokenOf(`of ${role}`, role) };
    const allowed = (needs: Role, call: (channel: Channel) => Promise<unknown>) => {
      if (ROLES.indexOf(role) >= ROLES.indexOf(needs)) return asking(server, config, call);
      return fails(asking(server, config, call), 'permission_denied').then((error) => {
        assert.deepEqual({ ...error.details, method: '' }, { method: '', needs, has: role });
        assert.match(error.message, new RegExp(`needs the role ${needs}.*has ${role}`));
      });
    };
    await allowed('read', ({ clients }) => clients.jobs.Get({ id: role }));
    await allowed('run', ({ clients }) => clients.qk.StartFit({}));
    await allowed('admin', ({ clients }) => clients.activation.RemoveModel({}));
    assert.deepEqual(seen.at(-1), { method: role, caller: { tenant: `of ${role}`, role } });
  }
  assert.match(await metrics.text(), /permission_denied/);
  await server.close(0);
});

test('without a token, with an expired one and with a stranger’s one nobody is let in', async () => {
  const { server, seen } = await guarded({ tokens });
  const none = await fails(get(server, {}), 'unauthenticated');
  assert.match(none.message, /HEDDLE_TOKEN/);
  const ended = await fails(
    get(server, { token: await tokenOf('ada', 'admin', -60_000) }),
    'unauthenticated',
  );
  assert.match(ended.message, /expired at 20/);
  assert.equal(typeof ended.details['expired_ms'], 'number');
  const mallory = await makeTokenKey();
  const forged = await issueToken({
    key: mallory.privateKey,
    tenant: 'ada',
    role: 'admin',
    issuedMs: Date.now(),
    expiresMs: Date.now() + HOUR,
  });
  await fails(get(server, { token: forged }), 'unauthenticated');
  assert.deepEqual(seen, []);
  assert.ok(!JSON.stringify(lines).includes(forged), 'a token is in the log');
  await server.close(0);
});

test('whoever has no certificate of the cluster cannot say in whose name he calls', async () => {
  const tls = await tlsOf(authority, ['heddle-lorsa', '127.0.0.1']);
  const { server, seen } = await guarded({ tls, tokens });
  const callers = { current: (): Caller => ({ tenant: 'victim', role: 'admin' }), run: never };
  const ca = { ca: authority.ca };
  await get(server, { tls: ca, token: await tokenOf('mallory', 'read'), callers }, 'forged');
  assert.deepEqual(seen, [{ method: 'forged', caller: { tenant: 'mallory', role: 'read' } }]);
  await fails(get(server, { tls: ca, callers }), 'unauthenticated');
  await fails(get(server, { tls: ca, callers, key: 'guessed' }), 'unauthenticated');
  assert.equal(seen.length, 1);
  await server.close(0);
});

const never = <T>(): T => assert.fail('not run');

test('a service of the cluster calls in the name of who asks it, in streams too', async () => {
  const tls = await tlsOf(authority, ['heddle-lorsa', '127.0.0.1']);
  const { server, seen, callers } = await guarded({ tls });
  const peer = await tlsOf(authority, ['heddle-qk.heddle.svc']);
  await asking(server, { tls: peer, callers }, async ({ clients }) => {
    const inName = async (caller: Caller) => {
      seen.length = 0;
      await callers.run(caller, async () => {
        await clients.jobs.Get({ id: 'unary' });
        for await (const _ of clients.activation.Run({}));
        const requests = async function* () {
          yield { start: {} };
          yield { chunk: {} };
        };
        for await (const _ of clients.lorsa.Apply(requests()));
      });
      const methods = seen.map(({ method }) => method);
      assert.deepEqual(methods, ['unary', 'first', 'second', 'last', 'request', 'request', 'end']);
      for (const { caller: saw } of seen) assert.deepEqual(saw, caller);
    };
    await inName({ tenant: 'ada', role: 'read' });
    await inName({ tenant: 'Zoë, ünïcode%', role: 'run' });
    // A stream is asked for in the name of who called, whoever reads it.
    seen.length = 0;
    const stream = callers.run({ tenant: 'ada', role: 'run' }, () => clients.activation.Run({}));
    await callers.run({ tenant: 'bob', role: 'run' }, async () => {
      for await (const _ of stream);
    });
    assert.deepEqual(new Set(seen.map(({ caller }) => caller.tenant)), new Set(['ada']));
    // Outside of any call it is the cluster itself.
    seen.length = 0;
    await clients.jobs.Get({ id: 'own' });
    assert.deepEqual(seen, [{ method: 'own', caller: { tenant: '', role: 'admin' } }]);
  });
  await server.close(0);
});

test('many callers at once are never taken for each other', async () => {
  const { server, seen } = await guarded({ tokens });
  const names = Array.from({ length: 20 }, (_, i) => `tenant ${i}`);
  await Promise.all(
    names.map(async (name) => {
      const token = await tokenOf(name, 'read');
      await asking(server, { token }, ({ clients }) =>
        Promise.all([1, 2, 3].map(() => clients.jobs.Get({ id: name }))),
      );
    }),
  );
  assert.equal(seen.length, 60);
  for (const { method, caller } of seen) assert.equal(method, caller.tenant);
  await server.close(0);
});

test('a certificate of another authority, one that has ended, or of no member lets nobody in', async () => {
  const tls = await tlsOf(authority, ['heddle-lorsa', '127.0.0.1']);
  const { server, seen } = await guarded({ tls });
  const cases = {
    'of another authority': await tlsOf(stranger, ['heddle-qk'], { trusts: authority }),
    'that has ended': await tlsOf(authority, ['heddle-qk'], { expired: true }),
    'of no member': await tlsOf(authority, ['grafana']),
  };
  for (const [what, shown] of Object.entries(cases)) {
    const error = await fails(get(server, { tls: shown }), 'unauthenticated');
    assert.match(error.message, what === 'of no member' ? /for grafana/ : /no certificate/, what);
  }
  await fails(get(server, { tls: { ca: authority.ca } }), 'unauthenticated');
  await fails(start(server, {}), 'unavailable'); // no TLS at all
  assert.deepEqual(seen, []);
  await server.close(0);
});

test('a server that is not of the cluster, or has another name, is not talked to', async () => {
  const tls = await tlsOf(stranger, ['heddle-lorsa', '127.0.0.1']);
  const { server, seen } = await guarded({ tls, tokens });
  const token = await tokenOf('ada', 'read');
  await fails(start(server, { tls: { ca: authority.ca }, token }), 'unavailable');
  await fails(start(server, { tls: await tlsOf(authority, ['heddle-qk']) }), 'unavailable');
  const config = { tls: { ca: authority.ca } };
  const why = await fails(
    asking(server, config, ({ ready }) => ready(200)),
    'unavailable',
  );
  assert.match(why.message, /no heddle answers at 127.0.0.1:\d+.*\(.*certificate.*\)/);
  await server.close(0);

  const elsewhere = await tlsOf(authority, ['heddle.example.org']);
  const named = await guarded({ tls: elsewhere, tokens });
  const ca = authority.ca;
  await fails(start(named.server, { tls: { ca }, token }), 'unavailable');
  await get(named.server, { tls: { ca, serverName: 'heddle.example.org' }, token });
  const noMember = await tlsOf(authority, ['grafana']);
  const third = await guarded({ tls: noMember });
  await fails(start(third.server, { tls: await tlsOf(authority, ['heddle-qk']) }), 'unavailable');
  assert.deepEqual([...seen, ...third.seen], []);
  await named.server.close(0);
  await third.server.close(0);
});

test('certificates and their authority are renewed on both ends without a restart', async () => {
  const tls = await tlsOf(authority, ['heddle-lorsa', '127.0.0.1']);
  const peer = await tlsOf(authority, ['heddle-qk']);
  const { server } = await guarded({ tls });
  await asking(server, { tls: peer }, async ({ clients }) => {
    await clients.jobs.Get({ id: 'before' });
    const next = await makeAuthority('the next');
    await writeTls(tls.path, next, await next.issue({ names: ['heddle-lorsa', '127.0.0.1'] }));
    assert.ok(await tls.files.reload());
    // What is open goes on; who still has the old authority is not let in, and does not let in.
    await clients.jobs.Get({ id: 'open' });
    const old = await tlsOf(authority, ['heddle-circuit']);
    await fails(start(server, { tls: old }), 'unavailable');
    await writeTls(peer.path, next, await next.issue({ names: ['heddle-qk'] }));
    assert.ok(await peer.files.reload());
    await get(server, { tls: peer }, 'after');
    await clients.jobs.Get({ id: 'still' });
  });
  await server.close(0);
});

test('a process is let in at its own server by a secret, and by another’s it is not', async () => {
  const { server, seen, callers } = await guarded({ tokens });
  await callers.run({ tenant: 'ada', role: 'run' }, () =>
    get(server, { key: server.key, callers }, 'self'),
  );
  assert.deepEqual(seen, [{ method: 'self', caller: { tenant: 'ada', role: 'run' } }]);
  const other = await guarded({ tokens });
  await fails(get(server, { key: other.server.key, callers }), 'unauthenticated');
  await server.close(0);
  await other.server.close(0);
});

test('health is told to everybody; reflection and unknown methods only to whoever may look', async () => {
  const { server } = await guarded({ tokens });
  server.ready();
  const token = await tokenOf('ada', 'read');
  const raw = (path: string, shown?: string) =>
    new Promise<OperationError | Buffer>((resolve) => {
      const client = new Client(`127.0.0.1:${server.port}`, noTls.createInsecure());
      const metadata = new Metadata();
      if (shown !== undefined) metadata.set('authorization', `Bearer ${shown}`);
      const same = (bytes: Buffer) => bytes;
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), metadata, (error, reply) => {
        client.close();
        resolve(error ? fromServiceError(error) : (reply ?? Buffer.alloc(0)));
      });
    });
  const serving = await raw('/grpc.health.v1.Health/Check');
  assert.deepEqual(serving, Buffer.from([8, 1]));
  const paths = [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/heddle.jobs.v1.JobsService/Frobnicate',
    '/heddle.lorsa.v1.LorsaService/ListHeads',
  ];
  for (const path of paths) {
    const refused = await raw(path);
    assert.ok(!Buffer.isBuffer(refused) && refused.code === 'unauthenticated', path);
    const let_in = await raw(path, token);
    assert.ok(Buffer.isBuffer(let_in) || let_in.code !== 'unauthenticated', path);
  }
  await server.close(0);
});

test('a token is not sent over a network without TLS, unless one insists', async () => {
  const token = await tokenOf('ada', 'read');
  for (const address of [
    '10.0.0.1:7411',
    'heddle.example.org:7411',
    'http://heddle.example.org:7411',
  ]) {
    assert.throws(() => openChannel(address, { token }), { code: 'failed_precondition' }, address);
    openChannel(address, { token, insecure: true }).close();
  }
  for (const address of [
    '127.0.0.1:1',
    'localhost:1',
    '[::1]:1',
    'https://heddle.example.org:7411',
  ]) {
    openChannel(address, { token }).close();
  }
  // A plain address of an open cluster goes without.
  openChannel('10.0.0.1:7411').close();
});

test('where nobody is asked who he is, everybody is the cluster, whatever he says', async () => {
  const { server, seen } = await guarded(undefined);
  const callers = { current: (): Caller => ({ tenant: 'ada', role: 'read' }), run: never };
  await get(server, { callers }, 'open');
  assert.deepEqual(seen, [{ method: 'open', caller: { tenant: '', role: 'admin' } }]);
  await server.close(0);
});
