import { assert, canonicalJson, dataLoss, type Json } from '@heddle/core';
import { readSafetensors, type Safetensors, writeSafetensors } from '@heddle/formats';
import {
  type HeadRoles,
  type RoleToken,
  TOKEN_ROLES,
  type TokenRole,
} from '@heddle/interp/lorsa/heads';
import { type DType, type Tensor, tensor } from '@heddle/tensor';
import { stringColumn, stringsOf } from './string-column.ts';

/** What an analysis was of, and what holds for all its heads. */
export type AnalysisFacts = {
  readonly checkpoint: string;
  readonly checkpoint_digest: string;
  readonly model: string;
  readonly layer: number;
  readonly hook_in: string;
  readonly heads: number;
  readonly qk_heads: number;
  readonly host_heads: number;
  readonly detectors: readonly { readonly detector: string; readonly threshold: number }[];
  /** Means of the rules' areas; null where nothing could be scored. */
  readonly auroc: {
    readonly lorsa: number | null;
    readonly baseline: number | null;
    readonly shuffled: number | null;
  };
};

/** A place in the text where a head is active. */
export interface SamplePlace {
  readonly activation: number;
  /** Index of the sequence in the text. */
  readonly sequence: number;
  readonly position: number;
  readonly quantile: number;
}

/** What was found about one head. NaN: not applicable, or nothing to measure. */
export interface HeadFindings {
  readonly frequency: number;
  readonly activationMax: number;
  /** In the order of `AnalysisFacts.detectors`. */
  readonly scores: readonly { readonly score: number; readonly evidence: string }[];
  readonly roles: HeadRoles;
  /** Of the host's heads, in order. */
  readonly hostShares: ArrayLike<number>;
  readonly participationRatio: number;
  readonly rule: {
    readonly text: string;
    readonly auroc: number;
    readonly shuffled: number;
    /** Of the SAE's feature that writes most like the head; NaN without one. */
    readonly baseline: number;
    readonly firesOn: readonly RoleToken[];
    readonly readsFrom: readonly RoleToken[];
  };
  readonly samples: readonly SamplePlace[];
}

/** Sizes of the columns: shorter lists are padded. */
export interface FindingsSizes {
  readonly roleTokens: number;
  readonly samples: number;
}

const FORMAT = 'heddle.heads 1';
const RULE_ROLES = ['rule_fires_on', 'rule_reads_from'] as const;

/**
 * The findings of an analysis as one safetensors file: a column per figure, `[ov_head, …]`, the sequences that samples
 * name once, and every token's text once. 32 thousand heads with 16 samples are some 60 MB, most of it evidence.
 */
export function writeAnalysis(
  facts: AnalysisFacts,
  sizes: FindingsSizes,
  findings: readonly HeadFindings[],
  text: {
    readonly sequences: ReadonlyMap<number, ArrayLike<number>>;
    readonly tokens: ReadonlyMap<number, string>;
  },
): Uint8Array {
  assert(findings.length === facts.heads, 'one finding per head');
  const wanted = new Set(findings.flatMap(({ samples }) => samples.map((s) => s.sequence)));
  const order = [...wanted].sort((a, b) => a - b);
  const placeOf = new Map(order.map((sequence, at) => [sequence, at]));
  const sequences = order.map((index) => {
    const tokens = text.sequences.get(index);
    assert(tokens, () => `sequence ${index} is not at hand`);
    return tokens;
  });
  const tensors: Record<string, Tensor> = {
    ...figureColumns(facts, findings),
    ...tokenColumns(sizes, findings),
    ...sampleColumns(sizes, findings, placeOf),
    ...sequenceColumns(sequences),
    ...stringColumn(
      'evidence',
      findings.flatMap(({ scores }) => scores.map(({ evidence }) => evidence)),
    ),
    ...stringColumn(
      'rule',
      findings.map(({ rule }) => rule.text),
    ),
  };
  const ids = [...idsOf(tensors)].sort((a, b) => a - b);
  tensors['token_id'] = column('i32', [ids.length], ids);
  const texts = ids.map((id) => text.tokens.get(id) ?? '');
  Object.assign(tensors, stringColumn('token_text', texts));
  return writeSafetensors(tensors, { format: FORMAT, facts: canonicalJson(facts as Json) });
}

/** Every token that some findings and the sequences of their samples name: whose text is needed. */
export function tokensNamed(
  findings: readonly HeadFindings[],
  sequences: ReadonlyMap<number, ArrayLike<number>>,
): ReadonlySet<number> {
  const ids = new Set<number>();
  for (const { roles, rule, samples } of findings) {
    for (const { token } of [...Object.values(roles).flat(), ...rule.firesOn, ...rule.readsFrom]) {
      ids.add(token);
    }
    for (const { sequence } of samples) {
      for (const token of Array.from(sequences.get(sequence) ?? [])) ids.add(token);
    }
  }
  return ids;
}

function figureColumns(
  facts: AnalysisFacts,
  findings: readonly HeadFindings[],
): Record<string, Tensor> {
  const { heads, host_heads } = facts;
  const one = (of: (head: HeadFindings) => number) => column('f32', [heads], findings.map(of));
  const detectors = facts.detectors.length;
  return {
    frequency: one(({ frequency }) => frequency),
    activation_max: one(({ activationMax }) => activationMax),
    participation_ratio: one(({ participationRatio }) => participationRatio),
    rule_auroc: one(({ rule }) => rule.auroc),
    rule_auroc_shuffled: one(({ rule }) => rule.shuffled),
    rule_auroc_baseline: one(({ rule }) => rule.baseline),
    scores: column(
      'f32',
      [heads, detectors],
      findings.flatMap(({ scores }) => scores.map(({ score }) => score)),
    ),
    host_share: column(
      'f32',
      [heads, host_heads],
      findings.flatMap(({ hostShares }) => Array.from(hostShares)),
    ),
  };
}

/** Lists of tokens with weights, `[ov_head, n]`; −1 pads. */
function tokenColumns(
  { roleTokens }: FindingsSizes,
  findings: readonly HeadFindings[],
): Record<string, Tensor> {
  const lists: [string, (head: HeadFindings) => readonly RoleToken[]][] = [
    ...TOKEN_ROLES.map((role): (typeof lists)[number] => [role, ({ roles }) => roles[role]]),
    ['rule_fires_on', ({ rule }) => rule.firesOn],
    ['rule_reads_from', ({ rule }) => rule.readsFrom],
  ];
  return Object.fromEntries(
    lists.flatMap(([name, of]) => {
      const shape = [findings.length, roleTokens];
      const flat = <T>(pick: (entry: RoleToken | undefined) => T) =>
        findings.flatMap((head) => {
          const entries = of(head);
          return Array.from({ length: roleTokens }, (_, at) => pick(entries[at]));
        });
      return [
        [
          `${name}.token`,
          column(
            'i32',
            shape,
            flat((entry) => entry?.token ?? -1),
          ),
        ],
        [
          `${name}.weight`,
          column(
            'f32',
            shape,
            flat((entry) => entry?.weight ?? 0),
          ),
        ],
      ];
    }),
  );
}

function sampleColumns(
  sizes: FindingsSizes,
  findings: readonly HeadFindings[],
  placeOf: ReadonlyMap<number, number>,
): Record<string, Tensor> {
  const shape = [findings.length, sizes.samples];
  const flat = (pick: (sample: SamplePlace | undefined) => number) =>
    findings.flatMap(({ samples }) =>
      Array.from({ length: sizes.samples }, (_, at) => pick(samples[at])),
    );
  const place = (sample: SamplePlace | undefined) =>
    sample === undefined ? -1 : (placeOf.get(sample.sequence) ?? -1);
  return {
    'sample.sequence': column('i32', shape, flat(place)),
    'sample.position': column(
      'i32',
      shape,
      flat((sample) => sample?.position ?? -1),
    ),
    'sample.activation': column(
      'f32',
      shape,
      flat((sample) => sample?.activation ?? 0),
    ),
    'sample.quantile': column(
      'f32',
      shape,
      flat((sample) => sample?.quantile ?? 0),
    ),
  };
}

function sequenceColumns(sequences: readonly ArrayLike<number>[]): Record<string, Tensor> {
  const ends: number[] = [];
  let total = 0;
  for (const tokens of sequences) {
    total += tokens.length;
    ends.push(total);
  }
  const tokens = new Int32Array(total);
  sequences.forEach((sequence, at) => {
    tokens.set(Array.from(sequence), ends[at - 1] ?? 0);
  });
  return {
    'sequence.end': column('i32', [ends.length], ends),
    'sequence.tokens': tensor('i32', [total], tokens),
  };
}

function idsOf(tensors: Readonly<Record<string, Tensor>>): Set<number> {
  const ids = new Set<number>();
  for (const [name, { data }] of Object.entries(tensors)) {
    if (!name.endsWith('.token') && name !== 'sequence.tokens') continue;
    for (const id of data as Int32Array) if (id >= 0) ids.add(id);
  }
  return ids;
}

function column<D extends 'f32' | 'i32'>(
  dtype: D,
  shape: readonly number[],
  values: readonly number[],
): Tensor<D> {
  const data = dtype === 'f32' ? Float32Array.from(values) : Int32Array.from(values);
  return tensor(dtype as DType, shape, data) as Tensor<D>;
}

/** An analysis as it is looked at: columns in memory, heads made from them when asked for. */
export class AnalysisFile {
  readonly facts: AnalysisFacts;
  readonly bytes: number;
  private readonly file: Safetensors;
  private readonly columns = new Map<string, Tensor>();
  private readonly texts: ReadonlyMap<number, string>;

  /** Errors: `data_loss` when the bytes are no analysis. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes.length;
    try {
      this.file = readSafetensors('heads.safetensors', bytes);
      const { metadata } = this.file.header;
      if (metadata.get('format') !== FORMAT) throw new TypeError('another format');
      this.facts = JSON.parse(metadata.get('facts') ?? '') as AnalysisFacts;
      const texts = stringsOf(this.file, 'token_text');
      this.texts = new Map(Array.from(this.data('token_id'), (id, at) => [id, texts.at(at)]));
    } catch (cause) {
      throw dataLoss('the findings of an analysis are damaged', { cause });
    }
  }

  /** The text of a token that the findings name; empty for any other. */
  textOf(token: number): string {
    return this.texts.get(token) ?? '';
  }

  frequency(head: number): number {
    return this.data('frequency')[head] ?? 0;
  }

  /** NaN where the detector does not apply. */
  score(head: number, detector: number): number {
    return this.data('scores')[head * this.facts.detectors.length + detector] ?? Number.NaN;
  }

  /** The place of a token among those that matter so to the head, 0 for the first; undefined where it is none of them. */
  rank(head: number, role: TokenRole, token: number): number | undefined {
    const { shape, data } = this.column(`${role}.token`);
    const width = shape[1] ?? 0;
    const at = (data as Int32Array).subarray(head * width, (head + 1) * width).indexOf(token);
    return at < 0 ? undefined : at;
  }

  head(head: number): HeadFindings {
    const at = (name: string) => this.data(name)[head] ?? Number.NaN;
    const { detectors, host_heads } = this.facts;
    const evidence = stringsOf(this.file, 'evidence');
    const [fires, reads] = RULE_ROLES.map((name) => this.tokens(name, head));
    return {
      frequency: at('frequency'),
      activationMax: at('activation_max'),
      participationRatio: at('participation_ratio'),
      scores: detectors.map((_, index) => ({
        score: this.score(head, index),
        evidence: evidence.at(head * detectors.length + index),
      })),
      roles: Object.fromEntries(
        TOKEN_ROLES.map((role) => [role, this.tokens(role, head)]),
      ) as Record<TokenRole, RoleToken[]>,
      hostShares: this.data('host_share').subarray(head * host_heads, (head + 1) * host_heads),
      rule: {
        text: stringsOf(this.file, 'rule').at(head),
        auroc: at('rule_auroc'),
        shuffled: at('rule_auroc_shuffled'),
        baseline: at('rule_auroc_baseline'),
        firesOn: fires ?? [],
        readsFrom: reads ?? [],
      },
      samples: this.samples(head),
    };
  }

  /** Tokens of a sequence that a sample names. */
  sequence(index: number): Int32Array {
    const ends = this.data('sequence.end');
    return (this.data('sequence.tokens') as Int32Array).subarray(ends[index - 1] ?? 0, ends[index]);
  }

  private samples(head: number): SamplePlace[] {
    const width = this.column('sample.sequence').shape[1] ?? 0;
    return Array.from({ length: width }, (_, i) => head * width + i).flatMap((at) => {
      const value = (name: string) => this.data(`sample.${name}`)[at] ?? Number.NaN;
      const sequence = value('sequence');
      if (sequence < 0) return [];
      const [position, activation, quantile] = ['position', 'activation', 'quantile'].map(value);
      return [{ sequence, position, activation, quantile } as SamplePlace];
    });
  }

  private tokens(name: string, head: number): RoleToken[] {
    const { shape, data } = this.column(`${name}.token`);
    const weights = this.data(`${name}.weight`);
    const width = shape[1] ?? 0;
    return Array.from({ length: width }, (_, i) => head * width + i)
      .filter((at) => (data[at] as number) >= 0)
      .map((at) => ({ token: data[at] as number, weight: weights[at] ?? 0 }));
  }

  private data(name: string): Float32Array | Int32Array {
    return this.column(name).data as Float32Array | Int32Array;
  }

  private column(name: string): Tensor {
    const kept = this.columns.get(name);
    if (kept) return kept;
    const read = this.file.tensor(name);
    this.columns.set(name, read);
    return read;
  }
}
