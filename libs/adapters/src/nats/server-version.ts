import { failedPrecondition } from '@heddle/core';

/**
 * The oldest server we start on. Older ones drop what they do not know without a word, so support is read from the
 * version and never inferred from the absence of an error.
 */
export const NATS_VERSION_MIN = '2.11.0';

/** What we rely on beyond the first JetStream, and since when it is there. */
const RELIED_ON: readonly (readonly [feature: string, since: string])[] = [
  ['queues that refuse a key twice (discard_new_per_subject)', '2.9.0'],
  ['disk sync at every write (sync_interval: always)', '2.10.0'],
  ['a whole subject in one answer (batch direct get)', '2.11.0'],
];

/** Errors: `failed_precondition` with what the server lacks. */
export function checkServerVersion(version: string): void {
  if (atLeast(version, NATS_VERSION_MIN)) return;
  const lacks = RELIED_ON.filter(([, since]) => !atLeast(version, since))
    .map(([feature, since]) => `${feature}, since ${since}`)
    .join('; ');
  throw failedPrecondition(
    `nats-server ${version} is too old, ${NATS_VERSION_MIN} or newer is needed. It lacks ${lacks}, and older servers ignore newer options silently`,
    { details: { version, versionMin: NATS_VERSION_MIN } },
  );
}

/** A pre-release counts as its release. */
export function atLeast(version: string, min: string): boolean {
  const parts = (text: string): readonly number[] =>
    /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number) ?? [];
  const have = parts(version);
  const want = parts(min);
  for (const [i, part] of want.entries()) {
    const here = have[i] ?? -1;
    if (here !== part) return here > part;
  }
  return true;
}
