import type { Metadata } from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import { type Caller, ROLES, type Role } from '@heddle/ports';
import { CLUSTER } from './callers.ts';
import { TENANT_CHARACTERS_MAX } from './limits.ts';

export const TENANT = 'heddle-tenant';
export const ROLE = 'heddle-role';
/** The secret of a process, which only calls to itself carry. */
export const KEY = 'heddle-key';
export const AUTHORIZATION = 'authorization';

/** Whether a role includes what another may. */
export function includes(has: Role, needs: Role): boolean {
  return ROLES.indexOf(has) >= ROLES.indexOf(needs);
}

/** Writes in whose name a call is made. Metadata is ASCII, a tenant any text. */
export function setCaller(metadata: Metadata, { tenant, role }: Caller): void {
  metadata.set(TENANT, encodeURIComponent(tenant));
  metadata.set(ROLE, role);
}

/**
 * In whose name a call is made, by its metadata: behind a guarded server's interceptor that is verified, in front of it
 * anybody's word. Errors: `unauthenticated` when it cannot be read.
 */
export function callerOf(metadata: Metadata): Caller {
  const [tenant] = metadata.get(TENANT);
  const [named] = metadata.get(ROLE);
  if (tenant === undefined && named === undefined) return CLUSTER;
  const role = ROLES.find((each) => each === named);
  const name = decoded(String(tenant ?? ''));
  if (role !== undefined && name !== undefined && name.length <= TENANT_CHARACTERS_MAX) {
    return { tenant: name, role };
  }
  throw new OperationError({
    code: 'unauthenticated',
    message: `a service called in a name that cannot be read: ${TENANT} and ${ROLE} belong together`,
  });
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
