/**
 * GPT-2's pre-tokenizer and its alphabet. Words keep the space before them; a byte is written as a printable character
 * (its own when it has one, else one from 256 up), so that a vocabulary is a JSON object. Radford et al. 2019.
 */
const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export function splitWords(text: string): string[] {
  return text.match(WORD) ?? [];
}

/** The character of each byte. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
})();

const encoder = new TextEncoder();

/** A word in the alphabet: " Mary" → "ĠMary". */
export function toAlphabet(word: string): string {
  return Array.from(encoder.encode(word), (byte) => BYTE_CHARACTERS[byte]!).join('');
}
