/** Who wants to hear of which job. A job that nobody listens to takes no memory. */
export class Listeners<News extends readonly unknown[]> {
  private readonly byJob = new Map<string, Set<(...news: News) => void>>();

  /** Returns what stops it. */
  add(job: string, listener: (...news: News) => void): () => void {
    const known = this.byJob.get(job) ?? new Set();
    known.add(listener);
    this.byJob.set(job, known);
    return () => {
      known.delete(listener);
      if (known.size === 0) this.byJob.delete(job);
    };
  }

  tell(job: string, ...news: News): void {
    for (const listener of this.byJob.get(job) ?? []) listener(...news);
  }
}
