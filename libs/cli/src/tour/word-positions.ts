/**
 * Positions of the tokens that end an occurrence of a word in a tokenised text, in order. A word that is cut into
 * several tokens is read at its last one, as the methods do.
 */
export function wordPositions(tokens: readonly string[], word: string): number[] {
  const found: number[] = [];
  let text = '';
  const endsAt = tokens.map((token) => {
    text += token;
    return text.length;
  });
  for (const match of text.matchAll(new RegExp(`(?<![A-Za-z])${word}(?![A-Za-z])`, 'g'))) {
    const end = match.index + word.length;
    const position = endsAt.findIndex((tokenEnd) => tokenEnd >= end);
    if (position >= 0) found.push(position);
  }
  return found;
}
