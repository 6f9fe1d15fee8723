import type { Dim } from '../dims.ts';
import { filled, type NdArray, stridesOf, walk } from '../interpret/nd-array.ts';
import { expects, expectsFloat, type Gradient, type OpRule, refuse, text } from './rule.ts';

export interface EinsumTerms {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** `'bqhd,bkhd->bhqk'` apart. One letter an axis; no ellipsis, no letter twice in a term (a diagonal). */
function parseEinsum(equation: string): EinsumTerms {
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

/** The size of every letter. */
function einsumSizes(
  terms: EinsumTerms,
  shapes: readonly (readonly Dim[])[],
): ReadonlyMap<string, Dim> {
  const sizes = new Map<string, Dim>();
  expects(terms.inputs.length === shapes.length, 'the equation has another number of terms');
  terms.inputs.forEach((letters, i) => {
    const shape = shapes[i];
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
  return sizes;
}

/** Straight from the definition: every place of every letter, one product each. */
function einsum(inputs: readonly NdArray[], terms: EinsumTerms): NdArray {
  const sizes = einsumSizes(
    terms,
    inputs.map(({ shape }) => shape),
  ) as ReadonlyMap<string, number>;
  const summed = [...sizes.keys()].filter((letter) => !terms.output.includes(letter));
  const letters = [...terms.output, ...summed];
  const stridesFor = (term: readonly string[], shape: readonly number[]) => {
    const own = stridesOf(shape);
    return letters.map((letter) => (term.includes(letter) ? own[term.indexOf(letter)] : 0));
  };
  const sizeOf = (letter: string) => sizes.get(letter) as number;
  const out = filled('f32', terms.output.map(sizeOf));
  const strides = terms.inputs.map((term, i) => stridesFor(term, inputs[i].shape));
  walk(letters.map(sizeOf), [stridesFor(terms.output, out.shape), ...strides], (offsets) => {
    let product = 1;
    for (let i = 0; i < inputs.length; i++) product *= inputs[i].data[offsets[i + 1]];
    out.data[offsets[0]] += product;
  });
  return out;
}

/**
 * By term i: the einsum of dy with the other terms, into the letters of term i. A letter that stands in term i alone was
 * summed away, so the gradient is the same along it: it is put back with size 1 and broadcast.
 */
const einsumGradient: Gradient = ({ g, dy, inputs, attributes }) => {
  const { inputs: terms, output } = parseEinsum(text(attributes, 'equation', ''));
  return terms.map((term, i) => () => {
    const others = terms.filter((_, k) => k !== i);
    const known = [output, ...others].flat();
    const kept = term.filter((letter) => known.includes(letter));
    const lost = term.flatMap((letter, axis) => (known.includes(letter) ? [] : [axis]));
    const left = [output, ...others].map((letters) => letters.join('')).join(',');
    const factors = inputs.filter((_, k) => k !== i);
    const gradient = g.einsum(`${left}->${kept.join('')}`, dy, ...factors);
    return lost.length === 0 ? gradient : g.expandLike(g.unsqueeze(gradient, lost), inputs[i]);
  });
};

export const einsumOps = {
  Einsum: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const terms = parseEinsum(text(attributes, 'equation', ''));
      const sizes = einsumSizes(
        terms,
        inputs.map(({ shape }) => shape),
      );
      return [{ dtype: 'f32', shape: terms.output.map((letter) => sizes.get(letter) as Dim) }];
    },
    interpret: (inputs, attributes) => [
      einsum(inputs, parseEinsum(text(attributes, 'equation', ''))),
    ],
    gradient: einsumGradient,
  },
} satisfies Record<string, OpRule>;
