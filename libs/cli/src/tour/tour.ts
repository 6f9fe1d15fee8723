import type { Heddle } from '@heddle/client';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import { type AttentionChapter, showAttention } from './chapter-attention.ts';
import { type CircuitChapter, traceCircuit } from './chapter-circuit.ts';
import { type LorsaChapter, trainLorsa } from './chapter-lorsa.ts';
import { importModel } from './chapter-model.ts';
import { findSubspace, type SubspaceChapter } from './chapter-subspace.ts';
import { explainScore, type WhyChapter } from './chapter-why.ts';
import type { Guide } from './guide.ts';
import type { TourOutput } from './tour-output.ts';

/** Everything that the tour found; what `heddle tour --json` prints. */
export interface TourReport {
  readonly model: ModelInfo;
  readonly attention: AttentionChapter;
  readonly lorsa: LorsaChapter;
  readonly subspace: SubspaceChapter;
  readonly circuit: CircuitChapter;
  readonly why: WhyChapter;
  readonly seconds: Readonly<Record<'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'all', number>>;
}

/**
 * The main job, on any model, over gRPC alone: whatever it does a notebook can do. Each chapter's numbers come from the
 * services; nothing is known beforehand.
 */
export async function tour(
  heddle: Heddle,
  options: { readonly model: string; readonly out: TourOutput; readonly signal: AbortSignal },
): Promise<TourReport> {
  const { out, signal } = options;
  const started = performance.now();
  const seconds = { a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, all: 0 };
  const timed = async <T>(chapter: keyof typeof seconds, work: () => Promise<T>): Promise<T> => {
    const from = performance.now();
    const result = await work();
    seconds[chapter] = (performance.now() - from) / 1000;
    return result;
  };

  const first: Guide = { heddle, out, signal, model: options.model };
  const model = await timed('a', () => importModel(first, options.model));
  const guide: Guide = { ...first, model: options.model === '' ? '' : model.name };
  const attention = await timed('b', () => showAttention(guide));
  const { nameReader, tokens } = attention;
  const lorsa = await timed('c', () => trainLorsa(guide, model, nameReader.layer));
  const subspace = await timed('d', () => findSubspace(guide, nameReader));
  const circuit = await timed('e', () => traceCircuit(guide));
  const why = await timed('f', () => explainScore(guide, nameReader, tokens));
  seconds.all = (performance.now() - started) / 1000;
  return { model, attention, lorsa, subspace, circuit, why, seconds };
}
