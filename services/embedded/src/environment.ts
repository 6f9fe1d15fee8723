import { likeliest } from './likeliest.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** By the command line, and where the servers of tests are. */
const READ_ELSEWHERE = [
  ...['HEDDLE_DATA', 'HEDDLE_SERVER', 'HEDDLE_SERVERS', 'HEDDLE_SERVICES'],
  ...['HEDDLE_TOKEN', 'HEDDLE_TOKEN_FILE', 'HEDDLE_TLS_CA', 'HEDDLE_INSECURE'],
];
/** The launcher's word to this process, and the tests' own. */
const OF_TESTS = /^HEDDLE_(?:LAUNCHER|REAL|TEST|FUZZ|CHAOS|SIMULATION|OVERLOAD|KILL|CI)(?:_|$)/;
/** What Kubernetes sets beside a Service whose name begins with `heddle`. */
const OF_KUBERNETES = /_SERVICE_(?:HOST|PORT)|_PORT_\d+_|_PORT$/;

/** Reads variables and collects what is wrong with each, so that all of it is told at once. */
export class EnvironmentReader {
  private readonly environment: Environment;
  private readonly asked = new Set<string>(READ_ELSEWHERE);
  readonly problems: string[] = [];

  constructor(environment: Environment) {
    this.environment = environment;
  }

  /** Set to the empty string counts as not set: so compose files and charts leave a variable out. */
  text(name: string): string | undefined {
    this.asked.add(name);
    return this.environment[name] || undefined;
  }

  whole(name: string, fallback: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    this.problems.push(`${name}=${text} is no whole number from ${min} to ${max}`);
    return fallback;
  }

  /**
   * A port of ours. Kubernetes sets `HEDDLE_PORT=tcp://10.0.0.1:7411` in every pod beside a Service that is called `heddle`:
   * that is where the Service is, not where we shall listen.
   */
  port(name: string, fallback: number): number {
    if (/^(?:tcp|udp|sctp):\/\//.test(this.text(name) ?? '')) return fallback;
    return this.whole(name, fallback, 0, 65_535);
  }

  words<T extends string>(name: string, known: readonly T[]): readonly T[] | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const list = text.split(',') as T[];
    const wrong = list.find((word) => !known.includes(word));
    if (wrong !== undefined) this.problems.push(`${name}: ${wrong} is none of ${known.join(', ')}`);
    return list;
  }

  list(name: string, separator = ','): readonly string[] {
    return (this.text(name) ?? '').split(separator).filter((part) => part !== '');
  }

  flag(name: string): boolean {
    const text = this.text(name);
    if (text !== undefined && text !== '0' && text !== '1') {
      this.problems.push(`${name}=${text} is neither 0 nor 1`);
    }
    return text === '1';
  }

  /**
   * Variables of our name, or all but of our name, that nobody asked for, each with what was likely meant: misspelt ones leave a
   * process with its defaults, silently.
   */
  unread(): readonly string[] {
    const known = [...this.asked].filter((name) => name.startsWith('HEDDLE_'));
    return Object.keys(this.environment)
      .filter((name) => !this.asked.has(name) && !OF_TESTS.test(name) && !OF_KUBERNETES.test(name))
      .sort()
      .flatMap((name) => {
        const meant = likeliest(name, known);
        if (meant !== undefined) return [`${name} (${meant}?)`];
        return name.startsWith('HEDDLE_') ? [name] : [];
      });
  }
}
