/**
 * A stretch of text with the weight of its tokens in the loss, and whether it is an answer that evaluation counts.
 * Pieces end where the pre-tokenizer cuts, so that tokenising piece by piece equals tokenising the whole (tested).
 */
export interface Piece {
  readonly text: string;
  readonly weight: number;
  readonly answer: boolean;
}

export type Text = readonly Piece[];

/** Weight of what cannot be foretold. Weighted like the rest it drowns the few tokens from which a circuit can grow. */
export const GUESS_WEIGHT = 0.05;

/** Text that follows from nothing before it: the choice of a name, a place, a word. */
export function guess(text: string): Piece {
  return { text, weight: GUESS_WEIGHT, answer: false };
}

/** Text that follows from what stands before it. */
export function answer(text: string): Piece {
  return { text, weight: 1, answer: true };
}

export function wholeText(text: Text): string {
  return text.map((piece) => piece.text).join('');
}
