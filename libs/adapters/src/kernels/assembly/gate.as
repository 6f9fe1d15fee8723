import { address, int } from './arguments';

/**
 * The K strongest heads of each token, by rank = (read + b_V) · gain (its size when signed): rank descending, index ascending,
 * only positive ranks. z = read + b_V. Items are tokens; reads are `[qk_head, token, ov_head of the group]`.
 *
 *   ints  tokens, n_ov_heads, group size, slots, signed, reads, b_V, gains, indices, z
 *
 * Candidates are 64-bit keys, the rank's bits above the inverted index, so that one comparison settles ties. They gather in
 * `scratch`, room for 2 K + 16 of them; when it is full the K best stay and the least of them is the new threshold. Heads come
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

/** Where a token's ranks stand in scratch: behind the candidates. */
@inline
function ranksOf(keys: usize, slots: i32): usize {
  return keys + ((24 * <usize>slots + 256) & ~(<usize>15));
}

/** Sets of heads whose greatest ranks bound the K-th: some 2 K of them, whole turns of the loop over heads. */
@inline
function setsOf(heads: i32, slots: i32): i32 {
  const sets = (2 * slots + 15) & ~15;
  return 2 * sets > heads ? 16 : sets; // too few heads to be worth it: nobody reads them
}

/** The rank of four heads of a row: their size where signed, since `mask` then drops the sign. */
@inline
function four(reads: usize, biases: usize, gains: usize, mask: v128): v128 {
  const z = v128.and(f32x4.add(v128.load(reads), v128.load(biases)), mask);
  return f32x4.mul(z, v128.load(gains));
}

/** pmax drops a NaN; it is looked for apart. */
@inline
function raise(set: usize, rank: v128): void {
  v128.store(set, f32x4.pmax(v128.load(set), rank));
}

/** Writes all ranks of a token and the greatest rank of each set, from zero on. Returns whether one is NaN. */
function rankAll(t: i32, args: usize, ranks: usize, greatest: usize, sets: i32): bool {
  const tokens = int(args, 0);
  const heads = int(args, 1);
  const group = int(args, 2);
  const end = greatest + (<usize>sets << 2);
  memory.fill(greatest, 0, <usize>sets << 2);
  // Up to 15 ranks past the last head are read, and must not win.
  memory.fill(ranks + (<usize>heads << 2), 0, 64);
  const signed = int(args, 4) != 0;
  const mask = i32x4.splat(signed ? 0x7fffffff : -1);
  const bytes = <usize>group << 2;
  let set = greatest;
  let nan = i32x4.splat(0);
  let into = ranks;
  for (let first = 0; first < heads; first += group, into += bytes) {
    const row = (first / group) * tokens + t;
    const reads = address(args, 5) + <usize>row * bytes;
    const biases = address(args, 6) + (<usize>first << 2);
    const gains = address(args, 7) + (<usize>first << 2);
    let at: usize = 0;
    for (; at + 64 <= bytes; at += 64) {
      const a = four(reads + at, biases + at, gains + at, mask);
      const b = four(reads + at + 16, biases + at + 16, gains + at + 16, mask);
      const c = four(reads + at + 32, biases + at + 32, gains + at + 32, mask);
      const d = four(reads + at + 48, biases + at + 48, gains + at + 48, mask);
      v128.store(into + at, a);
      v128.store(into + at, b, 16);
      v128.store(into + at, c, 32);
      v128.store(into + at, d, 48);
      nan = v128.or(nan, v128.or(f32x4.ne(a, a), f32x4.ne(b, b)));
      nan = v128.or(nan, v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
      raise(set, a);
      raise(set + 16, b);
      raise(set + 32, c);
      raise(set + 48, d);
      set += 64;
      if (set == end) set = greatest;
    }
    for (; at < bytes; at += 4) {
      const z = load<f32>(reads + at) + load<f32>(biases + at);
      const rank = (signed ? abs(z) : z) * load<f32>(gains + at);
      if (rank != rank) return true;
      store<f32>(into + at, rank);
    }
  }
  return v128.any_true(nan);
}

/**
 * A rank that at least K heads of the token reach, or 0: the K-th largest among the greatest ranks of some 2 K sets of heads. With
 * it a few more than K heads become candidates instead of K (1 + ln(heads / K)), which are dear: each is a branch that
 * nobody can foretell.
 */
function floorOf(keys: usize, greatest: usize, sets: i32, slots: i32): f32 {
  if (sets < 2 * slots) return 0;
  for (let i = 0; i < sets; i++) {
    const bits = load<u32>(greatest + (<usize>i << 2));
    store<u64>(keys + (<usize>i << 3), <u64>bits << 32);
  }
  const bound = least(keys, keep(keys, sets, slots));
  // What equals the bound may win: the number below it is what a winner is above.
  return bound > 0 ? reinterpret<f32>(reinterpret<u32>(bound) - 1) : 0;
}

/** Leaves the winners of a token in `keys`, in no order. Returns how many, or -1 when a rank is NaN. */
function gather(t: i32, args: usize, keys: usize): i32 {
  const heads = int(args, 1);
  const slots = int(args, 3);
  const sets = setsOf(heads, slots);
  const greatest = keys + (<usize>(2 * slots + 16) << 3);
  const ranks = ranksOf(keys, slots);
  if (rankAll(t, args, ranks, greatest, sets)) return -1;
  let threshold = floorOf(keys, greatest, sets, slots);
  let count = 0;
  for (let first = 0; first < heads; first += 16) {
    const row = ranks + (<usize>first << 2);
    const least16 = f32x4.splat(threshold);
    const a = f32x4.gt(v128.load(row), least16);
    const b = f32x4.gt(v128.load(row, 16), least16);
    const c = f32x4.gt(v128.load(row, 32), least16);
    const d = f32x4.gt(v128.load(row, 48), least16);
    if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
    if (count > 2 * slots) {
      count = keep(keys, count, slots);
      threshold = least(keys, slots);
    }
    let above = i32x4.bitmask(a) | (i32x4.bitmask(b) << 4);
    above |= (i32x4.bitmask(c) << 8) | (i32x4.bitmask(d) << 12);
    for (; above != 0; above &= above - 1) {
      const i = ctz(above);
      push(keys, count++, load<f32>(row + (<usize>i << 2)), first + i);
    }
  }
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
