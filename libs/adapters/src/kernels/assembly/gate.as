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
      store<i32>(indices, 0);
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

/** z + b_V of four heads of a row, its sign dropped where signed. */
@inline
function four(reads: usize, biases: usize, mask: v128): v128 {
  return v128.and(f32x4.add(v128.load(reads), v128.load(biases)), mask);
}

/** All bits but the sign where signed, so that `and` is the size. */
@inline
function sizeMask(args: usize): v128 {
  return i32x4.splat(int(args, 4) != 0 ? 0x7fffffff : -1);
}

/**
 * A rank that at least K heads of the token reach, or 0: the K-th largest among the greatest ranks of some 2 K sets of heads. With
 * it a few more than K heads become candidates instead of K (1 + ln(heads / K)), which are dear: each is a branch that
 * nobody can foretell.
 */
function floorOf(t: i32, args: usize, keys: usize): f32 {
  const tokens = int(args, 0);
  const heads = int(args, 1);
  const group = int(args, 2);
  const slots = int(args, 3);
  const sets = (2 * slots + 15) & ~15;
  if (2 * sets > heads) return 0;
  const greatest = keys + (<usize>sets << 3);
  const end = greatest + (<usize>sets << 2);
  memory.fill(greatest, 0, <usize>sets << 2);
  const mask = sizeMask(args);
  let set = greatest;
  for (let first = 0; first < heads; first += group) {
    const row = (first / group) * tokens + t;
    const reads = address(args, 5) + ((<usize>row * <usize>group) << 2);
    const biases = address(args, 6) + (<usize>first << 2);
    const gains = address(args, 7) + (<usize>first << 2);
    // What is left of a group that four does not divide is not looked at: the bound stays one.
    for (let at: usize = 0; at + 16 <= <usize>group << 2; at += 16) {
      const rank = f32x4.mul(four(reads + at, biases + at, mask), v128.load(gains + at));
      v128.store(set, f32x4.pmax(v128.load(set), rank)); // a NaN is dropped here and found later
      set += 16;
      if (set == end) set = greatest;
    }
  }
  for (let i = 0; i < sets; i++) {
    const bits = load<u32>(greatest + (<usize>i << 2));
    store<u64>(keys + (<usize>i << 3), <u64>bits << 32);
  }
  return least(keys, keep(keys, sets, slots));
}

/** Leaves the winners of a token in `keys`, in no order. Returns how many, or -1 when a rank is NaN. */
function gather(t: i32, args: usize, keys: usize): i32 {
  const tokens = int(args, 0);
  const heads = int(args, 1);
  const group = int(args, 2);
  const slots = int(args, 3);
  const capacity = 2 * slots + 8;
  const ranks = keys + (<usize>(capacity + 8) << 3);
  const b_V = address(args, 6);
  const gains = address(args, 7);
  const mask = sizeMask(args);
  let nan = i32x4.splat(0);
  let threshold = floorOf(t, args, keys);
  // What equals the bound may win: compare with the number below it.
  if (threshold > 0) threshold = reinterpret<f32>(reinterpret<u32>(threshold) - 1);
  let count = 0;
  for (let first = 0; first < heads; first += group) {
    const row = (first / group) * tokens + t;
    const reads = address(args, 5) + ((<usize>row * <usize>group) << 2);
    let i = 0;
    for (; i + 4 <= group; i += 4) {
      const at = <usize>(first + i) << 2;
      const rank = f32x4.mul(four(reads + (<usize>i << 2), b_V + at, mask), v128.load(gains + at));
      nan = v128.or(nan, f32x4.ne(rank, rank));
      let above = i32x4.bitmask(f32x4.gt(rank, f32x4.splat(threshold)));
      if (above == 0) continue;
      if (count + 4 > capacity) {
        count = keep(keys, count, slots);
        threshold = least(keys, slots);
        above = i32x4.bitmask(f32x4.gt(rank, f32x4.splat(threshold)));
      }
      v128.store(ranks, rank);
      for (; above != 0; above &= above - 1) {
        const lane = ctz(above);
        push(keys, count++, load<f32>(ranks + (<usize>lane << 2)), first + i + lane);
      }
    }
    for (; i < group; i++) {
      const at = <usize>(first + i) << 2;
      const read = load<f32>(reads + (<usize>i << 2)) + load<f32>(b_V + at);
      const rank = (int(args, 4) != 0 ? abs(read) : read) * load<f32>(gains + at);
      if (rank != rank) return -1;
      if (!(rank > threshold)) continue;
      if (count + 4 > capacity) {
        count = keep(keys, count, slots);
        threshold = least(keys, slots);
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
