export { type TourReport, tour } from './tour.ts';
export { figure, silent, type TourOutput } from './tour-output.ts';
