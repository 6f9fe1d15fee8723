// `heddle up` without the fence: an append goes behind whatever is last, not behind what it was decided on.
// The suite must find out.
import { OperationError } from '@heddle/core';
import type { Journal } from '@heddle/ports';
import { heddleMain } from 'heddle';

/** As the journal that it wraps, but nothing is ever too late. */
function unfenced(journal: Journal): Journal {
  const append: Journal['append'] = async (stream, expected, events) => {
    for (let last = expected; ; ) {
      try {
        return await journal.append(stream, last, events);
      } catch (thrown) {
        if (OperationError.from(thrown).code !== 'aborted') throw thrown;
        last = (await journal.read(stream)).length;
      }
    }
  };
  return new Proxy(journal, {
    get(target, name) {
      if (name === 'append') return append;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

await heddleMain({ wrapStores: (stores) => ({ ...stores, journal: unfenced(stores.journal) }) });
