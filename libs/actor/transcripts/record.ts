// Records what jobs of today write, once per version of the events: `node libs/actor/transcripts/record.ts`.
// A recorded transcript is never changed: it stands for the journals that people have.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import {
  fold,
  initialState,
  type JobEvent,
  type JobMessage,
  type JobState,
  jobBehaviour,
  transition,
} from '../src/index.ts';

const VERSION = 3;
const START_MS = Date.UTC(2026, 10, 22);
const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}` as const;
const kept = (n: number, references: readonly number[] = []) => ({
  blob: digest(n),
  bytes: 1_000 * n,
  references: references.map(digest),
});

type Line = JobMessage extends infer M ? (M extends JobMessage ? Omit<M, 'nowMs'> : never) : never;

const submit = (tasks: number, reduce: boolean, tenant = ''): Line => ({
  type: 'submit',
  tenant,
  kind: 'lorsa.train',
  key: 'evening run',
  request: { layer: 2, steps: 400, model: 'bundled' },
  pinned: false,
  attemptsMax: 3,
  tasks: Array.from({ length: tasks }, (_, i) => ({
    input: { shard: i },
    references: [digest(i)],
  })),
  reduce,
});
const error = { code: 'unavailable', message: 'the disk was away', retryable: true } as const;
const final = { provenance: { seed: 7, versions: { heddle: '0.1.0' } } };

const TRANSCRIPTS: Readonly<Record<string, readonly Line[]>> = {
  'training-resumed': [
    submit(1, false),
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'checkpoint', task: 0, claim: 'w1.1', cursor: 100, ...kept(21, [30]) },
    { type: 'start', task: 0, claim: 'w2.1', sequence: 2 },
    { type: 'checkpoint', task: 0, claim: 'w2.1', cursor: 200, ...kept(22) },
    { type: 'release', task: 0, claim: 'w2.1' },
    { type: 'start', task: 0, claim: 'w3.1', sequence: 6 + 1 },
    { type: 'done', task: 0, claim: 'w3.1', ...kept(23, [31, 32]), ...final },
    { type: 'pin', pinned: true },
  ],
  'analysis-traced': [
    {
      ...submit(2, true),
      trace: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    } as Line,
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'done', task: 0, claim: 'w1.1', ...kept(50), ...final },
  ],
  'checkpoint-damaged': [
    submit(1, false),
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'checkpoint', task: 0, claim: 'w1.1', cursor: 100, ...kept(21, [30]) },
    { type: 'checkpoint', task: 0, claim: 'w1.1', cursor: 200, ...kept(22, [30]) },
    { type: 'start', task: 0, claim: 'w2.1', sequence: 2 },
    {
      type: 'lose-checkpoint',
      task: 0,
      claim: 'w2.1',
      blob: digest(22),
      reason: 'its bytes hash to something else',
    },
    { type: 'checkpoint', task: 0, claim: 'w2.1', cursor: 150, ...kept(24, [30]) },
  ],
  'analysis-reduced': [
    submit(2, true),
    { type: 'start', task: 1, claim: 'w1.1', sequence: 2 },
    { type: 'start', task: 0, claim: 'w2.1', sequence: 2 },
    { type: 'done', task: 1, claim: 'w1.1', ...kept(41), ...final },
    { type: 'done', task: 0, claim: 'w2.1', ...kept(40), ...final },
    { type: 'start', task: 2, claim: 'w1.2', sequence: 2 },
    { type: 'done', task: 2, claim: 'w1.2', ...kept(42, [40, 41]), ...final },
  ],
  'paused-failed-resumed': [
    submit(1, false),
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'pause' },
    { type: 'checkpoint', task: 0, claim: 'w1.1', cursor: 10, ...kept(50) },
    { type: 'release', task: 0, claim: 'w1.1' },
    { type: 'resume' },
    { type: 'start', task: 0, claim: 'w1.2', sequence: 7 },
    { type: 'fail', task: 0, claim: 'w1.2', error },
    { type: 'start', task: 0, claim: 'w1.3', sequence: 9 },
    { type: 'fail', task: 0, claim: 'w1.3', error: { ...error, retryable: false } },
  ],
  'of-a-tenant': [
    submit(2, true, 'alice@example.org'),
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'done', task: 0, claim: 'w1.1', ...kept(40, [60]), retained: 100_000, ...final },
    { type: 'start', task: 1, claim: 'w1.2', sequence: 2 },
    { type: 'done', task: 1, claim: 'w1.2', ...kept(41), retained: 41_000, ...final },
    { type: 'start', task: 2, claim: 'w2.1', sequence: 2 },
    { type: 'done', task: 2, claim: 'w2.1', ...kept(42, [60]), retained: 102_000, ...final },
  ],
  forgotten: [
    submit(1, false, 'alice@example.org'),
    { type: 'cancel' },
    { type: 'forget', sequence: 3 },
  ],
  cancelled: [
    submit(1, false),
    { type: 'start', task: 0, claim: 'w1.1', sequence: 2 },
    { type: 'cancel' },
  ],
};

for (const [name, lines] of Object.entries(TRANSCRIPTS)) {
  const path = new URL(`./v${VERSION}/${name}.json`, import.meta.url);
  if (existsSync(path)) continue;
  let state: JobState = initialState(`lorsa-train-${name}`);
  const events: JobEvent[] = [];
  for (const [i, line] of lines.entries()) {
    const [, effects] = transition(state, { ...line, nowMs: START_MS + 10_000 * i } as JobMessage);
    for (const effect of effects) if (effect.type === 'append') events.push(...effect.events);
    state = events
      .slice(state.sequence)
      .reduce((next, event) => fold(next, jobBehaviour.decode(jobBehaviour.encode(event))), state);
  }
  mkdirSync(new URL('.', path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ version: VERSION, events, state }, null, 1)}\n`);
}
