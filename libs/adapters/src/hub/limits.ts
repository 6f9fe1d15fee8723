/** Bytes read at once: large enough for the disk, small enough that other work gets its turn. A multiple of every element. */
export const PIECE_BYTES = 4 * 1024 * 1024;
