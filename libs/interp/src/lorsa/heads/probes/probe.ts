/** The types of methods 1.12, in its order. */
export const DETECTOR_NAMES = [
  'previous_token',
  'induction',
  'subtoken_induction',
  'name_mover',
  'copy_suppression',
  'successor',
  'sink',
  'arithmetic',
  'thematic_anchor',
] as const;
export type DetectorName = (typeof DETECTOR_NAMES)[number];

/** A place of a probe where a head of the type would be active, and what it would do there. */
export interface ProbeTarget {
  readonly position: number;
  /** Positions that its activation would come from. */
  readonly sources: readonly number[];
  /** The token whose logit it would raise. */
  readonly raises?: number;
  /** The token against which it would raise it. */
  readonly versus?: number;
}

export interface ProbeSequence {
  /** Ids; the first `prefix` of them are special. */
  readonly tokens: readonly number[];
  readonly prefix: number;
  readonly targets: readonly ProbeTarget[];
  /** A token for each position, -1 for none: its successor, or the one that would be suppressed. */
  readonly labels?: readonly number[];
  /** The operands of a sum. */
  readonly operands?: readonly [number, number];
  /** Index into `Probe.topics`. */
  readonly topic?: number;
}

/** Probes of one `text` have the same sequences: their host is run once. */
export type ProbeText = 'random' | 'repeats' | 'split words' | 'lists' | 'ioi' | 'sums' | 'topics';

export interface Probe {
  readonly detector: DetectorName;
  readonly text: ProbeText;
  readonly sequences: readonly ProbeSequence[];
  /** Tokens among which an effect is ranked; without them, those of the sequence. */
  readonly candidates?: readonly number[];
  /** Tokens of each topic. */
  readonly topics?: readonly (readonly number[])[];
}

/** A probe that this vocabulary or context cannot carry: said, never scored as 0. */
export interface NotApplicable {
  readonly detector: DetectorName;
  readonly notApplicable: string;
}

/** What probes need of a model's tokenizer; everything that is encoded stands in `probeTexts`. */
export interface ProbeVocabulary {
  /** Ids of a text without special tokens. */
  readonly encode: (text: string) => readonly number[];
  /** Ordinary ids for random text, at least 64 different ones: best those that the analysed text holds. */
  readonly pool: readonly number[];
  /** What every prompt of the model begins with: `[bos]` or nothing. */
  readonly prefix: readonly number[];
  readonly n_ctx: number;
}
