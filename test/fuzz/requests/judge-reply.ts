import { CODES } from '@heddle/core';
import type { RunRequest, RunResponse } from '@heddle/ports/proto/activation';
import type { ErrorDetail } from '@heddle/ports/proto/common';
import type { RunOracle } from './judge-run.ts';
import type { RawReply } from './raw-client.ts';
import { METHODS, type RequestMutant } from './request-mutants.ts';

export interface ReplyJudgement {
  readonly outcome: string;
  readonly wrong: boolean;
  readonly text: string;
}

/** Statuses that say that it was the server's mistake, not the caller's. */
const OUR_FAULT = new Set([
  'internal',
  'unknown',
  'data_loss',
  'deadline_exceeded',
  'cancelled',
  'unavailable',
]);

/** Whether a reply keeps the promise; an answered run is held against the interpreter. */
export function judgeReply(
  oracle: RunOracle,
  mutant: RequestMutant,
  reply: RawReply,
): ReplyJudgement {
  const { status, message, typed, broken } = reply;
  if (status === undefined) {
    // A frame that never ends has no message to answer; HTTP/2 may end it with a reset.
    return { outcome: `no status: ${broken}`, wrong: true, text: '' };
  }
  if (status === 0) return judgeAnswered(oracle, mutant, reply);
  const code = CODES[status - 1] ?? `status ${status}`;
  // gRPC prescribes INTERNAL for a compressed message without an encoding, and its library answers for the frame.
  const wrong = mutant.misframed
    ? code === 'unknown'
    : OUR_FAULT.has(code) || !(typed || fromLibrary(code, message));
  return { outcome: `refused: ${code}`, wrong, text: `${message}${typed ? '' : ' (no detail)'}` };
}

/** grpc-js itself refuses a message past its size, or a call without one. */
const fromLibrary = (code: string, message: string): boolean =>
  code === 'resource_exhausted' ||
  (code === 'unimplemented' && message.startsWith('Received no request'));

function judgeAnswered(
  oracle: RunOracle,
  { method, request }: RequestMutant,
  { messages }: RawReply,
): ReplyJudgement {
  const codec = METHODS.get(method)?.method;
  if (!codec) return { outcome: 'no such method', wrong: true, text: method };
  const parts = messages.map((bytes) => codec.responseDeserialize(Buffer.from(bytes)));
  if (method !== 'activation/Run' || request === undefined) {
    return { outcome: 'answered', wrong: false, text: '' };
  }
  try {
    const verdict = oracle.judge(request as RunRequest, parts as unknown as RunResponse[]);
    if (!verdict) return { outcome: 'answered, another model', wrong: false, text: '' };
    const wrong = verdict.kind === 'wrong';
    return { outcome: verdict.kind, wrong, text: wrong ? verdict.text : `error ${verdict.error}` };
  } catch (thrown) {
    const text = thrown instanceof Error ? `${thrown.stack}` : String(thrown);
    return { outcome: 'answered what the oracle refuses', wrong: true, text };
  }
}

/** A job that was taken and then failed must say whose fault it was, as a refused call does. */
export function judgeJob(judged: ReplyJudgement, error: ErrorDetail | undefined): ReplyJudgement {
  if (!error) return judged;
  const { code, message } = error;
  return {
    outcome: `job failed: ${code}`,
    wrong: OUR_FAULT.has(code) && code !== 'cancelled',
    text: message,
  };
}
