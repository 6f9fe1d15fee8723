import { broadcastDims, type Dim } from '../dims.ts';
import { expects, expectsFloat, int, type OpRule, refuse, text } from './rule.ts';

export interface EinsumTerms {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** `'bqhd,bkhd->bhqk'` apart. One letter an axis; no ellipsis, no letter twice in a term (a diagonal). */
export function parseEinsum(equation: string): EinsumTerms {
  const match = /^([a-zA-Z]*(?:,[a-zA-Z]*)*)->([a-zA-Z]*)$/.exec(equation.replaceAll(' ', ''));
  if (match === null) return refuse(`equation "${equation}" is not letters, commas and one ->`);
  const inputs = match[1].split(',').map((term) => [...term]);
  const output = [...match[2]];
  for (const term of [...inputs, output]) {
    expects(new Set(term).size === term.length, `a letter repeats in "${term.join('')}"`);
  }
  for (const letter of output) {
    expects(
      inputs.some((term) => term.includes(letter)),
      `"${letter}" of the result is in no input`,
    );
  }
  return { inputs, output };
}

export const matmul = {
  MatMul: {
    infer: ({ inputs }) => {
      expectsFloat(inputs);
      const [a, b] = inputs.map(({ shape }) => shape);
      expects(a.length >= 2 && b.length >= 2, 'an input has fewer than 2 axes');
      expects(a.at(-1) === b.at(-2), () => `inner sizes ${a.at(-1)} and ${b.at(-2)} differ`);
      const batch =
        broadcastDims(a.slice(0, -2), b.slice(0, -2)) ?? refuse('leading axes do not broadcast');
      return [{ dtype: 'f32', shape: [...batch, a.at(-2) as Dim, b.at(-1) as Dim] }];
    },
  },
  Gemm: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const [a, b] = inputs.map(({ shape }) => shape);
      expects(a.length === 2 && b.length === 2, 'A and B need 2 axes each');
      const [rows, innerA] = int(attributes, 'transA', 0) ? [a[1], a[0]] : a;
      const [innerB, columns] = int(attributes, 'transB', 0) ? [b[1], b[0]] : b;
      expects(innerA === innerB, () => `inner sizes ${innerA} and ${innerB} differ`);
      const shape = [rows, columns];
      if (inputs.length === 3) {
        const sum = broadcastDims(inputs[2].shape, shape);
        expects(
          sum !== undefined && sum.length === 2 && sum.every((n, i) => n === shape[i]),
          'C does not broadcast to the product',
        );
      }
      return [{ dtype: 'f32', shape }];
    },
  },
  Einsum: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const terms = parseEinsum(text(attributes, 'equation', ''));
      expects(terms.inputs.length === inputs.length, 'the equation has another number of terms');
      const sizes = new Map<string, Dim>();
      terms.inputs.forEach((letters, i) => {
        const { shape } = inputs[i];
        expects(letters.length === shape.length, () => `term "${letters.join('')}" has wrong rank`);
        letters.forEach((letter, axis) => {
          const known = sizes.get(letter);
          expects(
            known === undefined || known === shape[axis],
            () => `"${letter}" is ${known} and ${shape[axis]}`,
          );
          sizes.set(letter, shape[axis]);
        });
      });
      return [{ dtype: 'f32', shape: terms.output.map((letter) => sizes.get(letter) as Dim) }];
    },
  },
} satisfies Record<string, OpRule>;
