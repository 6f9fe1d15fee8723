import type { Command } from 'commander';
import type { Invocation } from '../../invocation.ts';
import { addAnalyse } from './analyse.ts';
import { addApply } from './apply.ts';
import { addBaseline } from './baseline.ts';
import { addEval } from './eval.ts';
import { addExport } from './export.ts';
import { addHeads } from './heads.ts';
import { addImport } from './import.ts';
import { addShow } from './show.ts';
import { addSweep } from './sweep.ts';
import { addTrain } from './train.ts';

const COMMANDS = [
  addTrain,
  addSweep,
  addEval,
  addBaseline,
  addApply,
  addAnalyse,
  addHeads,
  addShow,
  addImport,
  addExport,
];

export function addLorsa(program: Command, invocation: Invocation): void {
  const lorsa = program.command('lorsa');
  for (const add of COMMANDS) add(lorsa, invocation);
  const verbs = lorsa.commands.map((command) => command.name());
  lorsa.description(`low-rank sparse attention: ${verbs.join(', ')}`);
}
