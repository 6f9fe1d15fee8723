/** What a caller may: look (`read`), start work (`run`), remove and see what is others' (`admin`). Each includes the ones before. */
export type Role = 'read' | 'run' | 'admin';

/** From the least. */
export const ROLES: readonly Role[] = ['read', 'run', 'admin'];

/** Who asks. */
export interface Caller {
  /** Whose jobs and quotas these are: a token's subject. Empty where no tokens are asked for. */
  readonly tenant: string;
  readonly role: Role;
}

/**
 * Who asks, along the whole of a call and of a job's work: a job's owner is whoever started it, and what its tasks call of
 * other services is called in the owner's name. Carried beside the arguments, because none of the methods' own mathematics
 * depends on it.
 */
export interface Callers {
  current(): Caller;
  run<T>(caller: Caller, body: () => T): T;
}
