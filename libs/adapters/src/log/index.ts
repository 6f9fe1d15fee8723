export { type LogLevel, type PinoLogOptions, pinoLog } from './pino-log.ts';
