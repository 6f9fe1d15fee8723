import assert from 'node:assert/strict';
import { arch } from 'node:os';
import { test } from 'node:test';
import { instructionSet, vectorExtensions } from './instruction-set.ts';

const X64 =
  'processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse4_2 avx2 fma avx512f avx\n\nprocessor\t: 1\n';
const ARM = 'processor\t: 0\nFeatures\t: fp asimd aes asimddp sve\n';

test('the instruction set names the vector extensions, in one order, and nothing else', () => {
  assert.deepEqual(vectorExtensions(X64), ['sse4_2', 'avx', 'fma', 'avx2', 'avx512f']);
  assert.deepEqual(vectorExtensions(ARM), ['asimd', 'asimddp', 'sve']);
  assert.deepEqual(vectorExtensions('processor : 0'), []);
});

test('a system that lists no extensions is told by architecture and model', () => {
  const told = instructionSet('/nowhere/cpuinfo');
  assert.ok(told.startsWith(arch()), told);
  assert.ok(!told.includes('avx512f'), told);
});
