import { heddleMain } from './heddle-main.ts';

await heddleMain();
