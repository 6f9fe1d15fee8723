import { type IoiPrompt, ioiDataset, NAMES } from '../../../tasks/index.ts';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';

/** As many as the published set has: each name is IO about twice. */
const PROMPTS = 256;
const USABLE_MIN = 24;

export const ioiPrompts = (seed: number): readonly IoiPrompt[] => ioiDataset(PROMPTS, seed);

export const ioiTexts = (seed: number): string[] => [
  ...ioiPrompts(seed).map(({ prompt }) => prompt),
  ...NAMES.map((name) => ` ${name}`),
];

/** The published prompts whose two names are one token each: at the end a name mover reads IO and raises it over S. */
export function ioiProbe(seed: number, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { encode, prefix, n_ctx } = vocabulary;
  const sequences = ioiPrompts(seed).flatMap(({ prompt, io, s }): ProbeSequence[] => {
    const [ioToken, sToken] = [encode(` ${io}`), encode(` ${s}`)];
    const tokens = [...prefix, ...encode(prompt)];
    if (ioToken.length !== 1 || sToken.length !== 1 || tokens.length > n_ctx) return [];
    const sources = tokens.flatMap((token, at) => (token === ioToken[0] ? [at] : []));
    if (sources.length === 0) return [];
    const position = tokens.length - 1;
    const targets = [{ position, sources, raises: ioToken[0], versus: sToken[0] }];
    return [{ tokens, prefix: prefix.length, targets }];
  });
  if (sequences.length < USABLE_MIN) {
    const notApplicable = `only ${sequences.length} of ${PROMPTS} IOI prompts have names of one token; ${USABLE_MIN} are needed`;
    return { detector: 'name_mover', notApplicable };
  }
  return { detector: 'name_mover', text: 'ioi', sequences };
}
