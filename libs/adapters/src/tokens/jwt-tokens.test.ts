import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import { ROLES, type Role, TOKEN_DEFAULTS } from '@heddle/ports';
import { silentLog, temporaryFolder } from '@heddle/testkit';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { type IssueOptions, issueToken, makeTokenKey } from './issue-token.ts';
import { type JwtOptions, JwtTokens } from './jwt-tokens.ts';

const NOW = Date.UTC(2030, 0, 1);
const HOUR = 3_600_000;
const key = await makeTokenKey();
const folder = await temporaryFolder();
const jwks = join(folder.path, 'jwks.json');
await writeFile(jwks, JSON.stringify(key.jwks));
test.after(() => folder.remove());

const open = (options: Partial<JwtOptions> = {}) =>
  JwtTokens.open({
    jwks,
    ...TOKEN_DEFAULTS,
    roles: new Map(ROLES.map((role) => [role as string, role])),
    log: silentLog,
    now: () => NOW,
    ...options,
  });

const issue = (options: Partial<IssueOptions> = {}) =>
  issueToken({
    key: key.privateKey,
    tenant: 'ada',
    role: 'run',
    issuedMs: NOW - HOUR,
    expiresMs: NOW + HOUR,
    ...options,
  });

/** Any claims at all, signed with our key. */
const sign = (claims: Record<string, unknown>, with_: JWK = key.privateKey) =>
  new SignJWT({ iss: 'heddle', aud: 'heddle', exp: NOW / 1000 + 60, sub: 'ada', ...claims })
    .setProtectedHeader({ alg: with_.alg ?? 'EdDSA', ...(with_.kid ? { kid: with_.kid } : {}) })
    .sign(with_);

const refused = async (promise: Promise<unknown>): Promise<OperationError> => {
  const error = await promise.then(
    () => assert.fail('it was let in'),
    (thrown: OperationError) => thrown,
  );
  assert.equal(error.code, 'unauthenticated', error.message);
  assert.equal(error.field, 'token');
  return error;
};

test('a token that was issued here says whose it is and what it may', async () => {
  for (const role of ROLES) {
    const caller = await (await open()).verify(await issue({ tenant: 'Grace Hopper é', role }));
    assert.deepEqual(caller, { tenant: 'Grace Hopper é', role });
  }
});

test('an expired token is refused with when it ended; clocks may differ by 30 s', async () => {
  const tokens = await open();
  const error = await refused(tokens.verify(await issue({ expiresMs: NOW - 600_000 })));
  assert.match(error.message, /expired at 2029-12-31T23:50:00.000Z, 10 min ago/);
  assert.equal(error.details['expired_ms'], NOW - 600_000);
  await tokens.verify(await issue({ expiresMs: NOW - 20_000 }));
  await refused(tokens.verify(await issue({ expiresMs: NOW - 31_000 })));
});

test('a token for another audience or of another issuer is refused by name', async () => {
  const tokens = await open();
  const audience = await refused(tokens.verify(await issue({ audience: 'loom' })));
  assert.match(audience.message, /audience must be heddle/);
  const issuer = await refused(tokens.verify(await issue({ issuer: 'mallory' })));
  assert.match(issuer.message, /issuer, heddle/);
});

test('a token that somebody else signed, changed, or did not sign at all is refused', async () => {
  const tokens = await open();
  const mallory = (await makeTokenKey()).privateKey;
  assert.match((await refused(tokens.verify(await issue({ key: mallory })))).message, /not know/);
  const posing = { ...mallory, kid: String(key.privateKey.kid) };
  const posed = await refused(tokens.verify(await issue({ key: posing })));
  assert.match(posed.message, /not signed with the key/);

  const [header = '', body = '', signature = ''] = (await issue()).split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
  const raised = Buffer.from(JSON.stringify({ ...claims, heddle_role: 'admin' })).toString(
    'base64url',
  );
  await refused(tokens.verify(`${header}.${raised}.${signature}`));
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  await refused(tokens.verify(`${none}.${body}.`));
  for (const text of ['', 'x', 'a.b.c', '..', 'x'.repeat(20_000)])
    await refused(tokens.verify(text));
});

test('a secret shared with the servers signs nothing, not even the bytes of a public key', async () => {
  const tokens = await open();
  const secret = new TextEncoder().encode(JSON.stringify(key.jwks.keys[0]));
  const forged = await new SignJWT({ heddle_role: 'admin' })
    .setProtectedHeader({ alg: 'HS256', kid: String(key.privateKey.kid) })
    .setSubject('ada')
    .setIssuer('heddle')
    .setAudience('heddle')
    .setExpirationTime(NOW / 1000 + 60)
    .sign(secret);
  await refused(tokens.verify(forged));
});

test('a token without an end, a tenant or a known role is refused', async () => {
  const tokens = await open();
  const endless = await refused(tokens.verify(await sign({ heddle_role: 'run', exp: undefined })));
  assert.match(endless.message, /no claim exp/);
  await refused(tokens.verify(await sign({ heddle_role: 'run', sub: '' })));
  await refused(tokens.verify(await sign({ heddle_role: 'run', sub: 'x'.repeat(129) })));
  await refused(tokens.verify(await sign({ heddle_role: 'run', sub: 'half \ud83d' })));
  const role = await refused(tokens.verify(await sign({ heddle_role: 'root' })));
  assert.match(role.message, /heddle_role gives none of the roles.*read, run, admin/);
  await refused(tokens.verify(await sign({})));
});

test('an identity provider calls claims and roles what it likes; the highest role counts', async () => {
  const roles = new Map<string, Role>([
    ['viewers', 'read'],
    ['ml', 'run'],
  ]);
  const options = { tenantClaim: 'team', roleClaim: 'realm_access.roles', roles };
  const tokens = await open(options);
  const granted = (list: unknown) => sign({ team: 'vision', realm_access: { roles: list } });
  const caller = await tokens.verify(await granted(['offline', 'ml', 'viewers']));
  assert.deepEqual(caller, { tenant: 'vision', role: 'run' });
  await refused(tokens.verify(await granted(['admin'])));
});

test('ES256 and RS256 keys of an identity provider are accepted', async () => {
  const pairs = await Promise.all(
    ['ES256', 'RS256'].map(async (alg) => ({
      alg,
      ...(await generateKeyPair(alg, { extractable: true })),
    })),
  );
  const path = join(folder.path, 'mixed.json');
  const keys = await Promise.all(
    pairs.map(async ({ alg, publicKey }) => ({ ...(await exportJWK(publicKey)), alg, kid: alg })),
  );
  await writeFile(path, JSON.stringify({ keys }));
  const tokens = await open({ jwks: path });
  for (const { alg, privateKey } of pairs) {
    const own = { ...(await exportJWK(privateKey)), alg, kid: alg };
    assert.equal((await tokens.verify(await sign({ heddle_role: 'read' }, own))).role, 'read');
  }
});

test('keys come from an address too, and one that is away is unavailable, not a wrong token', async () => {
  const server = createServer((_, response) => response.end(JSON.stringify(key.jwks)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const tokens = await open({ jwks: address });
  assert.equal((await tokens.verify(await issue())).tenant, 'ada');
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  const cold = await open({ jwks: address });
  await assert.rejects(cold.verify(await issue()), { code: 'unavailable' });
});

test('a file of keys that holds a private one, or none, is refused at the start', async () => {
  const path = join(folder.path, 'wrong.json');
  for (const [text, why] of [
    [JSON.stringify({ keys: [key.privateKey] }), /private key/],
    [JSON.stringify({ keys: [] }), /no list/],
    ['{', /no JSON/],
  ] as const) {
    await writeFile(path, text);
    await assert.rejects(open({ jwks: path }), (error: OperationError) => {
      assert.equal(error.code, 'failed_precondition');
      assert.match(error.message, why);
      return true;
    });
  }
  await assert.rejects(open({ jwks: join(folder.path, 'missing.json') }), {
    code: 'failed_precondition',
  });
});
