import { MersenneTwister } from './mersenne-twister.ts';

/** Parts of a sentence: `opener pair event bridge S phrase IO`; P a place, O an object. */
export interface IoiPattern {
  readonly opener: string;
  readonly event: string;
  /** Attaches to the event without a space. */
  readonly bridge: string;
  readonly phrase: string;
}

const pattern = (opener: string, event: string, bridge: string, phrase: string): IoiPattern => ({
  opener,
  event,
  bridge,
  phrase,
});

/**
 * The fifteen base patterns of Wang et al. 2022. `mixed` data uses the first seven, in both orders.
 */
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

export const IOI_PLACES: readonly string[] =
  'store garden restaurant school hospital office house station'.split(' ');

export const IOI_OBJECTS: readonly string[] =
  'ring kiss bone basketball computer necklace drink snack'.split(' ');

export const IOI_NAMES: readonly string[] = (
  'Aaron Adam Alan Alex Alice Amy Anderson Andre Andrew Andy Anna Anthony Arthur Austin Blake ' +
  'Brandon Brian Carter Charles Charlie Christian Christopher Clark Cole Collins Connor Crew ' +
  'Crystal Daniel David Dean Edward Elizabeth Emily Eric Eva Ford Frank George Georgia Graham ' +
  'Grant Henry Ian Jack Jacob Jake James Jamie Jane Jason Jay Jennifer Jeremy Jessica John ' +
  'Jonathan Jordan Joseph Joshua Justin Kate Kelly Kevin Kyle Laura Leon Lewis Lisa Louis Luke ' +
  'Madison Marco Marcus Maria Mark Martin Mary Matthew Max Michael Michelle Morgan Patrick Paul ' +
  'Peter Prince Rachel Richard River Robert Roman Rose Ruby Russell Ryan Sarah Scott Sean Simon ' +
  'Stephen Steven Sullivan Taylor Thomas Tyler Victoria Warren William'
).split(' ');

export type IoiOrder = 'BABA' | 'ABBA';

export interface IoiFilling {
  /** The indirect object, A: the right answer. */
  readonly io: string;
  /** The subject, B: the name that comes twice. */
  readonly subject: string;
  readonly place: string;
  readonly object: string;
}

export interface IoiPrompt extends IoiFilling {
  /** The sentence up to and without the answer; the answer is a space and `io`. */
  readonly prompt: string;
  /** With the answer. */
  readonly text: string;
  readonly order: IoiOrder;
  /** 1 to 15, as in the paper's list. */
  readonly pattern: number;
}

/**
 * One sentence: `Then, Ruby and Kate went to the store. Ruby gave a ring to`, with the answer
 * ` Kate`.
 */
export function ioiSentence(
  pattern: IoiPattern,
  order: IoiOrder,
  { io, subject, place, object }: IoiFilling,
): string {
  const fill = (part: string) =>
    part
      .split(' ')
      .map((word) => (word === 'P' ? place : word === 'O' ? object : word))
      .join(' ');
  const pair = order === 'BABA' ? `${subject} and ${io}` : `${io} and ${subject}`;
  const opener = fill(pattern.opener);
  return `${opener} ${pair} ${fill(pattern.event)}${pattern.bridge} ${subject} ${fill(pattern.phrase)}`;
}

/**
 * *The IOI data set*, bit for bit as the published Python generator makes its `mixed` kind:
 * patterns 1 to 7 in both orders, the list shuffled, then for each prompt a template, three names
 * redrawn together until all differ (the third only consumes randomness), a place and an object,
 * both always drawn. For seed 0 and 256 prompts the texts have a known SHA-256.
 */
export function ioiDataset(count: number, seed: number): IoiPrompt[] {
  const random = new MersenneTwister(seed);
  const orders: IoiOrder[] = ['BABA', 'ABBA'];
  const templates = random.shuffle(
    orders.flatMap((order) =>
      IOI_PATTERNS.slice(0, 7).map((pattern, i) => ({ order, pattern, number: i + 1 })),
    ),
  );
  return Array.from({ length: count }, () => {
    const { order, pattern, number } = random.pick(templates);
    let names: string[] = [];
    do names = [random.pick(IOI_NAMES), random.pick(IOI_NAMES), random.pick(IOI_NAMES)];
    while (new Set(names).size < 3);
    const [io, subject] = names;
    const filling = {
      io,
      subject,
      place: random.pick(IOI_PLACES),
      object: random.pick(IOI_OBJECTS),
    };
    const prompt = ioiSentence(pattern, order, filling);
    return { ...filling, prompt, text: `${prompt} ${io}`, order, pattern: number };
  });
}
