import { ruleFiles } from './rule-files.ts';

/** What is made of the code here: path from this folder → text. */
export function madeFiles(): ReadonlyMap<string, string> {
  return new Map([...ruleFiles()]);
}
