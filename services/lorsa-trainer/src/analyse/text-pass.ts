import { dataLoss } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import {
  HeadStatistics,
  HeldOutText,
  type OriginalHeads,
  ruleHalf,
} from '@heddle/interp/lorsa/heads';
import type { BlobDigest } from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import type { ReadSequence } from './head-runner.ts';

/** Sizes of what is kept while the text goes by. */
export interface PassSizes {
  readonly heads: number;
  readonly samples: number;
  readonly seed: number;
}

/**
 * What is known of the heads after some of the text: statistics of the half of the documents that rules are learned from
 * and of the half that scores them, and where the heads' outputs come from. Memory follows from the number of heads.
 */
export class TextPass {
  readonly learn: HeadStatistics;
  readonly score: HeadStatistics;
  readonly held: HeldOutText;

  constructor(parts: Pick<TextPass, 'learn' | 'score' | 'held'>) {
    this.learn = parts.learn;
    this.score = parts.score;
    this.held = parts.held;
  }

  static begin(sizes: PassSizes): TextPass {
    return new TextPass({
      learn: new HeadStatistics(sizes),
      score: new HeadStatistics(sizes),
      held: new HeldOutText(sizes.heads),
    });
  }

  /** A sequence goes into the half that its document is in, whole. */
  add(heads: ReadSequence['heads'], document: bigint): void {
    const half = ruleHalf(bytesOf(document));
    this[half].add(heads);
    if (half === 'score') this.held.add(heads);
  }

  encode(): Record<string, Uint8Array> {
    return { learn: this.learn.encode(), score: this.score.encode(), held: this.held.encode() };
  }

  static decode(bytes: (name: string) => Uint8Array): TextPass {
    return new TextPass({
      learn: HeadStatistics.decode(bytes('learn')),
      score: HeadStatistics.decode(bytes('score')),
      held: HeldOutText.decode(bytes('held')),
    });
  }
}

function bytesOf(document: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, document));
  return bytes;
}

/** Where an analysis stands after some shards of the text: all that a resumed one goes on from. */
export interface PassState {
  /** Shards read. */
  readonly shards: number;
  readonly sequences: number;
  /** Of the text that is read. */
  readonly dataDigest: string;
  /** Tokens of the sequences of each shard, as blobs (`encodeTexts`). */
  readonly texts: readonly BlobDigest[];
  readonly lorsa: TextPass;
  /** Absent where mapping to the host's heads would take too long. */
  readonly originals: OriginalHeads | undefined;
  /** Features of the TopK SAE, where it is looked at too. */
  readonly baseline: TextPass | undefined;
}

const FORMAT = 'heddle.analysis 1';

export function encodePass(state: PassState): Uint8Array {
  const { lorsa, originals, baseline, shards, sequences, dataDigest, texts } = state;
  const parts = {
    ...prefixed('lorsa', lorsa.encode()),
    ...prefixed('baseline', baseline?.encode() ?? {}),
    ...(originals && { originals: originals.encode() }),
  };
  const tensors = Object.entries(parts).map(
    ([name, bytes]) => [name, tensor('u8', [bytes.length], bytes)] as const,
  );
  const place = JSON.stringify({ shards, sequences, dataDigest, texts });
  return writeSafetensors(Object.fromEntries(tensors), { format: FORMAT, place });
}

/** `originals`: fresh ones of the same weights. Errors: `data_loss`. */
export function decodePass(bytes: Uint8Array, originals: OriginalHeads | undefined): PassState {
  const file = readSafetensors('analysis checkpoint', bytes);
  const { metadata } = file.header;
  if (metadata.get('format') !== FORMAT) throw dataLoss('the checkpoint is of another format');
  const part = (name: string) => file.tensor(name).data as Uint8Array;
  originals?.restore(part('originals'));
  const place = JSON.parse(metadata.get('place') ?? '{}') as Pick<
    PassState,
    'shards' | 'sequences' | 'dataDigest' | 'texts'
  >;
  return {
    ...place,
    originals,
    lorsa: TextPass.decode((name) => part(`lorsa.${name}`)),
    baseline: file.names().includes('baseline.learn')
      ? TextPass.decode((name) => part(`baseline.${name}`))
      : undefined,
  };
}

const prefixed = (prefix: string, parts: Readonly<Record<string, Uint8Array>>) =>
  Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [`${prefix}.${name}`, bytes]));

/** Tokens of a shard's sequences `[batch, pos]`, without padding, as one blob. */
export function encodeTexts(shard: {
  readonly tokens: Int32Array;
  readonly lengths: ArrayLike<number>;
}): Uint8Array {
  const { tokens, lengths } = shard;
  const batch = lengths.length;
  return writeSafetensors({
    tokens: tensor('i32', [batch, tokens.length / Math.max(1, batch)], tokens),
    lengths: tensor('i32', [batch], Int32Array.from(lengths)),
  });
}

export function decodeTexts(bytes: Uint8Array): Int32Array[] {
  const file = readSafetensors('texts', bytes);
  const tokens = file.tensor('tokens');
  const pos = tokens.shape[1] ?? 0;
  return Array.from(file.tensor('lengths').data as Int32Array, (length, b) =>
    (tokens.data as Int32Array).slice(b * pos, b * pos + length),
  );
}
