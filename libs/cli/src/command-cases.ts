/** One command line that works, and how it can go wrong: the table that tests of the command line walk. */
export interface Case {
  readonly argv: readonly string[];
  /** It is a job: has --detach, and Ctrl-C cancels it. */
  readonly job?: true;
  /** The file that it writes. */
  readonly out?: string;
  /** Lines that cannot be understood, beside an unknown option. */
  readonly wrong?: readonly (readonly string[])[];
  /** Its input files that a test may break. */
  readonly input?: string;
  /** Done by the command alone, without any service. */
  readonly local?: true;
}

/** Every command that ends by itself, with a line that works. `up` and `tour` stay, and are tested as processes. */
export const CASES: readonly Case[] = [
  {
    argv: ['model', 'add', 'm'],
    wrong: [
      ['model', 'add'],
      ['model', 'add', 'a', 'b'],
      ['model', 'add', 'm', '--name', ''],
      ['model'],
    ],
  },
  { argv: ['model', 'add', 'hf:o/m'], job: true },
  {
    argv: ['model', 'ls'],
    wrong: [
      ['model', 'ls', 'x'],
      ['model', 'frob'],
    ],
  },
  { argv: ['model', 'show'], wrong: [['model', 'show', 'a', 'b']] },
  { argv: ['model', 'hooks'], wrong: [['model', 'hooks', 'a', 'b']] },
  { argv: ['model', 'rm', 'm'], wrong: [['model', 'rm']] },
  { argv: ['tokens', 'a text'], wrong: [['tokens'], ['tokens', 'a', 'b', 'c']] },
  {
    argv: ['run', '--hooks', 'a.*', '--text', 'x', '--out', 'run.safetensors'],
    out: 'run.safetensors',
    wrong: [
      ['run', '--text', 'x'],
      ['run', '--hooks', 'a'],
      ['run', '--hooks', 'a,,b', '--text', 'x'],
      ['run', '--hooks', 'a', '--text', 'x', '--dtype', 'f8'],
      ['run', '--hooks', 'a', '--text', 'x', '--positions', '1,x'],
      ['run', '--hooks', 'a', '--tokens', '3-1'],
      ['run', '--hooks', 'a', '--text', 'x', '--bos', '--no-special'],
      ['run', '--hooks', 'a', '--text', 'x', '--gradient', ' '],
    ],
  },
  {
    argv: ['job', 'ls'],
    wrong: [
      ['job', 'ls', '--limit', '0'],
      ['job', 'ls', '--limit', 'x'],
    ],
  },
  { argv: ['job', 'show', 'fake-1'], wrong: [['job', 'show']] },
  { argv: ['job', 'watch', 'fake-1'], wrong: [['job', 'watch']] },
  { argv: ['job', 'cancel', 'fake-1'], wrong: [['job', 'cancel']] },
  { argv: ['job', 'pause', 'fake-1'], wrong: [['job', 'pause', 'a', 'b']] },
  { argv: ['job', 'resume', 'fake-1'], wrong: [['job', 'resume']] },
  {
    argv: ['job', 'result', 'fake-1', '--artifact', 'graph.json', '--out', 'result.json'],
    out: 'result.json',
    wrong: [['job', 'result']],
  },
  {
    argv: ['activations', 'cache', '--corpus', 'text.txt', '--layers', '0-2', '--out', 'm.json'],
    out: 'm.json',
    job: true,
    wrong: [
      ['activations', 'cache', '--layers', '0'],
      ['activations', 'cache', '--corpus', 'text.txt'],
      ['activations', 'cache', '--corpus', 'text.txt', '--layers', '0', '--context', '0'],
      ['activations', 'cache', '--corpus', 'text.txt', '--layers', '0', '--dtype', 'bf16'],
    ],
  },
  { argv: ['gc'], wrong: [['gc', 'x']] },
  {
    argv: ['lorsa', 'train', '--layer', '0', '--out', 'c.safetensors'],
    out: 'c.safetensors',
    job: true,
    wrong: [
      ['lorsa', 'train', '--layer', '-1'],
      ['lorsa', 'train', '--k-schedule', 'linear:256:0'],
      ['lorsa', 'train', '--k-schedule', ':256'],
      ['lorsa', 'train', '--aux', '1/0'],
      ['lorsa', 'train', '--aux-k', '64'],
      ['lorsa', 'train', '--decay', '2'],
      // On the wire 0 says "not given": it would train with the default instead.
      ['lorsa', 'train', '--layer', '0', '--top-k', '0'],
      ['lorsa', 'train', '--layer', '0', '--steps', '0'],
      ['lorsa', 'train', '--layer', '0', '--steps', '4294967299'],
      ['lorsa', 'train', '--layer', '0', '--lr', '0'],
      ['lorsa'],
    ],
  },
  {
    argv: ['lorsa', 'sweep', '--layers', '0-3', '--heads', '256,512', '--seeds', '0,1'],
    job: true,
    wrong: [
      ['lorsa', 'sweep', '--top-k', '0,8'],
      ['lorsa', 'sweep', '--layers', '3-0'],
      ['lorsa', 'sweep', '--heads', 'many'],
    ],
  },
  {
    argv: ['lorsa', 'apply', 'c', '--input', 'x.safetensors', '--out', 'applied.safetensors'],
    out: 'applied.safetensors',
    input: 'x.safetensors',
    wrong: [
      ['lorsa', 'apply', 'c', '--out', 'o'],
      ['lorsa', 'apply', '--input', 'x', '--out', 'o'],
    ],
  },
  {
    argv: ['lorsa', 'import', 'c', '--text', 'a b', '--model', 'm'],
    job: true,
    wrong: [
      ['lorsa', 'import'],
      ['lorsa', 'import', 'c', '--text', 'a', '--corpus', 'f.txt'],
    ],
  },
  {
    argv: ['lorsa', 'export', 'run-1', '--out', 'exported', '--fold'],
    wrong: [
      ['lorsa', 'export', 'run-1'],
      ['lorsa', 'export', '--out', 'exported'],
    ],
  },
  {
    argv: ['lorsa', 'eval', 'run-1', '--k', '8,16', '--baseline'],
    job: true,
    wrong: [
      ['lorsa', 'eval'],
      ['lorsa', 'eval', 'run-1', '--k', '8-'],
      ['lorsa', 'eval', 'run-1', '--tokens', '0'],
    ],
  },
  {
    argv: ['lorsa', 'baseline', 'run-1', '--out', 'sae.safetensors'],
    job: true,
    out: 'sae.safetensors',
    wrong: [
      ['lorsa', 'baseline'],
      ['lorsa', 'baseline', 'run-1', '--seed', 'x'],
    ],
  },
  {
    argv: ['lorsa', 'analyse', 'run-1'],
    job: true,
    wrong: [
      ['lorsa', 'analyse'],
      ['lorsa', 'analyse', 'run-1', '--samples', '0'],
      ['lorsa', 'analyse', 'run-1', '--seed', 'x'],
    ],
  },
  {
    argv: ['lorsa', 'heads', 'run-1', '--by', 'induction', '--token', ' a', '--role', 'raises'],
    wrong: [
      ['lorsa', 'heads', 'run-1', '--by', 'magic'],
      ['lorsa', 'heads', 'run-1', '--min', '0.5'],
      ['lorsa', 'heads', 'run-1', '--role', 'raises'],
      ['lorsa', 'heads', 'run-1', '--token', ' a', '--role', 'likes'],
      ['lorsa', 'heads', 'run-1', '--top', '0'],
      ['lorsa', 'heads', 'a', 'b'],
    ],
  },
  {
    argv: ['lorsa', 'show', 'run-1', '7'],
    wrong: [
      ['lorsa', 'show', 'run-1'],
      ['lorsa', 'show', 'run-1', 'seven'],
      ['lorsa', 'show', 'run-1', '7', '--samples', 'x'],
    ],
  },
  {
    argv: ['qk', 'fit', 'm', '--contrast', 'contrast.jsonl', '--out', 'qk.safetensors'],
    out: 'qk.safetensors',
    input: 'contrast.jsonl',
    job: true,
    wrong: [
      ['qk', 'fit'],
      ['qk', 'fit', '--contrast', 'contrast.jsonl', '--heads', '3'],
      ['qk', 'fit', '--contrast', 'contrast.jsonl', '--weighting', 'some'],
    ],
  },
  {
    argv: ['trace', '--text', 'x', '--target', ' a,id:7', '--out', 'graph.json'],
    out: 'graph.json',
    job: true,
    wrong: [
      ['trace'],
      ['trace', '--text', 'x', '--dataset', 'ioi'],
      ['trace', '--text', 'x', '--n', '3'],
      ['trace', '--text', 'x', '--method', 'some'],
      ['trace', '--text', 'x', '--threshold', '2'],
      ['trace', '--text', 'x', '--target', 'id:x'],
      ['trace', '--text', 'x', '--target', ''],
    ],
  },
  {
    argv: ['why', '--text', 'x', '--head', '0.0', '--query', '1'],
    job: true,
    wrong: [
      ['why', '--text', 'x'],
      ['why', '--head', '0.0', '--query', '1'],
      ['why', '--text', 'x', '--head', '0.0'],
      ['why', '--text', 'x', '--head', '0', '--query', '1'],
      ['why', '--text', 'x', '--head', '0.0', '--query', '1', '--next-token'],
      ['why', '--text', 'x', '--text', 'y', '--next-token'],
    ],
  },
  { argv: ['reproduce', 'fake-1'], wrong: [['reproduce']] },
  {
    argv: ['token', 'keygen', '--out', 'keys', '--replace'],
    local: true,
    wrong: [['token'], ['token', 'keygen', 'x']],
  },
  {
    argv: [
      'token',
      'issue',
      '--tenant',
      'ada',
      '--role',
      'read',
      '--days',
      '7',
      '--key',
      'key.json',
    ],
    local: true,
    input: 'key.json',
    wrong: [
      ['token', 'issue', '--key', 'key.json'],
      ['token', 'issue', '--tenant', 'ada', '--role', 'root', '--key', 'key.json'],
      ['token', 'issue', '--tenant', 'ada', '--days', '0.5', '--key', 'key.json'],
    ],
  },
];
