import type { EngineReport } from './engine.ts';

/**
 * What of an engine decides a result's last bits, as provenance lists it: the runtime under its own name, `cpu` (instruction
 * set), `threads`. The report says `onnxruntime-node 1.30.0 x64 avx2 avx512f`.
 */
export function engineVersions({ version, threads }: EngineReport): Record<string, string> {
  const [component = 'engine', number = '', ...cpu] = version.split(' ');
  return { [component]: number, cpu: cpu.join(' '), threads: `${threads}` };
}
