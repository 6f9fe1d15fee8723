import { NAMES } from './lexicon.ts';

/**
 * Capitalised words that many vocabularies know with a space before them and not without: after a quote, a bracket or a line
 * break they come in pieces. Which of them do is for a tokenizer to say.
 */
export const SPLIT_WORDS: readonly string[] = [
  ...NAMES,
  ...`Marion Amsterdam Berlin Vienna Madrid Lisbon Dublin Moscow Warsaw Prague Budapest Athens Cairo Tokyo Delhi Sydney Melbourne
  Toronto Chicago Boston Seattle Houston Dallas Denver Atlanta Philadelphia Portland Montreal Brooklyn Manhattan Oxford Cambridge
  Harvard Stanford Princeton Columbia Microsoft Google Amazon Netflix Toyota Honda Samsung Siemens Shakespeare Beethoven Mozart
  Einstein Newton Darwin Lincoln Churchill Napoleon Caesar Jupiter Saturn Neptune Mercury Apollo Christmas Easter Ramadan Buddhism
  Congress Parliament Senate Pentagon Kremlin Vatican Olympics Wikipedia`
    .trim()
    .split(/\s+/),
];
