export { LocalEvents } from './local-events.ts';
