import { refuse } from './refuse-field.ts';

/** Ascending, unique and inside of the shortest prompt that they are about. */
export function checkPositions(
  positions: readonly number[],
  length: number,
  field: string,
): readonly number[] | undefined {
  if (positions.length === 0) return undefined;
  positions.forEach((position, i) => {
    if (!(position < length)) {
      const message = `${position}; the shortest prompt that it is about has positions 0 to ${length - 1}`;
      throw refuse(`${field}[${i}]`, message, { limit: length - 1, position });
    }
    const before = positions[i - 1];
    if (before !== undefined && before >= position) {
      throw refuse(`${field}[${i}]`, `${position} after ${before}: positions ascend, each once`);
    }
  });
  return positions;
}
