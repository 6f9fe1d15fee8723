import { type DashboardSpec, lines, NAMESPACE, NS, quantile, type RowSpec, stat } from './panel.ts';

const ONE = `${NS}, kind=~"$kind"`;

const WAITING: RowSpec = {
  title: 'When is it my turn?',
  panels: [
    stat('Waiting', `sum(max by (kind) (jobs_open{status="queued", ${ONE}}))`, {
      description: 'Jobs of this kind that no worker has begun.',
      unit: 'none',
    }),
    stat('Running', `sum(max by (kind) (jobs_open{status="running", ${ONE}}))`, {
      description: 'Jobs of this kind that are worked on.',
      unit: 'none',
    }),
    stat('Paused', `sum(max by (kind) (jobs_open{status="paused", ${ONE}}))`, {
      description: 'They wait for `heddle job resume`.',
      unit: 'none',
    }),
    stat('Longest wait', `max(jobs_oldest_queued_seconds{${ONE}})`, {
      description: 'Of the job that has waited longest.',
      unit: 's',
      thresholds: { warn: 1800, bad: 3600 },
      alert: 'HeddleJobsWaitLong',
    }),
    stat(
      'Usual time',
      `histogram_quantile(0.5, sum by (le) (increase(jobs_duration_seconds_bucket{outcome="completed", ${ONE}}[1d])))`,
      {
        description: 'From asking to the result, with the wait; the median of a day.',
        unit: 's',
      },
    ),
    stat(
      'Nineteen of twenty within',
      `histogram_quantile(0.95, sum by (le) (increase(jobs_duration_seconds_bucket{outcome="completed", ${ONE}}[1d])))`,
      {
        description: 'From asking to the result, with the wait, of a day.',
        unit: 's',
      },
    ),
    lines(
      'Tasks on the queue',
      {
        'waiting {{kind}}': `namespace_kind:jobs_queue_waiting:max{${ONE}}`,
        'in work {{kind}}': `namespace_kind:jobs_queue_working:max{${ONE}}`,
        'held back for their tenant {{kind}}': `max by (kind) (jobs_tasks_held{${ONE}})`,
      },
      {
        description:
          'A tenant has a bounded number on the queue; the rest is held back, so that a newcomer waits for one window of each other.',
        unit: 'none',
        width: 12,
        alert: 'HeddleQueueStandsStill',
      },
    ),
    lines(
      'Workers',
      {
        'slots busy': `sum(namespace_kind:jobs_worker_slots_busy:sum{${ONE}})`,
        slots: `sum(namespace_kind:jobs_worker_slots:sum{${ONE}})`,
      },
      {
        description:
          'Tasks that can be worked on at a time. Workers come when tasks wait, within minutes.',
        unit: 'none',
        width: 12,
        alert: 'HeddleWorkersSaturated',
      },
    ),
  ],
};

const ENDS: RowSpec = {
  title: 'How do they end?',
  panels: [
    lines(
      'Ended',
      {
        '{{outcome}}': `sum by (outcome) (increase(jobs_settled_total{${ONE}}[$__rate_interval]))`,
        accepted: `sum(increase(jobs_submitted_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Jobs, by how they ended.', unit: 'none', alert: 'HeddleJobsFail' },
    ),
    lines(
      'From asking to the result',
      {
        'p50 {{kind}}': quantile(
          0.5,
          'jobs_duration_seconds',
          `outcome="completed", ${ONE}`,
          'kind',
        ),
        'p95 {{kind}} in an hour': `namespace_kind:jobs_duration_seconds:p95_1h{${ONE}}`,
      },
      { description: 'With the wait.', unit: 's' },
    ),
    lines(
      'Attempts',
      {
        '{{outcome}}': `sum by (outcome) (increase(jobs_attempts_total{${ONE}}[$__rate_interval]))`,
        'delivered again': `sum(increase(jobs_redeliveries_total{${ONE}}[$__rate_interval]))`,
      },
      {
        description: 'At tasks. Released and delivered again is a worker that went.',
        unit: 'none',
        alert: 'HeddleRedeliveries',
      },
    ),
    lines(
      'Refused',
      {
        '{{reason}}': `sum by (reason) (increase(jobs_refused_total{${ONE}}[$__rate_interval]))`,
      },
      {
        description: 'Queue full, past a budget, past a quota.',
        unit: 'none',
        alert: 'HeddleJobsRefused',
      },
    ),
    lines(
      'Checkpoints',
      {
        written: `sum(rate(jobs_checkpoint_bytes_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'What a lost worker costs is the time since the last one.', unit: 'Bps' },
    ),
    lines(
      'Trouble',
      {
        'checkpoints lost': `sum(increase(jobs_checkpoints_lost_total{${ONE}}[$__rate_interval]))`,
        'dead letters {{kind}}': `max by (kind) (jobs_dead_letters{${ONE}})`,
      },
      {
        description: 'Damaged checkpoints, and messages that were given up.',
        unit: 'none',
        alert: 'HeddleDeadLetters',
      },
    ),
  ],
};

const TRAINING: RowSpec = {
  title: 'Lorsa: trainings and what is done with them',
  collapsed: true,
  panels: [
    lines(
      'Speed',
      {
        'tokens a second {{instance}}': `lorsa_trainer_tokens_per_second{${NS}}`,
        'steps a second': `sum(rate(lorsa_trainer_steps_total{${NS}}[$__rate_interval]))`,
      },
      {
        description: 'Of each worker’s last report.',
        unit: 'short',
        alert: 'HeddleTrainingStandsStill',
      },
    ),
    lines(
      'Fraction of variance unexplained',
      { '{{instance}}': `lorsa_trainer_fvu_ratio{${NS}}` },
      {
        description: 'On the last training batches; lower is better.',
        unit: 'percentunit',
      },
    ),
    lines(
      'Loss',
      { '{{instance}}': `lorsa_trainer_loss{${NS}}` },
      {
        description: 'Squared error per token in normalised units, and AuxK.',
        unit: 'short',
      },
    ),
    lines(
      'Heads',
      {
        'active per token {{instance}}': `lorsa_trainer_l0_heads{${NS}}`,
        'may be active {{instance}}': `lorsa_trainer_top_k_heads{${NS}}`,
        'dead {{instance}}': `lorsa_trainer_dead_heads{${NS}}`,
        'dense {{instance}}': `lorsa_trainer_dense_heads{${NS}}`,
      },
      {
        description:
          'Dead heads have not fired for long; dense ones fire on a tenth of the tokens.',
        unit: 'none',
      },
    ),
    lines(
      'Gradient and rate',
      {
        'gradient norm {{instance}}': `lorsa_trainer_gradient_norm{${NS}}`,
        'learning rate {{instance}}': `lorsa_trainer_learning_rate{${NS}}`,
      },
      { description: 'Before clipping.', unit: 'short' },
    ),
    lines(
      'Time of a step',
      {
        p50: quantile(0.5, 'lorsa_trainer_step_seconds', NS),
        p95: quantile(0.95, 'lorsa_trainer_step_seconds', NS),
      },
      { description: 'With its wait for activations.', unit: 's' },
    ),
    lines(
      'Tokens',
      {
        trained: `sum(rate(lorsa_trainer_tokens_total{${NS}}[$__rate_interval]))`,
        applied: `sum(rate(lorsa_trainer_applied_tokens_total{${NS}}[$__rate_interval]))`,
        analysed: `sum(rate(lorsa_trainer_analysed_tokens_total{${NS}}[$__rate_interval]))`,
      },
      { description: 'A second, of all workers.', unit: 'cps' },
    ),
  ],
};

const ACTIVATIONS: RowSpec = {
  title: 'Activations and models',
  collapsed: true,
  panels: [
    lines(
      'Tokens cached',
      {
        '{{family}}': `sum by (family) (rate(activation_cached_tokens_total{${NS}}[$__rate_interval])) > 0`,
      },
      { description: 'A second, written to shards.', unit: 'cps' },
    ),
    lines(
      'Shards',
      {
        'p95 of one': quantile(0.95, 'activation_cache_shard_seconds', NS),
        'in 5 minutes': `sum(increase(activation_cached_shards_total{${NS}}[5m]))`,
      },
      { description: 'Read, run and written.', unit: 's' },
    ),
    lines(
      'Written',
      {
        activations: `sum(rate(activation_cached_bytes_total{${NS}}[$__rate_interval]))`,
        'models fetched': `sum(rate(models_fetched_bytes_total{${NS}}[$__rate_interval]))`,
      },
      { description: 'Bytes a second.', unit: 'Bps' },
    ),
    lines(
      'Passes asked for',
      {
        '{{outcome}}': `sum by (outcome) (increase(activation_cache_requests_total{${NS}}[$__rate_interval]))`,
      },
      { description: 'Begun, answered with one that was there, or refused.', unit: 'none' },
    ),
  ],
};

/** One kind of job: for who waits for one. */
export const KIND: DashboardSpec = {
  uid: 'heddle-kind',
  title: 'Heddle: kind of job',
  description: 'How long it will take, whether it moves, how such jobs end.',
  variables: [
    NAMESPACE,
    { name: 'kind', label: 'Kind', metric: `jobs_open{${NS}}`, of: 'kind', multi: true },
  ],
  rows: [WAITING, ENDS, TRAINING, ACTIVATIONS],
};
