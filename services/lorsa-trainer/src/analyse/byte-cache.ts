/** Values by key, the least recently used forgotten once their bytes are too many. The newest always stays. */
export class ByteCache<T extends { readonly bytes: number }> {
  private readonly kept = new Map<string, T>();
  private readonly bytesMax: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  async get(key: string, make: () => Promise<T>): Promise<T> {
    const found = this.kept.get(key) ?? (await make());
    this.kept.delete(key);
    this.kept.set(key, found);
    let bytes = [...this.kept.values()].reduce((sum, each) => sum + each.bytes, 0);
    for (const [oldest, { bytes: freed }] of this.kept) {
      if (bytes <= this.bytesMax || oldest === key) break;
      this.kept.delete(oldest);
      bytes -= freed;
    }
    return found;
  }
}
