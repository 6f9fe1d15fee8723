import { address, float, int } from './arguments';
import { dot, push, square, weightedSum, zero } from './rows';

/**
 * Error of each token, e_t = Σ_i z_ti w_o_i + b_D + sign · target_t, and dz_ti = scale · e_t·w_o_i; zero where the token does
 * not count. Items are tokens.
 *
 *   ints    d_model, slots, indices, z, W_O, b_D (0: none), target, valid, error, dz, ‖e‖² (f64), ‖target‖² (f64, 0: none)
 *   floats  scale, sign
 */
export function decode(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  const slots = int(args, 1);
  const row = <usize>d << 2;
  const W_O = address(args, 4);
  const bias = address(args, 5);
  const scale = float(args, 0);
  for (let t = from; t < to; t++) {
    const target = address(args, 6) + <usize>t * row;
    const error = address(args, 8) + <usize>t * row;
    const place = <usize>(t * slots) << 2;
    const indices = address(args, 2) + place;
    const z = address(args, 3) + place;
    const dz = address(args, 9) + place;
    const errors = address(args, 10) + (<usize>t << 3);
    const targetSquares = address(args, 11);
    if (load<f32>(address(args, 7) + (<usize>t << 2)) == 0) {
      zero(error, d);
      zero(dz, slots);
      store<f64>(errors, 0);
      if (targetSquares) store<f64>(targetSquares + (<usize>t << 3), 0);
      continue;
    }
    let end = scratch;
    for (let s: usize = 0; s < <usize>slots << 2; s += 4) {
      const value = load<f32>(z + s);
      if (value != 0) end = push(end, W_O + <usize>load<i32>(indices + s) * row, value);
    }
    if (bias) end = push(end, bias, 1);
    end = push(end, target, float(args, 1));
    weightedSum(scratch, end, d, error);
    store<f64>(errors, square(error, d));
    if (targetSquares) store<f64>(targetSquares + (<usize>t << 3), square(target, d));
    for (let s: usize = 0; s < <usize>slots << 2; s += 4) {
      let slope: f32 = 0;
      if (load<f32>(z + s) != 0) {
        slope = scale * dot(error, W_O + <usize>load<i32>(indices + s) * row, d);
      }
      store<f32>(dz + s, slope);
    }
  }
}

/**
 * Σ rows over the tokens of a chunk that count: ints d_model, rows, valid, tokens, chunk, into `[chunk, d_model]`. Items are
 * chunks; their sums are added up later, in order.
 */
export function columnSums(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  const row = <usize>d << 2;
  const tokens = int(args, 3);
  const chunk = int(args, 4);
  for (let c = from; c < to; c++) {
    let end = scratch;
    for (let t = c * chunk; t < min(tokens, (c + 1) * chunk); t++) {
      const counts = load<f32>(address(args, 2) + (<usize>t << 2)) != 0;
      if (counts) end = push(end, address(args, 1) + <usize>t * row, 1);
    }
    weightedSum(scratch, end, d, address(args, 5) + <usize>c * row);
  }
}
