/** Parts of a sentence: `opener pair event bridge S phrase IO`; P stands for a place, O for a gift. */
export interface IoiPattern {
  readonly opener: string;
  readonly event: string;
  /** Attaches to the event without a space. */
  readonly bridge: string;
  readonly phrase: string;
}

function pattern(opener: string, event: string, bridge: string, phrase: string): IoiPattern {
  return { opener, event, bridge, phrase };
}

/** The fifteen base patterns of Wang et al. 2022. */
export const IOI_PATTERNS: readonly IoiPattern[] = [
  pattern('Then,', 'went to the P', '.', 'gave a O to'),
  pattern('Then,', 'had a lot of fun at the P', '.', 'gave a O to'),
  pattern('Then,', 'were working at the P', '.', 'decided to give a O to'),
  pattern('Then,', 'were thinking about going to the P', '.', 'wanted to give a O to'),
  pattern('Then,', 'had a long argument', ', and afterwards', 'said to'),
  pattern('After', 'went to the P', ',', 'gave a O to'),
  pattern('When', 'got a O at the P', ',', 'decided to give it to'),
  pattern('When', 'got a O at the P', ',', 'decided to give the O to'),
  pattern('While', 'were working at the P', ',', 'gave a O to'),
  pattern('While', 'were commuting to the P', ',', 'gave a O to'),
  pattern('After the lunch,', 'went to the P', '.', 'gave a O to'),
  pattern('Afterwards,', 'went to the P', '.', 'gave a O to'),
  pattern('Then,', 'had a long argument', '. Afterwards', 'said to'),
  pattern('The P', 'went to had a O', '.', 'gave it to'),
  pattern('Friends', 'found a O at the P', '.', 'gave it to'),
];

/** Which name of the pair stands first: A is the indirect object, B the subject, which comes again. */
export type IoiOrder = 'ABBA' | 'BABA';

export interface IoiFilling {
  /** The indirect object, A: the name that stands there once, and the right answer. */
  readonly io: string;
  /** The subject, B: the name that stands there twice. */
  readonly s: string;
  readonly place: string;
  readonly gift: string;
}

export interface IoiParts {
  /** `Then, Ruby and Kate went to the store.` */
  readonly opening: string;
  /** What the subject does: `gave a ring to`. */
  readonly phrase: string;
  /** Opening, subject and phrase; the answer is a space and `io`. */
  readonly prompt: string;
}

/** A pattern with its names, place and gift: `Then, Ruby and Kate went to the store. Ruby gave a ring to`. */
export function fillPattern(
  pattern: IoiPattern,
  order: IoiOrder,
  { io, s, place, gift }: IoiFilling,
): IoiParts {
  const fill = (part: string) => part.replace(/\bP\b/g, place).replace(/\bO\b/g, gift);
  const pair = order === 'ABBA' ? `${io} and ${s}` : `${s} and ${io}`;
  const opening = `${fill(pattern.opener)} ${pair} ${fill(pattern.event)}${pattern.bridge}`;
  const phrase = fill(pattern.phrase);
  return { opening, phrase, prompt: `${opening} ${s} ${phrase}` };
}
