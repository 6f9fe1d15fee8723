/** Constants above this many elements are not compared with each other: tables are written once, and a key costs their size. */
export const SHARED_CONSTANT_ELEMENTS_MAX = 64;

/** Whole-number tensors up to this length carry their content through inference: shapes, axes, split sizes. */
export const CONTENT_ELEMENTS_MAX = 64;
