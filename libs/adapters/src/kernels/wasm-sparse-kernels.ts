import { assert } from '@heddle/core';
import {
  CLIP_EPSILON,
  type LorsaParameter,
  parameterNames,
  parameterShape,
  stateFeeds,
} from '@heddle/interp/lorsa';
import type {
  RowGradients,
  SparseBatch,
  SparseChoice,
  SparseGate,
  SparseKernels,
  SparsePairs,
  SparseSizes,
  SparseSums,
  SparseUpdate,
} from '@heddle/ports';
import { bindAxes, type DataByDType, type Tensor, tensor } from '@heddle/tensor';
import { collectSoon } from './collect-soon.ts';
import { KernelPool } from './kernel-pool.ts';
import { gradientName, type Kind, type Layout, ROW_PARAMETERS, squaresName } from './layout.ts';
import { COLLECT_BYTES_MIN, SUM_ROWS } from './limits.ts';
import { adamFloats, PhaseBook } from './phases.ts';
import type { Phase } from './protocol.ts';

export interface OpenOptions {
  readonly sizes: SparseSizes;
  readonly layout: Layout;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
  /** Hears how long each kernel took: for measurements. */
  readonly onPhase?: ((kernel: string, ms: number) => void) | undefined;
}

const VIEWS = { f32: Float32Array, i32: Int32Array, f64: Float64Array } as const;

/** `SparseKernels` in WebAssembly: this thread copies a step's small tensors in and sums up parts; the pool computes. */
export class WasmSparseKernels implements SparseKernels {
  readonly state: Readonly<Record<string, Tensor<'f32'>>>;
  readonly decoderNorms: Tensor<'f32'>;
  private readonly options: OpenOptions;
  private readonly sizes: SparseSizes;
  private readonly pool: KernelPool;
  private readonly book: PhaseBook;
  private readonly parameters: readonly LorsaParameter[];
  /** Tokens of the last `backward`, whose pairs and errors stand in the memory. */
  private tokens = 0;

  private constructor(options: OpenOptions, pool: KernelPool) {
    const { sizes, layout } = options;
    this.options = options;
    this.sizes = sizes;
    this.pool = pool;
    this.book = new PhaseBook(sizes, layout);
    this.parameters = parameterNames(sizes.config);
    const entries = this.parameters.flatMap((name) => {
      const shape = parameterShape(sizes.config, name);
      const feeds = Object.values(stateFeeds(name));
      return feeds.map((feed) => [feed, tensor('f32', shape, this.view(feed, 'f32'))] as const);
    });
    this.state = Object.fromEntries(entries);
    const { n_ov_heads } = sizes.config;
    this.decoderNorms = tensor('f32', [n_ov_heads], this.view('decoder_norms', 'f32'));
    this.view('gains', 'f32').fill(1);
  }

  static async open(options: OpenOptions): Promise<WasmSparseKernels> {
    return new WasmSparseKernels(options, await KernelPool.start(options));
  }

  mixed(batch: number, pos: number): Tensor<'f32'> {
    return this.perGroup('mixed', batch, pos);
  }

  cotangent(batch: number, pos: number): Tensor<'f32'> {
    return this.perGroup('cotangent', batch, pos);
  }

  reads(batch: number, pos: number): Tensor<'f32'> {
    const { n_qk_heads, n_ov_heads } = this.sizes.config;
    const shape = [n_qk_heads, batch * pos, n_ov_heads / n_qk_heads];
    return tensor('f32', shape, this.view('reads', 'f32', batch * pos * n_ov_heads));
  }

  async gate({ batch, pos, winners, auxiliary }: SparseGate): Promise<SparseChoice> {
    const tokens = batch * pos;
    const gains = this.sizes.config.decoderNormInGate ? 'decoder_norms' : 'gains';
    const given = typeof winners !== 'number';
    const slots = given ? (winners.shape[1] ?? 0) : winners;
    if (given) this.copyIndices('active', winners.data);
    const auxSlots = auxiliary?.topK ?? 0;
    if (auxiliary) this.weighDead(gains, auxiliary.dead);
    const list = (name: string, each: number) => this.room(name, tokens * each);
    await this.run([
      this.book.choose(given ? 'replay' : 'gate', list('active', slots), gains, { tokens, slots }),
      ...(auxSlots > 0
        ? [
            this.book.choose('gate', list('auxiliary', auxSlots), 'dead_gains', {
              ...{ tokens, slots: auxSlots },
            }),
          ]
        : []),
    ]);
    const active = this.copyPairsOut('active', tokens, slots);
    if (auxSlots === 0) return { active };
    return { active, auxiliary: this.copyPairsOut('auxiliary', tokens, auxSlots) };
  }

  async measureNorms(): Promise<void> {
    await this.run([this.book.norms()]);
  }

  async backward(batch: SparseBatch): Promise<SparseSums> {
    const tokens = this.copyIn(batch);
    const valid = this.view('valid', 'f32', tokens);
    let counted = 0;
    for (const counts of valid) counted += counts;
    const scale = 2 / counted;
    this.tokens = tokens;
    await this.run(this.book.backward(batch, tokens, scale));

    const { auxiliary } = batch;
    const errorSum = sum(this.view('error_squares', 'f64', tokens));
    const auxiliarySum = auxiliary ? sum(this.view('auxiliary_squares', 'f64', tokens)) : 0;
    this.gatherBias(tokens, scale);
    return {
      loss: errorSum / counted,
      auxiliaryLoss: auxiliary ? (auxiliary.coefficient * auxiliarySum) / counted : 0,
      tokens: counted,
      errorSum,
      squareSum: sum(this.view('y_squares', 'f64', tokens)),
      activeSum: sum(this.view('fired', 'f32')),
      total: this.addParts('y_sums', tokens, 1),
      fired: this.view('fired', 'f32').slice(),
    };
  }

  async rowGradients(): Promise<RowGradients> {
    assert(this.sizes.keepsGradients, 'the memory was made without room for gradients');
    await this.run([this.book.keepHeads(this.tokens)]);
    const kept = this.parameters.filter((name) => ROW_PARAMETERS.has(name) || name === 'b_D');
    return Object.fromEntries(
      kept.map((name) => {
        const shape = parameterShape(this.sizes.config, name);
        return [name, tensor('f32', shape, this.view(gradientName(name), 'f32').slice())];
      }),
    );
  }

  async update(update: SparseUpdate): Promise<{ readonly gradientNorm: number }> {
    this.copyDense(update.dense);
    return Number.isFinite(update.clipNorm) ? this.updateClipped(update) : this.updateFused(update);
  }

  async close(): Promise<void> {
    await this.pool.close();
    if (this.options.layout.bytes >= COLLECT_BYTES_MIN) collectSoon();
  }

  /** Gradients of rows never reach memory: each head's are made, measured and applied in one go. */
  private async updateFused(update: SparseUpdate): Promise<{ readonly gradientNorm: number }> {
    const floats = adamFloats(update, 1);
    const { dense } = this;
    await this.run([
      this.book.updateHeads(this.tokens, floats),
      ...dense.map((name) => this.book.squares(name)),
      ...dense.map((name) => this.book.adam(name, floats)),
    ]);
    return { gradientNorm: this.gradientNorm() };
  }

  private async updateClipped(update: SparseUpdate): Promise<{ readonly gradientNorm: number }> {
    assert(this.sizes.keepsGradients, 'clipping needs memory for gradients');
    const { dense } = this;
    await this.run([
      this.book.keepHeads(this.tokens),
      ...dense.map((name) => this.book.squares(name)),
    ]);
    const gradientNorm = this.gradientNorm();
    if (!Number.isFinite(gradientNorm)) return { gradientNorm };
    const norm = Math.fround(gradientNorm) + CLIP_EPSILON;
    const floats = adamFloats(update, Math.min(1, update.clipNorm / norm));
    await this.run([
      ...this.parameters.map((name) => this.book.adam(name, floats)),
      this.book.norms(),
    ]);
    return { gradientNorm };
  }

  /** Parameters whose gradient is a tensor: those of the second graph, and b_D. */
  private get dense(): readonly LorsaParameter[] {
    return this.parameters.filter((name) => !ROW_PARAMETERS.has(name));
  }

  private gradientNorm(): number {
    const parts = this.dense.map((name) => sum(this.view(squaresName(name), 'f64')));
    return Math.sqrt(parts.reduce((a, b) => a + b, sum(this.view('head_squares', 'f64'))));
  }

  private async run(phases: readonly Phase[]): Promise<void> {
    const times = await this.pool.run(phases);
    const { onPhase } = this.options;
    for (const [i, { kernel }] of phases.entries()) onPhase?.(kernel, times[i] ?? Number.NaN);
  }

  private view<K extends Kind>(name: string, kind: K, length?: number): DataByDType[K] {
    const region = this.options.layout.regions.get(name);
    assert(region?.kind === kind, () => `the kernels' memory has no ${kind} ${name}`);
    const size = length ?? region.length;
    assert(size <= region.length, () => `${name} has room for ${region.length}, not ${size}`);
    const View = VIEWS[kind];
    // Typed arrays take shared memory; only their types say ArrayBuffer.
    const buffer = this.options.memory.buffer as ArrayBufferLike as ArrayBuffer;
    return new View(buffer, region.address, size) as DataByDType[K];
  }

  private perGroup(name: 'mixed' | 'cotangent', batch: number, pos: number): Tensor<'f32'> {
    const { n_qk_heads, d_model } = this.sizes.config;
    const shape = [n_qk_heads, batch, pos, d_model];
    return tensor('f32', shape, this.view(name, 'f32', n_qk_heads * batch * pos * d_model));
  }

  /** Checks a batch and copies it into the memory. Returns its tokens. */
  private copyIn({ batch, pos, y, valid, active, auxiliary }: SparseBatch): number {
    const { d_model, n_ov_heads } = this.sizes.config;
    bindAxes({
      y: [y, 'batch pos d_model'],
      valid: [valid, 'batch pos'],
      sizes: [{ shape: [batch, pos, d_model] }, 'batch pos d_model'],
    });
    const tokens = batch * pos;
    this.view('y', 'f32', tokens * d_model).set(y.data);
    this.view('valid', 'f32', tokens).set(valid.data);
    this.copyPairs('active', active, tokens, n_ov_heads);
    if (auxiliary) this.copyPairs('auxiliary', auxiliary.pairs, tokens, n_ov_heads);
    return tokens;
  }

  /** The list's name, if it has room for that many places. */
  private room(list: string, places: number): string {
    this.view(`${list}.indices`, 'i32', places);
    return list;
  }

  private copyPairsOut(list: string, tokens: number, slots: number): SparsePairs {
    const shape = [tokens, slots];
    return {
      indices: tensor('i32', shape, this.view(`${list}.indices`, 'i32', tokens * slots).slice()),
      values: tensor('f32', shape, this.view(`${list}.z`, 'f32', tokens * slots).slice()),
    };
  }

  private copyIndices(list: string, indices: Int32Array): void {
    const { n_ov_heads } = this.sizes.config;
    for (const head of indices) {
      assert(head >= -1 && head < n_ov_heads, () => `there is no head ${head}`);
    }
    this.view(`${list}.indices`, 'i32', indices.length).set(indices);
  }

  /** Ranks of living heads become 0, which never wins. */
  private weighDead(gains: string, dead: Float32Array): void {
    const weights = this.view(gains, 'f32');
    this.view('dead_gains', 'f32').set(weights.map((gain, i) => gain * (dead[i] ?? 0)));
  }

  private copyPairs(list: string, pairs: SparsePairs, tokens: number, heads: number): void {
    bindAxes({
      indices: [pairs.indices, 'token feature'],
      values: [pairs.values, 'token feature'],
      tokens: [{ shape: [tokens] }, 'token'],
    });
    const { data: indices } = pairs.indices;
    const { data: values } = pairs.values;
    for (let at = 0; at < indices.length; at++) {
      const head = indices[at] as number;
      // A wrong address in the kernels would be somebody else's memory.
      assert((head >= 0 && head < heads) || values[at] === 0, () => `there is no head ${head}`);
    }
    this.view(`${list}.indices`, 'i32', indices.length).set(indices);
    this.view(`${list}.z`, 'f32', values.length).set(values);
  }

  private copyDense(gradients: SparseUpdate['dense']): void {
    for (const name of this.dense) {
      if (name === 'b_D') continue; // a sum over tokens, which `backward` left here
      const gradient = gradients[name];
      assert(gradient, () => `the step has no gradient of ${name}`);
      const into = this.view(gradientName(name), 'f32');
      assert(gradient.data.length === into.length, () => `${name}: ${gradient.data.length} slopes`);
      into.set(gradient.data);
    }
  }

  /** db_D = scale · Σ e_t. */
  private gatherBias(tokens: number, scale: number): void {
    if (!this.sizes.config.useDecoderBias) return;
    this.view(gradientName('b_D'), 'f32').set(this.addParts('error_sums', tokens, scale));
  }

  /** factor · the sum of the parts that the threads left, in order, `[d_model]`. */
  private addParts(name: string, tokens: number, factor: number): Float32Array {
    const { d_model } = this.sizes.config;
    const parts = Math.ceil(tokens / SUM_ROWS);
    const rows = this.view(name, 'f32', parts * d_model);
    return Float32Array.from({ length: d_model }, (_, d) => {
      let total = 0;
      for (let part = 0; part < parts; part++) total += rows[part * d_model + d] as number;
      return factor * total;
    });
  }
}

function sum(parts: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < parts.length; i++) total += parts[i] as number;
  return total;
}
