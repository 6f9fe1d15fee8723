export { type BoxFacts, type BoxForm, boxFacts } from './boxes.ts';
export { drawText, FULL_SIZES, type Task, type TaskSizes } from './draw-text.ts';
export { isHeldOut, type Split } from './held-out.ts';
export { HELD_OUT_PATTERNS, type IoiSentence, ioiSentence } from './ioi.ts';
export { type IoiPrompt, ioiDataset } from './ioi-dataset.ts';
export {
  fillPattern,
  IOI_PATTERNS,
  type IoiFilling,
  type IoiOrder,
  type IoiPattern,
} from './ioi-patterns.ts';
export { CATEGORIES, GIFTS, NAMES, PLACES, POOL, THINGS } from './lexicon.ts';
export { categoryList } from './lists.ts';
export { MersenneTwister } from './mersenne-twister.ts';
export { ORDINAL_LISTS, type OrdinalList } from './ordinal-lists.ts';
export { PERIOD_MIN, repeatedSequence } from './repeats.ts';
export { SPLIT_WORDS } from './split-words.ts';
export { succession } from './successions.ts';
export { GUESS_WEIGHT, type Piece, type Text, wholeText } from './text.ts';
