import { DOCUMENT_BYTES_MAX } from './limits.ts';

const NEWLINE = 10;
const isSpace = (byte: number): boolean => byte === 32 || (byte >= 9 && byte <= 13);

/**
 * Bytes that one document takes of a text that is longer than `bytesMax`: up to the last line end in them, else the last white space,
 * both in their second half, else as many as are whole characters. Depends on the bytes from here on alone.
 */
export function cutLength(bytes: Uint8Array, bytesMax: number = DOCUMENT_BYTES_MAX): number {
  if (bytes.length <= bytesMax) return bytes.length;
  const line = bytes.lastIndexOf(NEWLINE, bytesMax - 1);
  if (line >= bytesMax / 2) return line + 1;
  for (let i = bytesMax - 1; i >= bytesMax / 2; i--) {
    if (isSpace(bytes[i] ?? 0)) return i + 1;
  }
  let end = bytesMax;
  while (end > 1 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return end;
}

/** *A text as documents* of at most `bytesMax` bytes of UTF-8 each, none of them blank. */
export function cutText(text: string, bytesMax: number = DOCUMENT_BYTES_MAX): readonly string[] {
  if (3 * text.length <= bytesMax) return text.trim() === '' ? [] : [text];
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = cutLength(bytes.subarray(at), bytesMax);
    const piece = decoder.decode(bytes.subarray(at, at + length));
    if (piece.trim() !== '') pieces.push(piece);
    at += length;
  }
  return pieces;
}
