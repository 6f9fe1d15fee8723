import { type AlertCases, grows, LORSA, of, still, WORKER } from './alert-cases.ts';

const KIND = { namespace: 'h', kind: 'lorsa.train' };
const kind = (name: string, more = '', target = LORSA): string =>
  `${name}{${target}, kind="lorsa.train"${more}}`;
const queue = (state: string): string => kind('jobs_queue_messages', `, state="${state}"`);
const attempts = (outcome: string): string =>
  kind('jobs_attempts_total', `, outcome="${outcome}"`, WORKER);
const settled = (outcome: string): string =>
  kind('jobs_settled_total', `, outcome="${outcome}"`, WORKER);
const slots = (all: number, busy: number) => ({
  [kind('jobs_worker_slots', '', WORKER)]: still(all),
  [kind('jobs_worker_slots_busy', '', WORKER)]: still(busy),
});
const appends = (outcome: string): string =>
  `stores_operations_total{${LORSA}, operation="journal.append", outcome="${outcome}"}`;

export const JOB_CASES: Readonly<Record<string, AlertCases>> = {
  HeddleQueueStandsStill: {
    fires: {
      series: {
        [queue('waiting')]: still(3),
        [queue('working')]: still(0),
        [attempts('done')]: still(9),
      },
      at: '20m',
      fires: KIND,
    },
    silent: {
      // Between two tasks nothing is worked on for a moment; attempts end all the same.
      series: {
        [queue('waiting')]: still(3),
        [queue('working')]: still(0),
        [attempts('done')]: '0+1x180',
      },
      at: '40m',
    },
  },
  HeddleJobsWaitLong: {
    fires: {
      series: { [kind('jobs_oldest_queued_seconds')]: still(4000) },
      at: '10m',
      fires: KIND,
    },
    silent: { series: { [kind('jobs_oldest_queued_seconds')]: still(600) }, at: '10m' },
  },
  HeddleWorkersSaturated: {
    fires: { series: { [queue('waiting')]: still(3), ...slots(2, 2) }, at: '40m', fires: KIND },
    // A front door without workers is not saturated: its workers are at zero.
    silent: { series: { [queue('waiting')]: still(3), ...slots(0, 0) }, at: '40m' },
  },
  HeddleTasksHeld: {
    fires: {
      series: { [kind('jobs_tasks_held')]: still(9), ...slots(100, 64) },
      at: '20m',
      fires: KIND,
    },
    silent: { series: { [kind('jobs_tasks_held')]: still(9), ...slots(2, 2) }, at: '20m' },
  },
  HeddleJobsRefused: {
    fires: {
      series: { [kind('jobs_refused_total', ', reason="queue"')]: grows(1) },
      at: '62m',
      fires: { ...KIND, reason: 'queue' },
    },
    silent: { series: { [kind('jobs_refused_total', ', reason="quota"')]: grows(1) }, at: '62m' },
  },
  HeddleQuotaReached: {
    fires: {
      series: { [kind('jobs_refused_total', ', reason="quota"')]: grows(2) },
      at: '75m',
      fires: KIND,
    },
    silent: {
      series: { [kind('jobs_refused_total', ', reason="quota"')]: '0+0x60 3+0x60' },
      at: '75m',
    },
  },
  HeddleJobsFail: {
    fires: {
      series: { [settled('failed')]: grows(1), [settled('completed')]: grows(1) },
      at: '80m',
      fires: { ...KIND, outcome: 'failed' },
    },
    silent: {
      series: {
        [settled('failed')]: grows(1),
        [settled('completed')]: grows(20),
        [settled('cancelled')]: grows(5),
      },
      at: '80m',
    },
  },
  HeddleRedeliveries: {
    fires: { series: { [kind('jobs_redeliveries_total')]: grows(2) }, at: '80m', fires: KIND },
    // A rollout hands back what each worker had, once.
    silent: { series: { [kind('jobs_redeliveries_total')]: '0+0x60 6+0x60' }, at: '80m' },
  },
  HeddleWorkLost: {
    fires: { series: { [attempts('lost')]: grows(1) }, at: '80m', fires: KIND },
    silent: {
      series: { [attempts('released')]: grows(5), [attempts('lost')]: '0+0x60 1+0x60' },
      at: '80m',
    },
  },
  HeddleFenceStorm: {
    fires: {
      series: {
        [`jobs_appends_fenced_total{${LORSA}, message="start"}`]: grows(120),
        [appends('aborted')]: grows(120),
        [appends('ok')]: grows(100),
      },
      at: '80m',
      fires: { namespace: 'h' },
    },
    silent: {
      series: {
        [`jobs_appends_fenced_total{${LORSA}, message="start"}`]: grows(120),
        [appends('aborted')]: grows(120),
        [appends('ok')]: grows(6000),
      },
      at: '80m',
    },
  },
  HeddleDeadLetters: {
    fires: { series: { [kind('jobs_dead_letters')]: '2+0x60 3+0x60' }, at: '65m', fires: KIND },
    silent: {
      // Old letters stay for people to read; a new process sees them at once.
      series: {
        [kind('jobs_dead_letters')]: still(2),
        [kind('jobs_dead_letters', '', WORKER)]: '_x30 2+0x60',
      },
      at: '65m',
    },
  },
  HeddleCheckpointsLost: {
    fires: {
      series: { [kind('jobs_checkpoints_lost_total')]: '0+0x60 1+0x60' },
      at: '65m',
      fires: KIND,
    },
    silent: { series: { [kind('jobs_checkpoints_lost_total')]: still(1) }, at: '65m' },
  },
  HeddleJournalUnreadable: {
    fires: {
      series: { [`jobs_journals_unreadable{${LORSA}}`]: still(1) },
      at: '5m',
      fires: { namespace: 'h' },
    },
    silent: { series: { [`jobs_journals_unreadable{${LORSA}}`]: still(0) }, at: '5m' },
  },
  HeddleEffectsLost: {
    fires: {
      series: { [`jobs_effects_lost_total{${LORSA}}`]: grows(2) },
      at: '80m',
      fires: { namespace: 'h' },
    },
    silent: { series: { [`jobs_effects_lost_total{${LORSA}}`]: '0+0x60 4+0x60' }, at: '80m' },
  },
  HeddleActorFalls: {
    fires: {
      series: { [`jobs_actor_falls_total{${LORSA}}`]: '0+0x60 1+0x60' },
      at: '65m',
      fires: { namespace: 'h', service: 'lorsa' },
    },
    silent: { series: { [`jobs_actor_falls_total{${of('qk')}}`]: still(0) }, at: '65m' },
  },
};
