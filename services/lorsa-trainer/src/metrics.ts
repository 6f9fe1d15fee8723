import type { MetricSpec } from '@heddle/ports';

/** What the trainer counts. Gauges show the training that reported last. */
export const LORSA_METRICS: readonly MetricSpec[] = [
  {
    name: 'lorsa_trainer_steps_total',
    kind: 'counter',
    unit: 'steps',
    help: 'Training steps done',
  },
  {
    name: 'lorsa_trainer_tokens_total',
    kind: 'counter',
    unit: 'tokens',
    help: 'Valid tokens trained on',
  },
  {
    name: 'lorsa_trainer_step_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of one training step',
    buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
  },
  {
    name: 'lorsa_trainer_fvu_ratio',
    kind: 'gauge',
    unit: 'ratio',
    help: 'Fraction of variance unexplained on the last training batches',
  },
  {
    name: 'lorsa_trainer_dead_heads',
    kind: 'gauge',
    unit: 'heads',
    help: 'Heads that have not fired for the dead-head threshold',
  },
  {
    name: 'lorsa_trainer_loss',
    kind: 'gauge',
    unit: 'ratio',
    help: 'Training loss of the last step: squared error per token in normalised units, and AuxK',
  },
  {
    name: 'lorsa_trainer_l0_heads',
    kind: 'gauge',
    unit: 'heads',
    help: 'Heads active per token on the last training batches',
  },
  {
    name: 'lorsa_trainer_dense_heads',
    kind: 'gauge',
    unit: 'heads',
    help: 'Heads active on more than a tenth of the tokens of the last training batches',
  },
  {
    name: 'lorsa_trainer_gradient_norm',
    kind: 'gauge',
    unit: 'ratio',
    help: 'Norm of the last gradient before clipping',
  },
  {
    name: 'lorsa_trainer_learning_rate',
    kind: 'gauge',
    unit: 'ratio',
    help: 'Learning rate of the last step',
  },
  {
    name: 'lorsa_trainer_tokens_per_second',
    kind: 'gauge',
    unit: 'tokens_per_second',
    help: 'Valid tokens trained on per second',
  },
  {
    name: 'lorsa_trainer_top_k_heads',
    kind: 'gauge',
    unit: 'heads',
    help: 'Heads that may be active per token at the last step',
  },
  {
    name: 'lorsa_trainer_applied_tokens_total',
    kind: 'counter',
    unit: 'tokens',
    help: 'Tokens that checkpoints were applied to',
  },
  {
    name: 'lorsa_trainer_analysed_tokens_total',
    kind: 'counter',
    unit: 'tokens',
    help: 'Valid tokens on which heads were looked at',
  },
];
