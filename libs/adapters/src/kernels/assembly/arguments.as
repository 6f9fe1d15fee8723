/**
 * Every kernel has the form `kernel(from, to, args, scratch)`: it does items from..to-1 of its kind (tokens, heads, chunks) and
 * writes nothing that another item writes, so that threads need no lock and the result does not depend on their number.
 * `args` is the address of 24 integers (sizes and addresses) and 8 floats behind them; `scratch` is the thread's own.
 */

@inline
export function int(args: usize, at: i32): i32 {
  return load<i32>(args + (<usize>at << 2));
}

@inline
export function address(args: usize, at: i32): usize {
  return <usize>load<u32>(args + (<usize>at << 2));
}

@inline
export function float(args: usize, at: i32): f32 {
  return load<f32>(args + 96 + (<usize>at << 2));
}
