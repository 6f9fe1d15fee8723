import { catalogueFile } from './catalogue-file.ts';
import { dashboardFiles } from './dashboard-files.ts';
import { ruleFiles } from './rule-files.ts';

/** What is made of the code here: path from this folder → text. */
export async function madeFiles(): Promise<ReadonlyMap<string, string>> {
  const catalogue = await catalogueFile();
  return new Map([['METRICS.md', catalogue], ...ruleFiles(), ...dashboardFiles()]);
}
