/** What we use of cli-progress, which ships no types. */
declare module 'cli-progress' {
  export class SingleBar {
    constructor(options: object, preset: object);
    start(total: number, startValue: number, payload?: object): void;
    update(value: number, payload?: object): void;
    setTotal(total: number): void;
    stop(): void;
  }
  export const Presets: { readonly shades_classic: object };
}
