export { adam, squares } from './adam';
export { columnSums, decode } from './decode';
export { gate, replay } from './gate';
export { group } from './group';
export { cotangent, keepHeads, norms, updateHeads } from './heads';
