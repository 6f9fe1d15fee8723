/**
 * Rows of d numbers. A *list* is n entries of 8 bytes: the address of a row, and the factor that it is taken with.
 */

/** Puts an entry at `list` and returns the next place. */
@inline
export function push(list: usize, row: usize, factor: f32): usize {
  store<u32>(list, <u32>row);
  store<f32>(list, factor, 4);
  return list + 8;
}

/** out = Σ factor · row. Entries are added in their order, whatever the column: the loop over columns is outside. */
export function weightedSum(list: usize, end: usize, d: i32, out: usize): void {
  const bytes = <usize>d << 2;
  let at: usize = 0;
  // 32 columns in eight registers, so that the running sums never leave them.
  for (; at + 128 <= bytes; at += 128) {
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let e = f32x4.splat(0);
    let f = f32x4.splat(0);
    let g = f32x4.splat(0);
    let h = f32x4.splat(0);
    let k = f32x4.splat(0);
    for (let entry = list; entry < end; entry += 8) {
      const row = <usize>load<u32>(entry) + at;
      const factor = v128.load_splat<f32>(entry, 4);
      a = f32x4.add(a, f32x4.mul(factor, v128.load(row)));
      b = f32x4.add(b, f32x4.mul(factor, v128.load(row, 16)));
      c = f32x4.add(c, f32x4.mul(factor, v128.load(row, 32)));
      e = f32x4.add(e, f32x4.mul(factor, v128.load(row, 48)));
      f = f32x4.add(f, f32x4.mul(factor, v128.load(row, 64)));
      g = f32x4.add(g, f32x4.mul(factor, v128.load(row, 80)));
      h = f32x4.add(h, f32x4.mul(factor, v128.load(row, 96)));
      k = f32x4.add(k, f32x4.mul(factor, v128.load(row, 112)));
    }
    v128.store(out + at, a);
    v128.store(out + at, b, 16);
    v128.store(out + at, c, 32);
    v128.store(out + at, e, 48);
    v128.store(out + at, f, 64);
    v128.store(out + at, g, 80);
    v128.store(out + at, h, 96);
    v128.store(out + at, k, 112);
  }
  for (; at + 16 <= bytes; at += 16) {
    let a = f32x4.splat(0);
    for (let entry = list; entry < end; entry += 8) {
      const row = <usize>load<u32>(entry) + at;
      a = f32x4.add(a, f32x4.mul(v128.load_splat<f32>(entry, 4), v128.load(row)));
    }
    v128.store(out + at, a);
  }
  for (; at < bytes; at += 4) {
    let a: f32 = 0;
    for (let entry = list; entry < end; entry += 8) {
      a += load<f32>(entry, 4) * load<f32>(<usize>load<u32>(entry) + at);
    }
    store<f32>(out + at, a);
  }
}

@inline
function lanesSum(a: v128): f32 {
  return (
    f32x4.extract_lane(a, 0) +
    f32x4.extract_lane(a, 1) +
    (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3))
  );
}

/** a · b */
export function dot(a: usize, b: usize, d: i32): f32 {
  const bytes = <usize>d << 2;
  let s = f32x4.splat(0);
  let t = f32x4.splat(0);
  let u = f32x4.splat(0);
  let v = f32x4.splat(0);
  let at: usize = 0;
  for (; at + 64 <= bytes; at += 64) {
    s = f32x4.add(s, f32x4.mul(v128.load(a + at), v128.load(b + at)));
    t = f32x4.add(t, f32x4.mul(v128.load(a + at, 16), v128.load(b + at, 16)));
    u = f32x4.add(u, f32x4.mul(v128.load(a + at, 32), v128.load(b + at, 32)));
    v = f32x4.add(v, f32x4.mul(v128.load(a + at, 48), v128.load(b + at, 48)));
  }
  let sum = lanesSum(f32x4.add(f32x4.add(s, t), f32x4.add(u, v)));
  for (; at < bytes; at += 4) sum += load<f32>(a + at) * load<f32>(b + at);
  return sum;
}

/** Σ row², in double precision from blocks of 64 on: a norm is a sum of millions of these. */
export function square(row: usize, d: i32): f64 {
  let sum: f64 = 0;
  while (d > 0) {
    const n = min(d, 64);
    sum += <f64>dot(row, row, n);
    row += <usize>n << 2;
    d -= n;
  }
  return sum;
}

export function zero(row: usize, d: i32): void {
  memory.fill(row, 0, <usize>d << 2);
}
