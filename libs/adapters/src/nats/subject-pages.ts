import { assert } from '@heddle/core';
import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { unavailable } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';

/** A message as a stream has it. */
export interface Stored {
  /** Its place in the whole stream. */
  readonly seq: number;
  readonly timeMs: number;
  readonly headers: MsgHdrs | undefined;
  readonly data: Uint8Array;
}

export interface SubjectOf {
  readonly stream: string;
  readonly subject: string;
}

/** The newest message of a subject, asked of the stream's leader: what was acknowledged before is in the answer. */
export async function lastOf(
  link: NatsLink,
  { stream, subject }: SubjectOf,
): Promise<Stored | undefined> {
  return fromLeader(link, stream, { last_by_subj: subject });
}

/** The first message of a subject at or after `seq`, asked of the stream's leader. */
export async function nextOf(
  link: NatsLink,
  { stream, subject }: SubjectOf,
  seq: number,
): Promise<Stored | undefined> {
  return fromLeader(link, stream, { seq, next_by_subj: subject });
}

/**
 * Some messages of a subject in order, from the first at or after `seq`; empty when there are none. A page comes from any
 * replica, which may lag behind what was acknowledged; so an empty one is checked with the leader.
 */
export async function pageOf(
  link: NatsLink,
  of: SubjectOf,
  seq: number,
): Promise<readonly Stored[]> {
  const { pageMessages, pageBytes } = NATS_LIMITS;
  const request = { seq, next_by_subj: of.subject, batch: pageMessages, max_bytes: pageBytes };
  let page: Stored[] = [];
  await link.patiently(`reading ${of.subject}`, () => {
    page = [];
    return link.gather(`$JS.API.DIRECT.GET.${of.stream}`, JSON.stringify(request), (message) => {
      const status = message.headers?.code ?? 0;
      if (status === 204 || status === 404) return true; // end of the batch, nothing there
      if (status !== 0) throw unavailable(`a page was refused: ${message.headers?.description}`);
      page.push(direct(message));
      return false;
    });
  });
  if (page.length > 0) return page;
  const next = await nextOf(link, of, seq);
  return next === undefined ? [] : [next];
}

/** A subject from `seq` to what is its last message now, at most `limit` messages. */
export async function readSubject(
  link: NatsLink,
  of: SubjectOf,
  seq: number,
  limit = Number.POSITIVE_INFINITY,
): Promise<readonly Stored[]> {
  const last = await lastOf(link, of);
  return last === undefined ? [] : readUpTo(link, of, seq, last, limit);
}

/** The same where the last message is known. */
export async function readUpTo(
  link: NatsLink,
  of: SubjectOf,
  seq: number,
  last: Stored,
  limit = Number.POSITIVE_INFINITY,
): Promise<readonly Stored[]> {
  if (last.seq < seq) return [];
  const found: Stored[] = [];
  let next = seq;
  while (next < last.seq && found.length < limit) {
    const page = (await pageOf(link, of, next)).filter((message) => message.seq < last.seq);
    const end = page.at(-1);
    if (end === undefined) break;
    assert(end.seq >= next, 'a page goes forward');
    found.push(...page);
    next = end.seq + 1;
  }
  found.push(last);
  return found.slice(0, limit);
}

async function fromLeader(
  link: NatsLink,
  stream: string,
  query:
    | { readonly last_by_subj: string }
    | { readonly seq: number; readonly next_by_subj: string },
): Promise<Stored | undefined> {
  const message = await link.patiently(`reading ${stream}`, () =>
    link.jsm.streams.getMessage(stream, query),
  );
  if (message === null) return undefined;
  const { seq, header, data, timestamp } = message;
  return { seq, timeMs: Date.parse(timestamp), headers: header, data };
}

function direct(message: Msg): Stored {
  const { headers, data } = message;
  return {
    seq: Number(headers?.get('Nats-Sequence')),
    timeMs: Date.parse(headers?.get('Nats-Time-Stamp') ?? ''),
    headers,
    data,
  };
}
