import { invalidArgument, type OperationError } from '@heddle/core';
import type { FieldTable } from './field-table.ts';

/** Reads fields of one config.json with their defaults, and says which file, which field and what was expected. */
export class ConfigReader {
  readonly file: string;
  private readonly fields: Readonly<Record<string, unknown>>;

  constructor(file: string, fields: Readonly<Record<string, unknown>>) {
    this.file = file;
    this.fields = fields;
  }

  /** The raw value; null and absent are both undefined, as they are for transformers. */
  raw(name: string): unknown {
    return Object.hasOwn(this.fields, name) ? (this.fields[name] ?? undefined) : undefined;
  }

  /** Whether the field is not there at all, where null means something else. */
  absent(name: string): boolean {
    return !Object.hasOwn(this.fields, name);
  }

  whole(name: string, range: { min?: number; max: number; default?: number }): number {
    const { min = 1, max } = range;
    const value = this.raw(name) ?? range.default;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value;
    }
    throw this.wrong(name, `a whole number from ${min} to ${max}`);
  }

  /** A number > 0. */
  positive(name: string, standard?: number): number {
    const value = this.raw(name) ?? standard;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw this.wrong(name, 'a number greater than 0');
  }

  flag(name: string, standard: boolean): boolean {
    const value = this.raw(name) ?? standard;
    if (typeof value === 'boolean') return value;
    throw this.wrong(name, 'true or false');
  }

  choice<T>(name: string, choices: Readonly<Record<string, T>>, standard: string): T {
    const value = this.raw(name) ?? standard;
    if (typeof value === 'string' && Object.hasOwn(choices, value)) return choices[value] as T;
    throw this.wrong(name, `one of ${Object.keys(choices).join(', ')}`);
  }

  /** One value under several names (transformers' attribute_map): those present must agree. */
  sameUnder(names: readonly string[]): string {
    const present = names.filter((name) => this.raw(name) !== undefined);
    const [first = names[0] as string, ...others] = present;
    for (const other of others) {
      if (this.raw(other) !== this.raw(first)) {
        throw this.wrong(other, `${JSON.stringify(this.raw(first))}, as ${first} says`);
      }
    }
    return first;
  }

  /** Refuses what the table refuses; returns the fields that the table does not know. */
  check(table: FieldTable): readonly string[] {
    const ignored: string[] = [];
    for (const [name, value] of Object.entries(this.fields)) {
      const rule = Object.hasOwn(table, name) ? table[name] : undefined;
      if (rule === undefined) ignored.push(name);
      else if (rule.kind === 'refused') {
        const text = JSON.stringify(value);
        if (!rule.unless.some((allowed) => JSON.stringify(allowed) === text)) {
          const allowed = rule.unless.map((one) => JSON.stringify(one)).join(' or ');
          throw this.wrong(name, `${allowed} (${rule.note})`);
        }
      }
    }
    return ignored.sort();
  }

  wrong(name: string, expected: string): OperationError {
    const value = this.raw(name);
    const found = value === undefined ? 'is missing' : `is ${shorten(JSON.stringify(value))}`;
    return invalidArgument(`${this.file}: field ${name} ${found}; ${expected} expected`, {
      field: 'model',
      details: { file: this.file, config_field: name },
    });
  }
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
