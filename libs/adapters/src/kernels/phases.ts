import type { SparseBatch, SparseSizes, SparseUpdate } from '@heddle/ports';
import { gradientName, type Layout, squaresName } from './layout.ts';
import {
  BUCKETS_PER_TURN,
  HEADS_PER_TURN,
  NUMBERS_PER_TURN,
  SUM_NUMBERS,
  SUM_ROWS,
  TOKENS_PER_TURN,
} from './limits.ts';
import type { Phase } from './protocol.ts';

interface Shape {
  readonly tokens: number;
  readonly slots: number;
}

/** Which kernels a call is, with the addresses that each is given: their order is that of the comments in assembly/. */
export class PhaseBook {
  private readonly sizes: SparseSizes;
  private readonly layout: Layout;

  constructor(sizes: SparseSizes, layout: Layout) {
    this.sizes = sizes;
    this.layout = layout;
  }

  private address(name: string): number {
    return this.region(name).address;
  }

  private region(name: string): { readonly address: number; readonly length: number } {
    const region = this.layout.regions.get(name);
    if (!region) throw new RangeError(`the kernels' memory has no ${name}`);
    return region;
  }

  /** Chooses (`gate`) or is told (`replay`) the heads of a list. `gains` names what ranks are weighed with. */
  choose(kernel: 'gate' | 'replay', list: string, gains: string, of: Shape): Phase {
    const { n_ov_heads, n_qk_heads, signed } = this.sizes.config;
    return {
      kernel,
      items: of.tokens,
      turn: TOKENS_PER_TURN,
      integers: [
        ...[of.tokens, n_ov_heads, n_ov_heads / n_qk_heads, of.slots, signed ? 1 : 0],
        ...['reads', 'b_V', gains, `${list}.indices`, `${list}.z`].map((name) =>
          this.address(name),
        ),
      ],
    };
  }

  /** Error of a list's tokens: of the active ones against y, of AuxK's against what the active ones left. */
  private decode(tokens: number, slots: number, scale: number, auxiliary: boolean): Phase {
    const { d_model, useDecoderBias } = this.sizes.config;
    const list = auxiliary ? 'auxiliary' : 'active';
    const error = this.address('error');
    return {
      kernel: 'decode',
      items: tokens,
      turn: TOKENS_PER_TURN,
      integers: [
        d_model,
        slots,
        this.address(`${list}.indices`),
        this.address(`${list}.z`),
        this.address('W_O'),
        useDecoderBias && !auxiliary ? this.address('b_D') : 0,
        auxiliary ? error : this.address('y'),
        this.address('valid'),
        auxiliary ? error + 4 * tokens * d_model : error,
        this.address(`${list}.dz`),
        this.address(auxiliary ? 'auxiliary_squares' : 'error_squares'),
        auxiliary ? 0 : this.address('y_squares'),
      ],
      floats: [scale, auxiliary ? 1 : -1],
    };
  }

  private columnSums(tokens: number, rows: string, into: string): Phase {
    return {
      kernel: 'columnSums',
      items: Math.ceil(tokens / SUM_ROWS),
      turn: 1,
      integers: [
        this.sizes.config.d_model,
        this.address(rows),
        this.address('valid'),
        tokens,
        SUM_ROWS,
        this.address(into),
      ],
    };
  }

  backward(batch: SparseBatch, tokens: number, scale: number): readonly Phase[] {
    const { config } = this.sizes;
    const { active, auxiliary } = batch;
    const slots = active.indices.shape[1] ?? 0;
    const auxSlots = auxiliary?.pairs.indices.shape[1] ?? 0;
    const auxScale = scale * (auxiliary?.coefficient ?? 0);
    const list = (name: string) =>
      ['indices', 'z', 'dz'].map((part) => this.address(`${name}.${part}`));
    const byHead = ['starts', 'token', 'z', 'dz'].map((part) => this.address(`by_head.${part}`));
    const byGroup = ['starts', 'head', 'dz'].map((part) => this.address(`by_group.${part}`));
    const { n_ov_heads, n_qk_heads, d_model } = config;
    return [
      this.decode(tokens, slots, scale, false),
      ...(auxSlots > 0 ? [this.decode(tokens, auxSlots, auxScale, true)] : []),
      this.columnSums(tokens, 'y', 'y_sums'),
      this.columnSums(tokens, 'error', 'error_sums'),
      {
        kernel: 'group',
        items: 1,
        turn: 1,
        integers: [
          ...[tokens, n_ov_heads, n_ov_heads / n_qk_heads, this.address('valid')],
          ...[slots, ...list('active')],
          ...[auxSlots, ...list('auxiliary')],
          ...byHead,
          ...byGroup,
          this.address('fired'),
        ],
        floats: [scale, auxScale],
      },
      {
        kernel: 'cotangent',
        items: n_qk_heads * tokens,
        turn: BUCKETS_PER_TURN,
        integers: [d_model, ...byGroup, this.address('W_V'), this.address('cotangent')],
      },
    ];
  }

  /** The kernels over heads: `updateHeads` moves parameters, `keepHeads` writes gradients. */
  private heads(kernel: 'updateHeads' | 'keepHeads', tokens: number): Phase {
    const { d_model, n_ov_heads, n_qk_heads } = this.sizes.config;
    const parameter = (name: string) =>
      kernel === 'keepHeads'
        ? [this.address(gradientName(name)), 0, 0]
        : [this.address(name), this.address(`adam_m.${name}`), this.address(`adam_v.${name}`)];
    return {
      kernel,
      items: n_ov_heads,
      turn: HEADS_PER_TURN,
      integers: [
        ...[d_model, n_ov_heads / n_qk_heads, tokens],
        ...['starts', 'token', 'z', 'dz'].map((part) => this.address(`by_head.${part}`)),
        ...[this.address('error'), this.address('mixed')],
        ...parameter('W_V'),
        ...parameter('W_O'),
        ...parameter('b_V'),
        ...[this.address('head_squares'), this.address('decoder_norms')],
      ],
    };
  }

  keepHeads(tokens: number): Phase {
    return this.heads('keepHeads', tokens);
  }

  updateHeads(tokens: number, floats: readonly number[]): Phase {
    return { ...this.heads('updateHeads', tokens), floats };
  }

  /** ‖gradient‖² of a parameter that the pairs do not touch, in parts. */
  squares(parameter: string): Phase {
    const { address, length } = this.region(gradientName(parameter));
    return {
      kernel: 'squares',
      items: Math.ceil(length / SUM_NUMBERS),
      turn: 1,
      integers: [address, length, SUM_NUMBERS, this.address(squaresName(parameter))],
    };
  }

  adam(parameter: string, floats: readonly number[]): Phase {
    return {
      kernel: 'adam',
      items: this.region(parameter).length,
      turn: NUMBERS_PER_TURN,
      integers: [
        parameter,
        `adam_m.${parameter}`,
        `adam_v.${parameter}`,
        gradientName(parameter),
      ].map((name) => this.address(name)),
      floats,
    };
  }

  norms(): Phase {
    const { d_model, n_ov_heads } = this.sizes.config;
    return {
      kernel: 'norms',
      items: n_ov_heads,
      turn: HEADS_PER_TURN,
      integers: [d_model, this.address('W_O'), this.address('decoder_norms')],
    };
  }
}

/** Adam's numbers as the kernels read them. The quotient is rounded as the graph rounds it. */
export function adamFloats(update: SparseUpdate, factor: number): readonly number[] {
  const { beta1, beta2, epsilon, correction1, correction2, rate } = update;
  const pace = Math.fround(Math.fround(rate) / Math.fround(correction1));
  return [beta1, beta2, epsilon, correction2, pace, factor];
}
