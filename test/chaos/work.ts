import { createHash } from 'node:crypto';
import type { Heddle } from '@heddle/client';
import { OperationError, present } from '@heddle/core';
import type { Init } from '@heddle/ports';
import type { Contrast } from '@heddle/ports/proto/qk';
import type { Planned, Work } from './schedule.ts';

/** A client that goes on asking while the cluster says that it is away or full: so long, so often. */
const PATIENCE_MS = 120_000;
const RETRY_MS = 100;

const NAMES = ['Mary', 'Sarah', 'Anna', 'Kate', 'Laura', 'Emily', 'John', 'Paul', 'Kevin', 'Simon'];
const text = (a: string, b: string): string =>
  `When ${a} and ${b} went to the store, ${b} gave a drink to`;

/** Does what a client with patience does: again while `unavailable`, or refused with a delay. */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      const { code, retryable } = OperationError.from(thrown);
      const passing = code === 'unavailable' || code === 'deadline_exceeded' || retryable;
      if (!passing || performance.now() > untilMs) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Real jobs of 3 to 6 s on one core, on the model that comes with Heddle. */
export class Workload {
  private readonly heddle: Heddle;
  private contrasts: readonly Init<Contrast>[] = [];
  private activations: readonly string[] = [];
  private d = { model: 0, head: 0, heads: 0 };

  constructor(heddle: Heddle) {
    this.heddle = heddle;
  }

  /** What the requests name: positions of tokens, and activations to train on, which are kept for the whole run. */
  async prepare(): Promise<void> {
    const { activation } = this.heddle;
    const { model } = await patiently(() => activation.DescribeModel({ model: '' }));
    const { d_model, d_head, n_heads } = present(model, 'model');
    this.d = { model: d_model, head: d_head, heads: n_heads };
    this.contrasts = await this.drawContrasts();
    this.activations = await Promise.all([0, 1].map((layer) => this.captureFor(layer)));
  }

  /** Starts a job; asked again under the same key, the same job is meant. Its id. */
  async start({ work, variant }: Planned, key: string): Promise<string> {
    const { job } = await patiently(() => this.ask(work, variant, key));
    return present(job, 'job').id;
  }

  /** The digest of all that a job made, without what it says of its own duration. */
  async digestOf(id: string): Promise<string> {
    const { artifacts } = await patiently(() => this.heddle.outcome(id));
    if (artifacts.length === 0) throw new Error(`${id} made nothing`);
    const named = artifacts.map(({ name, digest, bytes }) => `${name} ${digest} ${bytes}`);
    return createHash('sha256').update(named.sort().join('\n')).digest('hex').slice(0, 16);
  }

  private ask(work: Work, variant: number, client_key: string) {
    const { activation, circuit, lorsa, qk } = this.heddle;
    switch (work) {
      case 'train':
        return lorsa.StartTrain({
          ...{ client_key, layer: variant, seed: 3 + variant, checkpoint_steps: 80 },
          architecture: {
            n_ov_heads: 2 * this.d.model,
            ...{ n_qk_heads: this.d.heads, d_qk_head: this.d.head, top_k: 24 },
          },
          optimiser: { steps: 1000, batch: 8, context: 48, learning_rate: 4e-3, warmup_steps: 5 },
          data: { activations: this.activations[variant] ?? '' },
        });
      case 'trace':
        return circuit.StartTrace({
          ...{ client_key, dataset: { name: 'ioi', count: 32, seed: 3 + variant } },
        });
      case 'fit':
        return qk.StartFit({ client_key, contrasts: this.contrasts.slice(variant * 9) });
      case 'cache': {
        const prompts = sentences(2_700, 5 + variant);
        // A pass has its name from what is asked: the same question is asked again only after its answer was collected.
        return activation.StartCacheActivations({
          ...{ client_key, prompts, context: 48 },
          hooks: ['blocks.2.ln1.hook_normalized', 'blocks.2.hook_attn_out'],
        });
      }
      default:
        throw new Error(`no work ${work satisfies never}`);
    }
  }

  private async captureFor(layer: number): Promise<string> {
    const { activation, jobs } = this.heddle;
    const hooks = [`blocks.${layer}.ln1.hook_normalized`, `blocks.${layer}.hook_attn_out`];
    const asked = { hooks, prompts: sentences(400, layer), context: 48 };
    const { job } = await patiently(() => activation.StartCacheActivations(asked));
    const { id } = present(job, 'job');
    const { state, error } = await patiently(() => this.heddle.waitForJob(id));
    if (state !== 'JOB_STATE_SUCCEEDED') throw new Error(`${id} is ${state}: ${error?.message}`);
    await patiently(() => jobs.Pin({ id, pinned: true }));
    return id;
  }

  private async drawContrasts() {
    const contrasts = [];
    for (const a of NAMES) {
      for (const b of NAMES.filter((other) => other !== a)) {
        const prompt = { text: text(a, b) };
        const { tokens } = await patiently(() => this.heddle.activation.Tokenize({ prompt }));
        const places = (name: string): number[] =>
          tokens.flatMap((token, position) => (token.text.trim() === name ? [position] : []));
        const query = tokens.length - 1;
        const [positive, negative] = [places(a), places(b)];
        if (positive.length === 0 || negative.length === 0) continue; // a name of several tokens
        // A feature for each pair: many small fits, between which a worker hears what it is told.
        contrasts.push({ feature: `${a} ${b}`, prompt, query, positive, negative });
      }
    }
    return contrasts;
  }
}

function sentences(count: number, seed: number): { text: string }[] {
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = [NAMES[(i + seed) % NAMES.length], NAMES[(i * 7 + 3 * seed) % NAMES.length]];
    return { text: `${text(a ?? '', b ?? '')} their friend number ${(i * 31 + seed) % 97}.` };
  });
}
