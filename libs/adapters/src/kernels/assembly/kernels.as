export { adam, squares } from './adam';
export { columnSums, decode } from './decode';
export { group } from './group';
export { cotangent, keepHeads, norms, updateHeads } from './heads';
