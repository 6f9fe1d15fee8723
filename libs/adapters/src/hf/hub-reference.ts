import { invalidArgument } from '@heddle/core';
import { PART_CHARS_MAX } from './limits.ts';

export interface HubReference {
  /** `OWNER/NAME`. */
  readonly name: string;
  /** Branch, tag or commit; undefined: the default branch. */
  readonly revision: string | undefined;
}

const PART = `[A-Za-z0-9_][A-Za-z0-9._-]{0,${PART_CHARS_MAX - 1}}`;
const REFERENCE = new RegExp(`^hf:(${PART}/${PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,199}))?$`);
const COMMIT = /^[0-9a-f]{40}$/;

/** Errors: `invalid_argument`. */
export function parseHubReference(reference: string): HubReference {
  const match = REFERENCE.exec(reference);
  const [, name = '', revision] = match ?? [];
  if (match && !name.includes('..') && !revision?.includes('..')) return { name, revision };
  throw invalidArgument(
    `${JSON.stringify(reference.slice(0, 200))} is no hf:OWNER/NAME or hf:OWNER/NAME@REVISION`,
    { field: 'source' },
  );
}

export const isCommit = (revision: string | undefined): revision is string =>
  revision !== undefined && COMMIT.test(revision);
