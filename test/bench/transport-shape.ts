/** [batch, pos, d_model] of the tensor that is moved: 6.29 MB in fp32. */
export const SHAPE = [8, 256, 768] as const;
