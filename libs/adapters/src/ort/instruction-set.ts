import { readFileSync } from 'node:fs';
import { arch, cpus } from 'node:os';

/**
 * The vector extensions that change which kernels ONNX Runtime takes, and so the last bits of a result; in the order in
 * which processors got them. The names are Linux' (`/proc/cpuinfo`: `flags` on x64, `Features` on arm64).
 */
const EXTENSIONS = [
  ...['sse4_2', 'avx', 'f16c', 'fma', 'avx2', 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'],
  ...['avx_vnni', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'amx_tile', 'amx_int8', 'amx_bf16'],
  ...['asimd', 'asimdhp', 'asimddp', 'i8mm', 'bf16', 'sve', 'sve2', 'sme'],
];

/** The extensions that one processor of the file has; empty when it does not say. */
export function vectorExtensions(cpuinfo: string): readonly string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  const present = new Set(line.trim().split(/\s+/));
  return EXTENSIONS.filter((name) => present.has(name));
}

/** `x64 sse4_2 avx f16c fma avx2 avx512f …`; where the system does not list them, the processor's model stands for them. */
export function instructionSet(path = '/proc/cpuinfo'): string {
  let extensions: readonly string[] = [];
  try {
    extensions = vectorExtensions(readFileSync(path, 'utf8'));
  } catch {
    // Not Linux: said by the model.
  }
  const what = extensions.length > 0 ? extensions.join(' ') : (cpus()[0]?.model ?? '');
  return `${arch()} ${what}`.trim();
}
