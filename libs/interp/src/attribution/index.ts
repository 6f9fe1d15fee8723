export { PAIRS_LISTED, PAIRS_MAX } from './limits.ts';
export {
  type LogitAttribution,
  type PairTerm,
  type ScoreAttribution,
  type ScoreQuestion,
  type Side,
  type Sum,
  sumOf,
  type Term,
  termName,
  whyLogit,
  whyScore,
} from './why.reference.ts';
