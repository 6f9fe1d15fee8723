import { createHash } from 'node:crypto';
import { canonicalJson } from '@heddle/core';

/** Digits of a hash: more where tenants may not be able to guess, or take, each other's ids. */
const DIGITS = 12;
const DIGITS_OF_TENANTS = 20;

/**
 * Follows from the tenant, the kind and the key alone, so that any replica gives the same request the same id: its domain
 * and verb, then digits of a hash. Without a tenant it is what it was before there were tenants.
 */
export function jobId(of: {
  readonly tenant: string;
  readonly kind: string;
  readonly key: string;
}): string {
  const { tenant, kind, key } = of;
  const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
  const digits =
    tenant === ''
      ? digest(`${kind}\n${key}`).slice(0, DIGITS)
      : digest(canonicalJson([tenant, kind, key])).slice(0, DIGITS_OF_TENANTS);
  return `${kind.replace('.', '-')}-${digits}`;
}
