export { AXES, type Axis } from './axes.ts';
export { bindAxes } from './bind-axes.ts';
export { narrowF16, widenBf16, widenF16 } from './half.ts';
export {
  BYTES_PER_ELEMENT,
  type DataByDType,
  type DType,
  elementCount,
  fromBytes,
  showShape,
  type Tensor,
  tensor,
  toBytes,
  zeros,
} from './tensor.ts';
