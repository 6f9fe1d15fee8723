/**
 * How far back a head reads, on a scale that doubles: 0, 1, 2, 3–4, 5–8, … 513 and more. A position's neighbours differ, far
 * ones hardly.
 */
export const DISTANCE_BUCKETS = 12;

export function distanceBucket(distance: number): number {
  // ⌈log₂ d⌉ is the number of bits of d − 1.
  return distance === 0 ? 0 : Math.min(DISTANCE_BUCKETS - 1, 33 - Math.clz32(distance - 1));
}

/** Nearest and farthest distance of a bucket; the last has no end. */
export function bucketRange(bucket: number): { readonly near: number; readonly far: number } {
  if (bucket === 0) return { near: 0, far: 0 };
  const far = bucket === DISTANCE_BUCKETS - 1 ? Number.POSITIVE_INFINITY : 2 ** (bucket - 1);
  return { near: bucket === 1 ? 1 : 2 ** (bucket - 2) + 1, far };
}
