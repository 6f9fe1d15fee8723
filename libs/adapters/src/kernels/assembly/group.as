import { address, float, int } from './arguments';

/**
 * Two counting sorts of the pairs, both stable. One item: it is a thirtieth of a millisecond.
 *
 *   ints   tokens, n_ov_heads, group size, valid
 *          4: slots, indices, z, dz      8: the same of AuxK (slots 0: none)
 *          12: by head: starts `[ov_head + 2]`, token, z · scale, dz
 *          16: by group and token: starts `[qk_head · token + 2]`, head, dz
 *          19: fired, f32 `[ov_head]`
 *   floats scale, scale of AuxK
 *
 * A pair of AuxK is at token + tokens: its error is another row, its place in the sequence the same.
 */
export function group(from: i32, to: i32, args: usize, scratch: usize): void {
  const tokens = int(args, 0);
  const heads = int(args, 1);
  const buckets = (heads / int(args, 2)) * tokens;
  memory.fill(address(args, 12), 0, <usize>(heads + 2) << 2);
  memory.fill(address(args, 16), 0, <usize>(buckets + 2) << 2);
  memory.fill(address(args, 19), 0, <usize>heads << 2);
  count(args, 4, tokens, true);
  count(args, 8, tokens, false);
  accumulate(address(args, 12), heads + 2);
  accumulate(address(args, 16), buckets + 2);
  place(args, 4, tokens, 0, float(args, 0));
  place(args, 8, tokens, tokens, float(args, 1));
}

/** Counts one place further than a head's own, so that `place` can move its start and leave the next one's behind. */
function count(args: usize, list: i32, tokens: i32, fires: bool): void {
  const slots = int(args, list);
  const groupSize = int(args, 2);
  for (let t = 0; t < tokens; t++) {
    if (load<f32>(address(args, 3) + (<usize>t << 2)) == 0) continue;
    for (let s = t * slots; s < (t + 1) * slots; s++) {
      if (load<f32>(address(args, list + 2) + (<usize>s << 2)) == 0) continue;
      const head = load<i32>(address(args, list + 1) + (<usize>s << 2));
      increment(address(args, 12), head + 2);
      increment(address(args, 16), (head / groupSize) * tokens + t + 2);
      if (!fires) continue;
      const fired = address(args, 19) + (<usize>head << 2);
      store<f32>(fired, load<f32>(fired) + 1);
    }
  }
}

@inline
function increment(table: usize, at: i32): i32 {
  const cell = table + (<usize>at << 2);
  const old = load<i32>(cell);
  store<i32>(cell, old + 1);
  return old;
}

function accumulate(table: usize, length: i32): void {
  let sum = 0;
  for (let i = 0; i < length; i++) {
    sum += load<i32>(table + (<usize>i << 2));
    store<i32>(table + (<usize>i << 2), sum);
  }
}

function place(args: usize, list: i32, tokens: i32, offset: i32, scale: f32): void {
  const slots = int(args, list);
  const groupSize = int(args, 2);
  for (let t = 0; t < tokens; t++) {
    if (load<f32>(address(args, 3) + (<usize>t << 2)) == 0) continue;
    for (let s = t * slots; s < (t + 1) * slots; s++) {
      const z = load<f32>(address(args, list + 2) + (<usize>s << 2));
      if (z == 0) continue;
      const head = load<i32>(address(args, list + 1) + (<usize>s << 2));
      const dz = load<f32>(address(args, list + 3) + (<usize>s << 2));
      const byHead = <usize>increment(address(args, 12), head + 1) << 2;
      store<i32>(address(args, 13) + byHead, t + offset);
      store<f32>(address(args, 14) + byHead, z * scale);
      store<f32>(address(args, 15) + byHead, dz);
      const bucket = (head / groupSize) * tokens + t;
      const byBucket = <usize>increment(address(args, 16), bucket + 1) << 2;
      store<i32>(address(args, 17) + byBucket, head);
      store<f32>(address(args, 18) + byBucket, dz);
    }
  }
}
