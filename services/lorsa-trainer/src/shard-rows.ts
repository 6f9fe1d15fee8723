import type { Tensor } from '@heddle/tensor';

/** Some rows of every tensor, whose first axis is `[batch]`; all of them are the tensors themselves. */
export function rowsOf<T extends Readonly<Record<string, Tensor>>>(
  tensors: T,
  rows: readonly number[],
): T {
  const taken = Object.entries(tensors).map(([name, t]) => {
    const [batch = 0, ...rest] = t.shape;
    if (batch === rows.length) return [name, t] as const;
    const size = rest.reduce((product, n) => product * n, 1);
    const data = (t.data as Uint8Array).slice(0, rows.length * size);
    rows.forEach((row, to) => {
      data.set((t.data as Uint8Array).subarray(row * size, (row + 1) * size), to * size);
    });
    return [name, { ...t, shape: [rows.length, ...rest], data }] as const;
  });
  return Object.fromEntries(taken) as T;
}
