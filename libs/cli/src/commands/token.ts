import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { failedPrecondition, invalidArgument } from '@heddle/core';
import { ROLES, type Role } from '@heddle/ports';
import { type Command, Option } from 'commander';
import { fileError, OutputFile } from '../arguments/files.ts';
import { parseCount } from '../arguments/lists.ts';
import type { Invocation } from '../invocation.ts';
import { facts } from '../show.ts';

const KEY_FILE = 'heddle-token-key.json';
const JWKS_FILE = 'heddle-jwks.json';
const DAY_MS = 24 * 3600 * 1000;

/** Tokens for those without an identity provider: nothing here asks a cluster. */
export function addToken(program: Command, invocation: Invocation): void {
  const token = program
    .command('token')
    .description('tokens that let people and programs into a cluster: keygen, issue');
  token
    .command('keygen')
    .description('a key that signs tokens, and the public half that servers check them with')
    .option('--out <dir>', 'folder for the two files', '.')
    .option('--replace', 'also where there is a key: tokens that it signed end with it')
    .action((options: KeygenOptions) => keygen(invocation, options));
  token
    .command('issue')
    .description('a token, on stdout')
    .requiredOption('--tenant <name>', 'whose jobs and quotas')
    .addOption(new Option('--role <role>', 'what it may').choices(ROLES).default('run'))
    .option('--days <n>', 'good for so long', parseCount, 30)
    .option('--key <file>', 'the key of keygen', KEY_FILE)
    .option('--issuer <name>', 'as HEDDLE_TOKENS_ISSUER of the servers')
    .option('--audience <name>', 'as HEDDLE_TOKENS_AUDIENCE of the servers')
    .action((options: IssueOptions) => issue(invocation, options));
}

interface KeygenOptions {
  readonly out: string;
  readonly replace?: boolean;
}

async function keygen(invocation: Invocation, { out, replace }: KeygenOptions): Promise<void> {
  const folder = resolve(invocation.io.workingDirectory, out);
  const [key, jwks] = [join(folder, KEY_FILE), join(folder, JWKS_FILE)];
  const there = await stat(key).catch(() => undefined);
  if (there !== undefined && replace !== true) {
    throw failedPrecondition(
      `${key} is there, and tokens that it signed would end with it; --replace makes another all the same`,
      { field: 'out' },
    );
  }
  const { makeTokenKey } = await import('@heddle/adapters/tokens');
  const made = await makeTokenKey();
  try {
    await mkdir(folder, { recursive: true });
    const file = await OutputFile.plan(invocation, jwks);
    // Made anew: one that is written over keeps the mode that it had.
    if (replace === true) await rm(key, { force: true });
    await writeFile(key, `${JSON.stringify(made.privateKey)}\n`, { mode: 0o600, flag: 'wx' });
    await file.write(new TextEncoder().encode(`${JSON.stringify(made.jwks)}\n`));
  } catch (thrown) {
    throw fileError(thrown, out, 'out');
  }
  const text = facts([
    ['signs tokens', `${key} (keep it; no server needs it)`],
    ['checks tokens', `${jwks} (HEDDLE_TOKENS_JWKS of the servers)`],
    ['next', `heddle token issue --tenant NAME --role run --key ${join(out, KEY_FILE)}`],
  ]);
  invocation.print({ key, jwks, kid: made.privateKey.kid }, text);
}

interface IssueOptions {
  readonly tenant: string;
  readonly role: Role;
  readonly days: number;
  readonly key: string;
  readonly issuer?: string;
  readonly audience?: string;
}

async function issue(invocation: Invocation, options: IssueOptions): Promise<void> {
  const { tenant, role, days, issuer, audience } = options;
  const key = await readKey(invocation, options.key);
  const { issueToken } = await import('@heddle/adapters/tokens');
  const issuedMs = Date.now();
  const expiresMs = issuedMs + days * DAY_MS;
  const token = await issueToken({
    key,
    tenant,
    role,
    issuedMs,
    expiresMs,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  });
  const expires = new Date(expiresMs).toISOString();
  if (invocation.io.terminal) invocation.note(`for ${tenant}, role ${role}, until ${expires}`);
  invocation.print({ token, tenant, role, expires, expires_ms: expiresMs }, token);
}

async function readKey(invocation: Invocation, path: string): Promise<object> {
  try {
    const text = await readFile(resolve(invocation.io.workingDirectory, path), 'utf8');
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch (thrown) {
    // Not the parser's words: they quote what it read.
    if (!(thrown instanceof SyntaxError)) throw fileError(thrown, path, 'key');
  }
  throw invalidArgument(`--key: ${path} is no key of \`heddle token keygen\``, { field: 'key' });
}
