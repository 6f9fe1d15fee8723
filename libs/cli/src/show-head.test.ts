import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import type { DescribeHeadResponse, HeadSummary } from '@heddle/ports/proto/lorsa';
import { HEAD_CARD } from './fake-head-card.ts';
import { headCard, headsTable, paperOf } from './show-head.ts';
import { columnsOf, tokenAlone, tokenInText } from './show-tokens.ts';

const card = { ...HEAD_CARD, provenance: null } as unknown as DescribeHeadResponse;
const summary = card.summary as HeadSummary;
const print = (columns?: number, environment: Record<string, string> = {}) =>
  headCard(card, paperOf(columns, environment));

/** Codes of the escape sequences before a piece of text. */
const codesBefore = (text: string, piece: string): string[] => {
  const at = text.indexOf(`m${piece}\u001b[0m`);
  assert.ok(at >= 0, `${piece} is painted`);
  return text.slice(text.lastIndexOf('\u001b[', at) + 2, at).split(';');
};

test('away from a terminal a card is plain text with marks', () => {
  assert.equal(
    print(),
    `Lorsa head 7: induction
layer 2 · QK head 1 · checkpoint run-1
active on 1.2 % of tokens · strongest 4.212

detectors
  ● induction   0.93 of 0.50  93 % of |zp| on the token after the first copy, over 32 repeats of 24
                              tokens
  ○ sink        0.04 of 0.90  mean A(t, 0) is 0.04

  fires on    ␣Mary 61.0 %  ⏎ 20.0 %
  reads from  ␣John 40.0 %
  raises      ␣John +2.12  ∅ +0.50
  lowers      ␣the -1.50

  host heads  2.1 70.0 % · 2.0 30.0 %
              participation ratio 1.72

  rule        fires on ␣Mary or ⏎ and reads from ␣John
              AUROC 0.91 on other text (nearest SAE feature 0.80, another head's 0.51)
              mean of all heads: Lorsa 0.83, TopK SAE 0.79, shuffled 0.50

samples  [token|share of the activation] «query»

  4.212  strongest, position 4 of 5
    [ Mary|0.05][ saw|-0.15][ John|1.10]⏎« Mary»
    from  ␣John (-2) 1.10 · ␣saw (-3) -0.15 · ␣Mary (-4) 0.05
    looks ␣John (-2) 0.70 · ␣Mary (-4) 0.25 · ␣saw (-3) 0.05

  0.5000  stronger than 31 %, position 100 of 120
    <|endoftext|> w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 …  w29 w30 w31 w32 w33 w34 w35 w36 w37 w38 w39
    [ w40|0.90] w41 w42 w43 w44 w45 w46 w47 w48 w49 w50 w51 …  w88 w89 w90 w91 w92 w93 w94 w95 w96
     w97 w98[ w99|0.10]« w100» w101 w102 w103 w104 w105 w106 w107 w108 w109 w110 w111 … 
    from  ␣w40 (-60) 0.90 · ␣w99 (-1) 0.10
    looks <|endoftext|> (-100) 0.80 · ␣w40 (-60) 0.15`,
  );
});

test('on a terminal tokens are shaded by what they give and take, NO_COLOR asks for marks', () => {
  const shaded = print(100);
  const [giver, taker, query] = [' John', ' saw', ' Mary'].map((t) => codesBefore(shaded, t));
  assert.ok(giver?.includes('208') && taker?.includes('159'), 'warm gives, cold takes');
  assert.ok(!query?.includes('4'), 'the first Mary is a key');
  assert.ok(shaded.includes('\u001b[1;4m Mary'), 'the last one is the query');
  assert.ok(!shaded.includes('[ John|'), 'no marks beside shades');
  assert.equal(print(100, { NO_COLOR: '1' }), print());
});

test('no line is wider than the terminal, and what matters is never elided', () => {
  for (const columns of [60, 72, 100, 160]) {
    for (const text of [print(columns), print(columns, { NO_COLOR: '1' })]) {
      const lines = stripVTControlCharacters(text).split('\n');
      for (const line of lines) assert.ok(columnsOf(line) <= columns, `${columns}: ${line}`);
      const context = lines.slice(lines.findIndex((line) => /stronger than/.test(line)) + 1, -2);
      for (const token of ['<|endoftext|>', ' w40', ' w99', ' w100']) {
        assert.ok(
          context.some((line) => line.includes(token)),
          `${token} at ${columns}`,
        );
      }
      assert.ok(context.length <= 3, 'three lines at most');
    }
  }
});

test('tokens never break a line, and take the columns that a terminal gives them', () => {
  assert.equal(tokenInText('a\n\tb\u0007'), 'a⏎⇥b␦');
  assert.equal(tokenAlone(' a '), '␣a␣');
  assert.equal(columnsOf('日本'), 4);
  assert.equal(columnsOf('e\u0301'), 1);
});

test('the table marks what a detector calls by name, and names the checkpoint only among several', () => {
  const quiet = { ...summary, head: 8, scores: summary.scores.slice(0, 1), rule_auroc: undefined };
  const one = headsTable([summary, quiet as unknown as HeadSummary], '');
  assert.match(one, /^7 +1 +1\.2 % +4\.212 +● induction 0\.93 +␣Mary ⏎ +␣John +␣John ∅ +0\.91$/m);
  assert.match(one, /^8 +1 +1\.2 % +4\.212 +- +␣Mary .* -$/m, 'far from any threshold');
  assert.match(headsTable([quiet as unknown as HeadSummary], 'sink'), /○ sink 0\.04/);
  assert.ok(!one.includes('checkpoint'));
  const other = { ...summary, checkpoint: 'run-2' };
  assert.match(headsTable([summary, other], 'sink'), /^run-2 +2 +7 .*○ sink 0\.04/m);
});
