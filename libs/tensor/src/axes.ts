/**
 * The closed vocabulary of axis names. Tidy reads every shape in a comment of `libs/` against it, and `bindAxes`
 * takes nothing else: a misspelt axis does not compile.
 */
export const AXES = [
  'batch',
  'pos',
  'query_pos',
  'key_pos',
  'head',
  'kv_head',
  'd_head',
  'd_model',
  'd_mlp',
  'd_vocab',
  'layer',
  'feature',
  'qk_head',
  'ov_head',
  'node',
  'token',
] as const;

export type Axis = (typeof AXES)[number];
