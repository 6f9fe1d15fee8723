import { readFileSync } from 'node:fs';
import type { RawClient } from '../fuzz/requests/raw-client.ts';
import { answerOf } from './answers.ts';
import { Contract } from './contract.ts';
import { differences } from './same.ts';
import { callRaw, type Recorded, readTranscript } from './transcript.ts';

const FIRST_LANDING = new URL('./first-landing/', import.meta.url);

export const landed = (file: string): URL => new URL(file, FIRST_LANDING);
export const landedContract = (): Contract =>
  new Contract(readFileSync(landed('descriptors.binpb')));
export const landedCalls = (file: string): readonly Recorded[] => readTranscript(landed(file));

/** What is meant to be otherwise today: by the call's name, which fields and why. */
export type Changed = Readonly<Record<string, readonly [fields: RegExp, why: string]>>;

const OK = 0;
const UNIMPLEMENTED = 12;
/** Statuses of a method that has been built since: it answers, or refuses what was asked of it. */
const BUILT_SINCE = [OK, 3, 9];

/** Sends the bytes of then, one call after the other; what today's answers lack or say otherwise, in sentences. */
export async function replay(
  raw: RawClient,
  calls: readonly Recorded[],
  changed: Changed,
): Promise<readonly string[]> {
  const contract = landedContract();
  const found: string[] = [];
  for (const then of calls) {
    const now = await callRaw(raw, then);
    const [fields] = changed[then.name] ?? [];
    const where = `${then.path}, ${then.name}`;
    for (const each of compared(contract, then, now)) {
      if (fields === undefined || !fields.test(each)) found.push(`${where}: ${each}`);
    }
  }
  return found;
}

function compared(contract: Contract, then: Recorded, now: Recorded): readonly string[] {
  if (then.status === UNIMPLEMENTED && BUILT_SINCE.includes(now.status)) return [];
  if (then.status !== now.status) {
    return [`status ${then.status} (${then.message}) is ${now.status} (${now.message})`];
  }
  if (then.details !== undefined) {
    if (now.details === undefined) return ['the typed detail is gone'];
    const details = [then.details, now.details].map((bytes) => contract.decodeDetail(bytes));
    return differences(details[0], details[1], 'detail');
  }
  return differences(answerOf(contract, then), answerOf(contract, now));
}
