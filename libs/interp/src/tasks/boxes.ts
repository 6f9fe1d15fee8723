import { assert, type Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { LETTERS, THINGS } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

/** How far the letter stands from its thing: the curriculum goes from neighbours to the whole sentence. */
export type BoxForm = 'beside' | 'near' | 'sentence';

export interface BoxFacts {
  readonly factForm: BoxForm;
  readonly questionForm: BoxForm;
  readonly facts: number;
  readonly questions: number;
}

/**
 * "The book is in box C. … Which box is the book in? Box C." Things and letters of one text differ. Held out: the
 * (thing, letter) of the fact that is asked for; training holds no such fact, asked or not.
 */
export function boxFacts(rng: Rng, split: Split, size: BoxFacts): Text {
  assert(size.facts >= 2 && size.questions >= 1);
  const facts = drawFacts(rng, split, size.facts);
  const asked = questionOrder(rng, facts, size.questions);
  return [
    ...facts.map(({ thing, letter }, i) => guess(factText(size.factForm, thing, letter, i === 0))),
    ...asked.flatMap(({ thing, letter }) => [
      guess(questionText(size.questionForm, thing)),
      answer(` ${letter}`),
      guess('.'),
    ]),
  ];
}

interface Fact {
  readonly thing: string;
  readonly letter: string;
}

/** Things first, then for each a letter that is free and of the split; from the start when one finds none. */
function drawFacts(rng: Rng, split: Split, count: number): Fact[] {
  for (;;) {
    const facts: Fact[] = [];
    for (const thing of rng.shuffle(THINGS).slice(0, count)) {
      const free = LETTERS.filter(
        (letter) =>
          allowed(split, 'box', thing, letter) && !facts.some((fact) => fact.letter === letter),
      );
      if (free.length > 0) facts.push({ thing, letter: rng.pick(free) });
    }
    if (facts.length === count) return facts;
  }
}

/** Every fact once in a new order, then again in another, as far as the number of questions goes. */
function questionOrder(rng: Rng, facts: readonly Fact[], questions: number): Fact[] {
  const asked: Fact[] = [];
  while (asked.length < questions) asked.push(...rng.shuffle(facts));
  return asked.slice(0, questions);
}

function factText(form: BoxForm, thing: string, letter: string, first: boolean): string {
  const space = first ? '' : ' ';
  if (form === 'beside') return `${space}The ${thing} ${letter}.`;
  if (form === 'near') return `${space}The ${thing} in ${letter}.`;
  return `${space}The ${thing} is in box ${letter}.`;
}

function questionText(form: BoxForm, thing: string): string {
  if (form === 'beside') return ` The ${thing}`;
  if (form === 'near') return ` The ${thing} in`;
  return ` Which box is the ${thing} in? Box`;
}
