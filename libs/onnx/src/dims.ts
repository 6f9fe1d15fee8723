/**
 * Sizes of axes, known or symbolic. A `Dim` is a number or a polynomial with whole coefficients over named sizes, in one
 * canonical spelling (`'pos'`, `'batch*pos'`, `'2*pos+1'`): equal strings are equal sizes, and nothing else is.
 */
export type Dim = number | string;

/** Monomial (its atoms sorted and joined by `*`, the empty string for 1) → coefficient. */
type Polynomial = ReadonlyMap<string, number>;

const ATOM = /^[A-Za-z_][\w.]*$/;

function parse(dim: Dim): Polynomial {
  const sum = new Map<string, number>();
  if (typeof dim === 'number') return sum.set('', dim);
  for (const [, sign, term] of dim.matchAll(/([+-]?)([^+-]+)/g)) {
    let coefficient = sign === '-' ? -1 : 1;
    const atoms: string[] = [];
    for (const factor of (term as string).split('*')) {
      if (/^\d+$/.test(factor)) coefficient *= Number(factor);
      else if (ATOM.test(factor)) atoms.push(factor);
      else throw new Error(`"${dim}" is not a size: "${factor}" is neither a number nor a name`);
    }
    const key = atoms.sort().join('*');
    sum.set(key, (sum.get(key) ?? 0) + coefficient);
  }
  return sum;
}

function print(p: Polynomial): Dim {
  const terms = [...p].filter(([, c]) => c !== 0);
  if (terms.length === 0) return 0;
  if (terms.length === 1 && terms[0][0] === '') return terms[0][1];
  // Constants last: 'pos+1' reads better than '1+pos'.
  terms.sort(([a], [b]) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1));
  let text = '';
  for (const [key, c] of terms) {
    const size = Math.abs(c);
    const body = key === '' ? `${size}` : size === 1 ? key : `${size}*${key}`;
    text += c < 0 ? `-${body}` : text === '' ? body : `+${body}`;
  }
  return text;
}

/** The canonical spelling of what a caller wrote. */
export function dim(written: Dim): Dim {
  return typeof written === 'number' || ATOM.test(written) ? written : print(parse(written));
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  const sum = new Map(parse(a));
  for (const [key, c] of parse(b)) sum.set(key, (sum.get(key) ?? 0) + c);
  return print(sum);
}

export function subtractDims(a: Dim, b: Dim): Dim {
  return addDims(a, multiplyDims(-1, b));
}

export function multiplyDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  const product = new Map<string, number>();
  for (const [keyA, x] of parse(a)) {
    for (const [keyB, y] of parse(b)) {
      const atoms = [...keyA.split('*'), ...keyB.split('*')].filter((atom) => atom !== '');
      const key = atoms.sort().join('*');
      product.set(key, (product.get(key) ?? 0) + x * y);
    }
  }
  return print(product);
}

export function productOfDims(dims: readonly Dim[]): Dim {
  return dims.reduce(multiplyDims, 1);
}

/** a / b where that is exact term by term and b has one term; undefined elsewhere. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  if (a === b && b !== 0) return 1;
  const divisor = [...parse(b)].filter(([, c]) => c !== 0);
  if (divisor.length !== 1) return undefined;
  const [[divisorKey, d]] = divisor;
  const quotient = new Map<string, number>();
  for (const [key, c] of parse(a)) {
    if (c % d !== 0) return undefined;
    const atoms = key === '' ? [] : key.split('*');
    for (const atom of divisorKey === '' ? [] : divisorKey.split('*')) {
      const at = atoms.indexOf(atom);
      if (at < 0) return undefined;
      atoms.splice(at, 1);
    }
    quotient.set(atoms.join('*'), c / d);
  }
  return print(quotient);
}

/** The names that a size is made of. */
export function atomsOf(size: Dim): readonly string[] {
  if (typeof size === 'number') return [];
  if (ATOM.test(size)) return [size];
  return [...new Set([...parse(size).keys()].flatMap((key) => (key === '' ? [] : key.split('*'))))];
}

/** The terms of a size: coefficient and atoms; what a graph needs to compute it. */
export function termsOf(size: Dim): readonly { coefficient: number; atoms: readonly string[] }[] {
  return [...parse(size)].map(([key, coefficient]) => ({
    coefficient,
    atoms: key === '' ? [] : key.split('*'),
  }));
}

/** The number that a size is under given bindings; undefined while a name is unbound. */
export function evaluateDim(size: Dim, bindings: ReadonlyMap<string, number>): number | undefined {
  if (typeof size === 'number') return size;
  let total = 0;
  for (const { coefficient, atoms } of termsOf(size)) {
    let term = coefficient;
    for (const atom of atoms) {
      const bound = bindings.get(atom);
      if (bound === undefined) return undefined;
      term *= bound;
    }
    total += term;
  }
  return total;
}

/** Numpy's broadcasting, from the right. Returns undefined where the sizes are not provably compatible. */
export function broadcastDims(a: readonly Dim[], b: readonly Dim[]): readonly Dim[] | undefined {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    out.push(x === 1 ? y : x);
  }
  return out;
}
