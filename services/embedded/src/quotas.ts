import { readFileSync, statSync } from 'node:fs';
import { TENANT_QUOTAS, type TenantQuotas } from '@heddle/actor';
import { failedPrecondition, invalidArgument, OperationError } from '@heddle/core';
import type { Clock, Log } from '@heddle/ports';

const GIB = 2 ** 30;
const BYTES_MAX = 1024 * 1024;
/** A changed file counts after this: an operator's change needs no restart. */
const CHECK_EVERY_MS = 5_000;

/** Members of the file's objects: what each is called here, and its unit. */
const MEMBERS = {
  jobs: { name: 'jobsMax', unit: 1 },
  tasks: { name: 'tasksMax', unit: 1 },
  retained_gib: { name: 'retainedBytesMax', unit: GIB },
} as const satisfies Record<string, { name: keyof TenantQuotas; unit: number }>;

type QuotasOf = (tenant: string) => TenantQuotas;

/**
 * `{"default": {"jobs": 100, "tasks": 20000, "retained_gib": 200}, "tenants": {"alice": {"jobs": 500}}}`: what a tenant's own
 * entry does not say, the default says, and what that does not say, Heddle. Errors: `invalid_argument` naming every member
 * that is wrong; a name that is not known is wrong too, because a quota with a slip in its name would be none.
 */
export function parseQuotas(text: string): QuotasOf {
  const problems: string[] = [];
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (cause) {
    throw invalidArgument(`the quotas (HEDDLE_QUOTAS) are no JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  const { default: common, tenants } = objectOf(
    file,
    'the quotas',
    ['default', 'tenants'],
    problems,
  );
  const base = { ...TENANT_QUOTAS, ...entryOf(common, 'default', problems) };
  const own = new Map(
    Object.entries(objectOf(tenants, 'tenants', undefined, problems)).map(
      ([tenant, entry]) =>
        [tenant, { ...base, ...entryOf(entry, `tenants.${tenant}`, problems) }] as const,
    ),
  );
  if (problems.length > 0)
    throw invalidArgument(`the quotas (HEDDLE_QUOTAS) are wrong: ${problems.join('; ')}`);
  return (tenant) => own.get(tenant) ?? base;
}

/** The quotas of a file, read again when it changes; a change that is wrong is logged, and what was before stays. */
export function openQuotas(
  path: string | undefined,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): QuotasOf {
  if (path === undefined) return () => TENANT_QUOTAS;
  let stamp = firstStampOf(path);
  let quotas = parseQuotas(readText(path));
  let checkedMs = clock.monotonic();
  return (tenant) => {
    if (clock.monotonic() - checkedMs < CHECK_EVERY_MS) return quotas(tenant);
    checkedMs = clock.monotonic();
    try {
      const now = stampOf(path);
      if (now !== stamp) {
        stamp = now;
        quotas = parseQuotas(readText(path));
        log.info('the quotas changed', { path });
      }
    } catch (thrown) {
      const { message } = OperationError.from(thrown);
      log.error('the changed quotas cannot be used; those from before stay', { path, message });
    }
    return quotas(tenant);
  };
}

function stampOf(path: string): string {
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs} ${size} ${ino}`;
}

function firstStampOf(path: string): string {
  try {
    return stampOf(path);
  } catch (cause) {
    const why = (cause as Error).message;
    throw failedPrecondition(`the quotas (HEDDLE_QUOTAS) cannot be read: ${why}`, { cause });
  }
}

function readText(path: string): string {
  const { size } = statSync(path);
  if (size > BYTES_MAX) {
    throw invalidArgument(`${path} has ${size} bytes, quotas have at most ${BYTES_MAX}`);
  }
  return readFileSync(path, 'utf8');
}

function entryOf(entry: unknown, where: string, problems: string[]): Partial<TenantQuotas> {
  const members = objectOf(entry, where, Object.keys(MEMBERS), problems);
  const quotas: { -readonly [name in keyof TenantQuotas]?: number } = {};
  for (const [key, { name, unit }] of Object.entries(MEMBERS)) {
    const value = members[key];
    if (value === undefined) continue;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
      quotas[name] = value * unit;
    } else problems.push(`${where}.${key} is ${JSON.stringify(value)}, no whole number from 0`);
  }
  return quotas;
}

function objectOf(
  value: unknown,
  where: string,
  known: readonly string[] | undefined,
  problems: string[],
): Readonly<Record<string, unknown>> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${where} is no object`);
    return {};
  }
  for (const name of Object.keys(value)) {
    if (known === undefined || known.includes(name)) continue;
    problems.push(`${where}.${name} is none of ${known.join(', ')}`);
  }
  return value as Readonly<Record<string, unknown>>;
}
