import { address, int } from './arguments';

/**
 * The K strongest heads of each token, by rank = (read + b_V) · gain (its size when signed): rank descending, index ascending,
 * only positive ranks. z = read + b_V. Items are tokens; reads are `[qk_head, token, ov_head of the group]`.
 *
 *   ints  tokens, n_ov_heads, group size, slots, signed, reads, b_V, gains, indices, z
 *
 * Candidates are 64-bit keys, the rank's bits above the inverted index, so that one comparison settles ties. They gather in
 * `scratch`, room for 2 K + 8 of them; when it is full the K best stay and the least of them is the new threshold. Heads come
 * in ascending order: one that only equals the threshold has lost to a lower index.
 */
export function gate(from: i32, to: i32, args: usize, scratch: usize): void {
  const slots = int(args, 3);
  for (let t = from; t < to; t++) {
    const places = <usize>(t * slots) << 2;
    const indices = address(args, 8) + places;
    const z = address(args, 9) + places;
    memory.fill(indices, 0xff, <usize>slots << 2); // -1: nobody
    memory.fill(z, 0, <usize>slots << 2);
    const count = gather(t, args, scratch);
    if (count < 0) {
      // A NaN must not hide behind comparisons that are false: it becomes an activation, and the loss.
      store<f32>(z, f32.NaN);
      continue;
    }
    sort(scratch, 0, count - 1);
    for (let s = 0; s < count; s++) {
      const head = ~(<i32>load<u64>(scratch + (<usize>s << 3)));
      store<i32>(indices + (<usize>s << 2), head);
      store<f32>(z + (<usize>s << 2), preActivation(t, head, args));
    }
  }
}

@inline
function preActivation(t: i32, head: i32, args: usize): f32 {
  const group = int(args, 2);
  const row = (head / group) * int(args, 0) + t;
  const read = address(args, 5) + ((<usize>row * <usize>group + <usize>(head % group)) << 2);
  return load<f32>(read) + load<f32>(address(args, 6) + (<usize>head << 2));
}

/** z of the heads in `indices` (-1: nobody) where their rank is positive, else 0: replays another run's choice. Ints as `gate`. */
export function replay(from: i32, to: i32, args: usize, scratch: usize): void {
  const slots = int(args, 3);
  for (let place = from * slots; place < to * slots; place++) {
    const at = <usize>place << 2;
    const head = load<i32>(address(args, 8) + at);
    if (head < 0) {
      store<f32>(address(args, 9) + at, 0);
      continue;
    }
    const z = preActivation(place / slots, head, args);
    const signed = int(args, 4) != 0;
    const rank = (signed ? abs(z) : z) * load<f32>(address(args, 7) + (<usize>head << 2));
    store<f32>(address(args, 9) + at, rank <= 0 ? 0 : z);
  }
}

/** Leaves the candidates of a token in `keys`, the winners among them. Returns how many, or -1 when a rank is NaN. */
function gather(t: i32, args: usize, keys: usize): i32 {
  const tokens = int(args, 0);
  const heads = int(args, 1);
  const group = int(args, 2);
  const slots = int(args, 3);
  const capacity = 2 * slots + 8;
  const b_V = address(args, 6);
  const gains = address(args, 7);
  // All bits but the sign where signed, so that `and` is the size.
  const mask = i32x4.splat(int(args, 4) != 0 ? 0x7fffffff : -1);
  let nan = i32x4.splat(0);
  let threshold: f32 = 0;
  let count = 0;
  for (let first = 0; first < heads; first += group) {
    const row = (first / group) * tokens + t;
    const reads = address(args, 5) + ((<usize>row * <usize>group) << 2);
    let i = 0;
    for (; i + 4 <= group; i += 4) {
      const at = <usize>(first + i) << 2;
      const z = f32x4.add(v128.load(reads + (<usize>i << 2)), v128.load(b_V + at));
      const rank = f32x4.mul(v128.and(z, mask), v128.load(gains + at));
      nan = v128.or(nan, f32x4.ne(rank, rank));
      const above = f32x4.gt(rank, f32x4.splat(threshold));
      if (!v128.any_true(above)) continue;
      if (count + 4 > capacity) {
        count = keep(keys, count, slots);
        if (count == slots) threshold = least(keys, slots);
      }
      if (f32x4.extract_lane(rank, 0) > threshold) push(keys, count++, f32x4.extract_lane(rank, 0), first + i);
      if (f32x4.extract_lane(rank, 1) > threshold) push(keys, count++, f32x4.extract_lane(rank, 1), first + i + 1);
      if (f32x4.extract_lane(rank, 2) > threshold) push(keys, count++, f32x4.extract_lane(rank, 2), first + i + 2);
      if (f32x4.extract_lane(rank, 3) > threshold) push(keys, count++, f32x4.extract_lane(rank, 3), first + i + 3);
    }
    for (; i < group; i++) {
      const at = <usize>(first + i) << 2;
      const read = load<f32>(reads + (<usize>i << 2)) + load<f32>(b_V + at);
      const rank = (int(args, 4) != 0 ? abs(read) : read) * load<f32>(gains + at);
      if (rank != rank) return -1;
      if (!(rank > threshold)) continue;
      if (count + 4 > capacity) {
        count = keep(keys, count, slots);
        if (count == slots) threshold = least(keys, slots);
        if (!(rank > threshold)) continue;
      }
      push(keys, count++, rank, first + i);
    }
  }
  if (v128.any_true(nan)) return -1;
  return keep(keys, count, slots);
}

@inline
function push(keys: usize, at: i32, rank: f32, head: i32): void {
  store<u64>(keys + (<usize>at << 3), (<u64>reinterpret<u32>(rank) << 32) | <u64>(~<u32>head));
}

/** Moves the `slots` largest keys to the front, in no order (Hoare's selection). Returns how many are left. */
function keep(keys: usize, count: i32, slots: i32): i32 {
  if (count <= slots) return count;
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const split = partition(keys, low, high);
    if (slots - 1 <= split) high = split;
    else low = split + 1;
  }
  return slots;
}

/** Puts the larger keys of low..high before the smaller ones. Returns the last place of the larger part. */
function partition(keys: usize, low: i32, high: i32): i32 {
  const pivot = key(keys, (low + high) >> 1);
  let i = low - 1;
  let j = high + 1;
  while (true) {
    do i++;
    while (key(keys, i) > pivot);
    do j--;
    while (key(keys, j) < pivot);
    if (i >= j) break;
    const other = key(keys, i);
    store<u64>(keys + (<usize>i << 3), key(keys, j));
    store<u64>(keys + (<usize>j << 3), other);
  }
  return j;
}

@inline
function key(keys: usize, at: i32): u64 {
  return load<u64>(keys + (<usize>at << 3));
}

/** Largest first. Insertion for the few that are left of a part, and for the usual K. */
function sort(keys: usize, low: i32, high: i32): void {
  while (high - low > 40) {
    const split = partition(keys, low, high);
    sort(keys, low, split);
    low = split + 1;
  }
  for (let i = low + 1; i <= high; i++) {
    const inserted = key(keys, i);
    let j = i - 1;
    for (; j >= low && key(keys, j) < inserted; j--) {
      store<u64>(keys + (<usize>(j + 1) << 3), key(keys, j));
    }
    store<u64>(keys + (<usize>(j + 1) << 3), inserted);
  }
}

/** The rank of the smallest of the first `count` keys. */
function least(keys: usize, count: i32): f32 {
  let smallest = key(keys, 0);
  for (let i = 1; i < count; i++) smallest = min(smallest, key(keys, i));
  return reinterpret<f32>(<u32>(smallest >> 32));
}
