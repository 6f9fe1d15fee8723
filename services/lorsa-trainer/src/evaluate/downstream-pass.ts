import { addCrossEntropies, type CrossEntropySums } from '@heddle/interp/evaluation';
import type { Clients, Engine } from '@heddle/ports';
import type { UnseenShard } from '../unseen.ts';
import { type HostQuestion, type HostSequence, hostLosses } from './host-losses.ts';
import { DOWNSTREAM_TOKENS, REPLACED_BYTES, REPLACED_SEQUENCES } from './limits.ts';
import { chosen, type MeasuredBatch, reconstruct, type Subject } from './subject.ts';

export interface DownstreamDeps {
  readonly engine: Engine;
  readonly peers: Pick<Clients, 'activation'>;
}

export interface DownstreamOptions {
  readonly model: string;
  readonly hook: string;
  readonly d_model: number;
  readonly subjects: readonly Subject[];
  /** ȳ, `[d_model]`. */
  readonly mean: ArrayLike<number>;
  readonly signal: AbortSignal;
  readonly between: () => Promise<void>;
}

/** Every how many sequences one runs through the host, so that about `DOWNSTREAM_TOKENS` do. */
export const strideOver = (tokens: number): number =>
  Math.max(1, Math.ceil(tokens / DOWNSTREAM_TOKENS));

/**
 * Tokens of a sequence that one request can replace. What comes after them is left out: with causal attention the values
 * before stay what they are.
 */
export const tokensReplaced = (d_model: number): number =>
  Math.max(2, Math.floor(REPLACED_BYTES / (4 * d_model)));

/** A row of a shard, cut to what is replaced. */
interface Chosen extends HostSequence {
  readonly row: number;
  readonly valid: Uint8Array;
}

/**
 * Runs some sequences of a shard through the host, with its layer as it is and with each replacement in its place, and
 * adds the losses, in place. The same groups for every replacement, so that only it differs. Errors: the server's, the engine's.
 */
export async function addDownstream(
  deps: DownstreamDeps,
  shard: UnseenShard,
  rows: readonly number[],
  into: CrossEntropySums,
  options: DownstreamOptions,
): Promise<void> {
  const { d_model } = options;
  const sequences = rows
    .map((row) => cut(shard, row, tokensReplaced(d_model)))
    .filter(({ positions }) => positions.length > 0);
  for (const group of grouped(sequences, d_model)) {
    const losses = await groupLosses(deps, shard, group, options);
    group.forEach(({ row, valid }, index) => {
      const own = Object.entries(losses).map(([name, all]) => [name, all[index] ?? []] as const);
      addCrossEntropies(into, shard.documents[row] ?? 0n, valid, Object.fromEntries(own));
    });
    await options.between();
  }
}

function cut(shard: UnseenShard, row: number, longest: number): Chosen {
  const [, pos = 0] = shard.x.shape;
  const length = Math.min(shard.lengths[row] ?? 0, longest);
  const ids = Array.from(shard.tokens.subarray(row * pos, row * pos + length));
  const valid = shard.valid.data.subarray(row * pos, row * pos + length);
  const positions = Array.from(valid.keys()).filter((t) => valid[t] === 1);
  return { row, ids, valid, positions };
}

/** Consecutive sequences whose replacements fit into one request. */
function grouped(sequences: readonly Chosen[], d_model: number): readonly (readonly Chosen[])[] {
  const groups: Chosen[][] = [];
  let bytes = 0;
  for (const sequence of sequences) {
    const own = 4 * d_model * sequence.positions.length;
    const last = groups.at(-1);
    if (last && last.length < REPLACED_SEQUENCES && bytes + own <= REPLACED_BYTES) {
      last.push(sequence);
      bytes += own;
    } else {
      groups.push([sequence]);
      bytes = own;
    }
  }
  return groups;
}

type Losses = Readonly<Record<string, readonly Float32Array[]>>;

async function groupLosses(
  { engine, peers }: DownstreamDeps,
  shard: UnseenShard,
  group: readonly Chosen[],
  { model, hook, d_model, subjects, mean, signal }: DownstreamOptions,
): Promise<Losses> {
  const question: HostQuestion = { model, hook, d_model, sequences: group };
  const [, pos = 0] = shard.x.shape;
  const losses: Record<string, readonly Float32Array[]> = {
    original: await hostLosses(peers, question, 'none', signal),
    zero: await hostLosses(peers, question, 'zero', signal),
  };
  const means = group.map(({ positions }) => repeated(mean, positions.length));
  losses['mean'] = await hostLosses(peers, question, means, signal);
  const batch = batchOf(shard, group);
  for (const subject of subjects) {
    const made = await reconstruct(engine, subject, batch, signal);
    const rows = group.map(({ positions }, index) =>
      gathered(
        made.subarray(index * pos * d_model, (index + 1) * pos * d_model),
        positions,
        d_model,
      ),
    );
    losses[subject.name] = await hostLosses(peers, question, rows, signal);
  }
  return losses;
}

const batchOf = (shard: UnseenShard, group: readonly Chosen[]): MeasuredBatch =>
  chosen(
    shard,
    group.map(({ row }) => row),
  );

function repeated(row: ArrayLike<number>, times: number): Float32Array {
  const rows = new Float32Array(times * row.length);
  for (let t = 0; t < times; t++) rows.set(row, t * row.length);
  return rows;
}

function gathered(from: Float32Array, positions: readonly number[], width: number): Float32Array {
  const rows = new Float32Array(positions.length * width);
  positions.forEach((t, index) => {
    rows.set(from.subarray(t * width, (t + 1) * width), index * width);
  });
  return rows;
}
