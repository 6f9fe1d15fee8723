import { serve } from '@heddle/adapters/grpc';
import type { OperationError } from '@heddle/core';
import { writeSafetensors } from '@heddle/formats';
import { type ContractHandlers, type Log, tensorParts } from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import type { ClusterHost, CommandIo, LocalCluster } from './cluster-host.ts';
import { HEAD_CARD } from './fake-head-card.ts';

/** For tests of the command line: a cluster of canned answers, and a terminal that remembers. */

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
const PATTERN = tensor('f32', [1, 2, 2], Float32Array.of(1, 0, 0.25, Number.NEGATIVE_INFINITY));

export interface FakeCluster {
  readonly host: ClusterHost;
  readonly address: string;
  /** Methods that were called, in order. */
  readonly calls: string[];
  /** From now on a process seems to own the data directory. */
  owned: boolean;
  /** From now on every method fails with this. */
  failure: OperationError | undefined;
  /** From now on jobs run until they are cancelled. */
  endless: boolean;
  /** What running jobs say that they wait for. */
  waits: string;
  readonly broughtUp: string[];
  close(): Promise<void>;
}

const MODEL = { name: 'bundled', family: 'gpt2', n_layers: 1, weight_bytes: 4096, bundled: true };
const SUMMARY = {
  fvu: 0.25,
  points: [
    { layer: 1, n_ov_heads: 8, top_k: 2, seed: 0, job: 'a', fvu: 0.5, seconds: 1, error: '' },
  ],
  trained: 1,
  failed: 0,
  hook_out: 'blocks.1.hook_attn_out',
  text: {
    source: 'held-out',
    tokens: 9,
    documents: 2,
    documents_left_out: 0,
    trained_on_known: true,
  },
  downstream: { predictions: 7, every_nth_sequence: 1 },
  rows: [
    {
      ...{ name: 'lorsa', fvu: 0.25, fvu_error: null, ev: 0.75, relative_l2: 0.5, l0: 2, dead: 1 },
      ...{ dead_share: 0.5, ce: 1, ce_increase: 0, ce_increase_error: null },
      ...{ loss_recovered: 1, loss_recovered_error: null },
    },
  ],
  fvu_at_k: [],
  features: [{ feature: 'f', head: '0.0', rank: 1, singular_values: [2, 0.5] }],
  graphs: [{ prompt: 0, nodes: 2, edges: 1, value: 1, sum: 1, strongest: [] }],
  sources: [{ source: '0.0', position: 1, contribution: 0.5 }],
  value: 0.5,
  sum: 0.5,
  residual: 0,
  terms_abs_sum: 0.5,
};

export async function fakeCluster(): Promise<FakeCluster> {
  const cancelled = Promise.withResolvers<void>();
  const cluster = {
    calls: [] as string[],
    broughtUp: [] as string[],
    owned: false,
    endless: false,
    waits: '',
  };
  const state: Omit<FakeCluster, 'host' | 'address' | 'close'> = {
    ...cluster,
    failure: undefined,
  };
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    log,
    handlers: recorded(handlers(state, cancelled), state),
  });
  const address = `127.0.0.1:${server.port}`;
  const host: ClusterHost = {
    findOwner: async () => (state.owned ? { pid: 1, address } : undefined),
    async bringUp({ contracts }) {
      state.broughtUp.push(contracts.join(','));
      const local: LocalCluster = {
        address,
        pages: 'http://127.0.0.1:1',
        abandoned: new Promise(() => {}),
        close: async () => {},
      };
      return local;
    },
  };
  return Object.assign(state, { host, address, close: () => server.close(0) });
}

type State = Omit<FakeCluster, 'host' | 'address' | 'close'>;

/** Notes each call, and fails it where the test says so. */
function recorded(contracts: ContractHandlers, state: State): ContractHandlers {
  type Method = (request: never, call: never) => unknown;
  const wrap = ([name, method]: [string, Method]) => {
    const wrapped = (request: never, call: never) => {
      state.calls.push(name);
      if (state.failure !== undefined) throw state.failure;
      return method(request, call);
    };
    return [name, wrapped];
  };
  const wrapped = Object.entries(contracts).map(([contract, methods]) => {
    const entries = Object.entries(methods as Record<string, Method>);
    return [contract, Object.fromEntries(entries.map(wrap))];
  });
  return Object.fromEntries(wrapped) as ContractHandlers;
}

function handlers(state: State, cancelled: PromiseWithResolvers<void>): ContractHandlers {
  const job = { id: 'fake-1', kind: 'qk.fit', state: 'JOB_STATE_SUCCEEDED', ended_ms: 2 } as const;
  const start = async () => ({ job: { id: 'fake-1' } });
  const one = async () => ({ job });
  return {
    activation: {
      ImportModel: async () => ({ model: MODEL }),
      StartImportModel: start,
      ListModels: async () => ({ models: [MODEL] }),
      DescribeModel: async () => ({ model: MODEL }),
      RemoveModel: async () => ({}),
      ListHooks: async () => ({
        hooks: [{ name: 'hook_embed', axes: ['pos', 'd_model'], shape: [0, 4], available: true }],
      }),
      Tokenize: async () => ({ tokens: [{ id: 5, text: ' a' }] }),
      StartCacheActivations: start,
      async *Run({ prompts }, { signal }) {
        while (state.endless && !signal.aborted) await new Promise((r) => setTimeout(r, 5));
        yield { start: { prompts: prompts.map(() => ({ tokens: { ids: [1, 2] } })) } };
        yield* tensorParts(PATTERN, { name: 'a.hook', axes: ['head', 'query_pos', 'key_pos'] });
        const method = 'heddle.activation.v1.ActivationService/Run';
        const request_json = '{"hooks":["a.hook"],"prompts":[{"text":"x"}]}';
        yield { end: { provenance: { method, request_json } } };
      },
    },
    lorsa: {
      StartTrain: start,
      StartSweep: start,
      StartBaseline: start,
      StartEvaluate: start,
      StartImport: start,
      async *Export() {
        yield { file: { name: 'config.json', bytes: 2 } };
        yield { chunk: new TextEncoder().encode('{}') };
      },
      StartAnalysis: start,
      ListHeads: async () => ({ heads: [HEAD_CARD.summary] }),
      DescribeHead: async () => HEAD_CARD,
      async *Apply(requests) {
        for await (const _ of requests);
        yield* tensorParts(PATTERN, { name: 'feature_acts' });
        yield { end: { l0: 1 } };
      },
    },
    qk: { StartFit: start },
    circuit: { StartTrace: start },
    attribution: { StartWhy: start },
    jobs: {
      Get: one,
      Pause: one,
      Resume: one,
      Rerun: start,
      List: async () => ({ jobs: [job] }),
      async Cancel() {
        cancelled.resolve();
        return { job: { ...job, state: 'JOB_STATE_CANCELLED' } };
      },
      async *Watch() {
        const running = { ...job, state: 'JOB_STATE_RUNNING', ended_ms: undefined } as const;
        yield { job: { ...running, sequence: 1, waits_for: state.waits } };
        if (state.endless) await cancelled.promise;
        yield { job: { ...job, sequence: 2 } };
      },
      Result: async () => ({
        job,
        summary_json: JSON.stringify(SUMMARY),
        artifacts: ['checkpoint.safetensors', 'qk.safetensors', 'graph.json'].map((name) => ({
          name,
          digest: 'sha256:00',
        })),
      }),
      async *ReadArtifact({ name }) {
        const bytes = name.endsWith('.json') ? '{}' : undefined;
        yield { artifact: { name } };
        yield { data: bytes ? Buffer.from(bytes) : writeSafetensors({ x: PATTERN }) };
      },
      CollectGarbage: async () => ({ freed: [{ kind: 'blobs', count: 2, bytes: 2048 }] }),
    },
  };
}

export interface FakeIo extends CommandIo {
  readonly out: string[];
  readonly err: string[];
  /** Presses Ctrl-C. */
  interrupt(): void;
  readonly exits: number[];
}

export function fakeIo(workingDirectory: string, stdin = ''): FakeIo {
  const out: string[] = [];
  const err: string[] = [];
  const exits: number[] = [];
  let listener = () => {};
  return {
    out,
    err,
    exits,
    stdout: (text) => void out.push(text),
    stderr: (text) => void err.push(text),
    stdin: async () => Buffer.from(stdin),
    terminal: false,
    environment: {},
    workingDirectory,
    onInterrupt(heard) {
      listener = heard;
      return () => {};
    },
    exit: (status) => void exits.push(status),
    interrupt: () => listener(),
  };
}
