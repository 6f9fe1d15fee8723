import { adamRow } from './adam';
import { address, int } from './arguments';
import { push, square, weightedSum } from './rows';

/**
 * U^h_t = Σ_{i in group h} dz_ti w_v_i. Items are (group, token), groups outside, so that one group's rows stay in the cache.
 * ints d_model, starts, head, dz, W_V, U
 */
export function cotangent(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  const row = <usize>d << 2;
  const starts = address(args, 1);
  for (let bucket = from; bucket < to; bucket++) {
    const first = <usize>load<i32>(starts + (<usize>bucket << 2)) << 2;
    const last = <usize>load<i32>(starts + (<usize>bucket << 2), 4) << 2;
    let end = scratch;
    for (let p = first; p < last; p += 4) {
      const head = load<i32>(address(args, 2) + p);
      end = push(end, address(args, 4) + <usize>head * row, load<f32>(address(args, 3) + p));
    }
    weightedSum(scratch, end, d, address(args, 5) + <usize>bucket * row);
  }
}

/** Gradient of w_o: Σ z · scale · e_t, to `out`. Ints as `updateHeads`. */
function writeSlope(args: usize, head: i32, list: usize, out: usize): void {
  const d = int(args, 0);
  const starts = address(args, 3) + (<usize>head << 2);
  const last = <usize>load<i32>(starts, 4) << 2;
  let end = list;
  for (let p = <usize>load<i32>(starts) << 2; p < last; p += 4) {
    const token = <usize>load<i32>(address(args, 4) + p);
    end = push(end, address(args, 7) + ((token * <usize>d) << 2), load<f32>(address(args, 5) + p));
  }
  weightedSum(list, end, d, out);
}

/** Gradient of w_v: Σ dz (A^h x)_t, to `out`. Returns the gradient of b_V: Σ dz. */
function readSlope(args: usize, head: i32, list: usize, out: usize): f32 {
  const d = int(args, 0);
  const tokens = int(args, 2);
  const group = <usize>(head / int(args, 1)) * <usize>tokens;
  const starts = address(args, 3) + (<usize>head << 2);
  const last = <usize>load<i32>(starts, 4) << 2;
  let end = list;
  let sum: f32 = 0;
  for (let p = <usize>load<i32>(starts) << 2; p < last; p += 4) {
    let token = load<i32>(address(args, 4) + p);
    if (token >= tokens) token -= tokens; // AuxK: the same place of the sequence
    const dz = load<f32>(address(args, 6) + p);
    end = push(end, address(args, 8) + (((group + <usize>token) * <usize>d) << 2), dz);
    sum += dz;
  }
  weightedSum(list, end, d, out);
  return sum;
}

/**
 * Gradients of a head's rows and Adam on them in one go: they never reach memory. Items are heads.
 *
 *   ints  d_model, group size, tokens, starts, token, z · scale, dz, error, A x,
 *         9: W_V with moments, 12: W_O, 15: b_V, 18: ‖gradient‖² (f64), 19: ‖w_o‖ after the step
 *   scratch  a row, then the list
 */
export function updateHeads(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  const list = scratch + (<usize>d << 2);
  for (let head = from; head < to; head++) {
    const row = <usize>head * (<usize>d << 2);
    const cell = <usize>head << 2;
    const W_O = address(args, 12) + row;
    writeSlope(args, head, list, scratch);
    let sum = square(scratch, d);
    adamRow(W_O, address(args, 13) + row, address(args, 14) + row, scratch, d, args);
    store<f32>(address(args, 19) + cell, <f32>Math.sqrt(square(W_O, d)));
    const bias = readSlope(args, head, list, scratch);
    sum += square(scratch, d) + <f64>bias * <f64>bias;
    const W_V = address(args, 9) + row;
    adamRow(W_V, address(args, 10) + row, address(args, 11) + row, scratch, d, args);
    store<f32>(scratch, bias);
    const b_V = address(args, 15) + cell;
    adamRow(b_V, address(args, 16) + cell, address(args, 17) + cell, scratch, 1, args);
    store<f64>(address(args, 18) + (<usize>head << 3), sum);
  }
}

/** The same gradients, kept: ints as above, but 9, 12, 15 are where they go. */
export function keepHeads(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  for (let head = from; head < to; head++) {
    const row = <usize>head * (<usize>d << 2);
    const write = address(args, 12) + row;
    const read = address(args, 9) + row;
    writeSlope(args, head, scratch, write);
    const bias = readSlope(args, head, scratch, read);
    store<f32>(address(args, 15) + (<usize>head << 2), bias);
    const sum = square(write, d) + square(read, d) + <f64>bias * <f64>bias;
    store<f64>(address(args, 18) + (<usize>head << 3), sum);
  }
}

/** ‖row‖ of each: ints d_model, rows, into. */
export function norms(from: i32, to: i32, args: usize, scratch: usize): void {
  const d = int(args, 0);
  for (let i = from; i < to; i++) {
    const sum = square(address(args, 1) + ((<usize>i * <usize>d) << 2), d);
    store<f32>(address(args, 2) + (<usize>i << 2), <f32>Math.sqrt(sum));
  }
}
