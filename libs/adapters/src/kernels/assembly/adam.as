import { address, float, int } from './arguments';
import { square } from './rows';

/** The floats of every kernel that moves parameters, in this order. */
const BETA1 = 0;
const BETA2 = 1;
const EPSILON = 2;
const CORRECTION2 = 3;
/** rate / correction1 */
const PACE = 4;
/** What the gradient is multiplied by: 1, or less when it is clipped. */
const FACTOR = 5;

/**
 * One Adam step on n numbers in place, by the graph's operations in the graph's order, each rounded to single precision
 * alike: the same gradient gives the same bits in both backends.
 */
export function adamRow(p: usize, m: usize, v: usize, g: usize, n: i32, args: usize): void {
  const one: f32 = 1;
  const beta1 = float(args, BETA1);
  const beta2 = float(args, BETA2);
  const epsilon = float(args, EPSILON);
  const correction2 = float(args, CORRECTION2);
  const pace = float(args, PACE);
  const factor = float(args, FACTOR);
  const rest1 = one - beta1;
  const rest2 = one - beta2;
  const bytes = <usize>n << 2;
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) {
    const slope = f32x4.mul(v128.load(g + at), f32x4.splat(factor));
    const first = f32x4.add(
      f32x4.mul(v128.load(m + at), f32x4.splat(beta1)),
      f32x4.mul(slope, f32x4.splat(rest1)),
    );
    const second = f32x4.add(
      f32x4.mul(v128.load(v + at), f32x4.splat(beta2)),
      f32x4.mul(f32x4.mul(slope, slope), f32x4.splat(rest2)),
    );
    const root = f32x4.add(
      f32x4.sqrt(f32x4.div(second, f32x4.splat(correction2))),
      f32x4.splat(epsilon),
    );
    const move = f32x4.div(f32x4.mul(first, f32x4.splat(pace)), root);
    v128.store(m + at, first);
    v128.store(v + at, second);
    v128.store(p + at, f32x4.sub(v128.load(p + at), move));
  }
  for (; at < bytes; at += 4) {
    const slope = load<f32>(g + at) * factor;
    const first = load<f32>(m + at) * beta1 + slope * rest1;
    const second = load<f32>(v + at) * beta2 + slope * slope * rest2;
    const root = sqrt<f32>(second / correction2) + epsilon;
    store<f32>(m + at, first);
    store<f32>(v + at, second);
    store<f32>(p + at, load<f32>(p + at) - (first * pace) / root);
  }
}

/** Adam on a whole tensor: ints p, m, v, gradient. */
export function adam(from: i32, to: i32, args: usize, scratch: usize): void {
  const skip = <usize>from << 2;
  adamRow(
    address(args, 0) + skip,
    address(args, 1) + skip,
    address(args, 2) + skip,
    address(args, 3) + skip,
    to - from,
    args,
  );
}

/** Σ x² of each chunk as a double: ints x, length, chunk, into. Items are chunks. */
export function squares(from: i32, to: i32, args: usize, scratch: usize): void {
  const length = int(args, 1);
  const chunk = int(args, 2);
  for (let c = from; c < to; c++) {
    const start = c * chunk;
    const sum = square(address(args, 0) + (<usize>start << 2), min(chunk, length - start));
    store<f64>(address(args, 3) + (<usize>c << 3), sum);
  }
}
