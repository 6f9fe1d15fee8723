import { createHash } from 'node:crypto';
import { canonicalJson, invalidArgument, type Json } from '@heddle/core';
import { DETECTORS, TOKEN_ROLES, type TokenRole } from '@heddle/interp/lorsa/heads';
import type { Init } from '@heddle/ports';
import type { ListHeadsRequest, ListHeadsResponse } from '@heddle/ports/proto/lorsa';
import type { AnalysisFile } from './analysis-file.ts';
import type { FinishedAnalyses, FinishedAnalysis } from './finished-analyses.ts';
import { headSummary } from './head-messages.ts';
import { PAGE, PAGE_MAX } from './limits.ts';

export interface ListDeps {
  readonly analyses: FinishedAnalyses;
  /** The id of a token of a model. Errors: `invalid_argument` for a text that is not one token. */
  readonly token: (model: string, token: { text: string } | { id: number }) => Promise<number>;
}

/** A head that fits, before it is looked at closely. */
interface Candidate {
  readonly analysis: FinishedAnalysis;
  readonly file: AnalysisFile;
  readonly head: number;
  readonly order: number;
}

/**
 * The heads that fit a question, best first; equal ones in the order of analyses and heads, so that pages never overlap.
 * Errors: `invalid_argument` naming the field; `not_found` for a checkpoint that nobody looked at.
 */
export async function listHeads(
  deps: ListDeps,
  request: ListHeadsRequest,
): Promise<Init<ListHeadsResponse>> {
  checkRequest(request);
  const size = request.page_size === 0 ? PAGE : request.page_size;
  const analyses = await asked(deps.analyses, request.checkpoints);
  const mark = fingerprint(request, analyses);
  const from = placeOf(request.page_token, mark);
  const found = await candidates(deps, request, analyses);
  const page = found.slice(from, from + size);
  const next = from + size < found.length ? tokenOf(from + size, mark) : '';
  return {
    heads: page.map(({ file, analysis, head }) => headSummary(file, analysis.job.id, head)),
    next_page_token: next,
  };
}

const NAMES: readonly string[] = Object.keys(DETECTORS);

function checkRequest(request: ListHeadsRequest): void {
  const { detector, role, token, score_min, page_size } = request;
  const refuse = (field: string, message: string) => invalidArgument(message, { field });
  if (detector !== '' && !NAMES.includes(detector)) {
    throw refuse('detector', `detector ${detector}; known are ${NAMES.join(', ')}`);
  }
  if (role !== '' && !TOKEN_ROLES.includes(role as TokenRole)) {
    throw refuse('role', `role ${role}; known are ${TOKEN_ROLES.join(', ')}`);
  }
  if (role !== '' && token === null) {
    throw refuse('role', 'role says how a token matters, and no token is named');
  }
  if (score_min !== 0 && detector === '') {
    throw refuse('score_min', 'score_min is the score of a detector, and none is named');
  }
  if (!Number.isFinite(score_min)) throw refuse('score_min', `score_min is ${score_min}`);
  if (page_size > PAGE_MAX) {
    throw refuse('page_size', `page_size is ${page_size}; at most ${PAGE_MAX}`);
  }
}

async function asked(
  analyses: FinishedAnalyses,
  checkpoints: readonly string[],
): Promise<readonly FinishedAnalysis[]> {
  if (checkpoints.length === 0) return analyses.latest();
  const found: FinishedAnalysis[] = [];
  for (const checkpoint of checkpoints) found.push(await analyses.of(checkpoint));
  return found.filter(({ job }, at) => found.findIndex((each) => each.job.id === job.id) === at);
}

async function candidates(
  deps: ListDeps,
  request: ListHeadsRequest,
  analyses: readonly FinishedAnalysis[],
): Promise<readonly Candidate[]> {
  const found: Candidate[] = [];
  for (const analysis of analyses) {
    const file = await deps.analyses.open(analysis);
    if (request.layer !== undefined && file.facts.layer !== request.layer) continue;
    const rankOf = await rankingOf(deps, request, file);
    const orderOf = orderingOf(request, file, rankOf);
    for (let head = 0; head < file.facts.heads; head++) {
      const order = orderOf(head);
      if (Number.isFinite(order)) found.push({ analysis, file, head, order });
    }
  }
  return found.sort((a, b) => b.order - a.order); // stable: ties stay in the order of analyses and heads
}

/** What heads are ordered by; not finite: the head does not belong into the answer. */
function orderingOf(
  { detector, score_min }: ListHeadsRequest,
  file: AnalysisFile,
  rankOf: ((head: number) => number) | undefined,
): (head: number) => number {
  if (detector === '') {
    // A token's place among those of the head, then frequency, which is at most 1.
    return (head) => file.frequency(head) - 2 * (rankOf?.(head) ?? 0);
  }
  const at = file.facts.detectors.findIndex((each) => each.detector === detector);
  return (head) => {
    const score =
      at < 0 || rankOf?.(head) === Number.POSITIVE_INFINITY ? Number.NaN : file.score(head, at);
    return score >= score_min ? score : Number.NaN;
  };
}

/** The best place of the token in the roles that are asked about, infinite where it has none; undefined without a token. */
async function rankingOf(
  deps: ListDeps,
  { token, role }: ListHeadsRequest,
  file: AnalysisFile,
): Promise<((head: number) => number) | undefined> {
  if (token === null) return undefined;
  const named = token.id === undefined ? { text: token.text ?? '' } : { id: token.id };
  const id = await deps.token(file.facts.model, named);
  const roles = role === '' ? TOKEN_ROLES : [role as TokenRole];
  return (head) =>
    Math.min(...roles.map((each) => file.rank(head, each, id) ?? Number.POSITIVE_INFINITY));
}

/** A page belongs to one question and one set of analyses: what changed in between is said, never skipped over. */
function fingerprint(request: ListHeadsRequest, analyses: readonly FinishedAnalysis[]): string {
  const { checkpoints, layer = null, detector, score_min, token, role } = request;
  const jobs = analyses.map(({ job }) => job.id);
  const named = token && { id: token.id ?? null, text: token.text ?? null };
  const question = { checkpoints, layer, detector, score_min, role, jobs, token: named };
  const text = canonicalJson(question as unknown as Json);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

const tokenOf = (place: number, mark: string): string => `${mark}.${place}`;

function placeOf(token: string, mark: string): number {
  if (token === '') return 0;
  const [theirs, place] = token.split('.');
  if (theirs === mark && /^\d{1,9}$/.test(place ?? '')) return Number(place);
  throw invalidArgument(
    'page_token belongs to another question, or another analysis has finished since: ask for the first page again',
    { field: 'page_token' },
  );
}
