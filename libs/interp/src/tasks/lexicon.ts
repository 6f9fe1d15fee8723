/**
 * Every word of the bundled model's training text. A word stands in one list per role; a word of two lists ("orange"
 * the fruit) would make a question ambiguous, so the lists of `CATEGORIES` are disjoint (tested).
 */

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** The 109 names of the IOI data set of sparse attention decomposition, in its order (all one token with a space). */
export const NAMES = words(`
  Aaron Adam Alan Alex Alice Amy Anderson Andre Andrew Andy Anna Anthony Arthur Austin Blake Brandon
  Brian Carter Charles Charlie Christian Christopher Clark Cole Collins Connor Crew Crystal Daniel
  David Dean Edward Elizabeth Emily Eric Eva Ford Frank George Georgia Graham Grant Henry Ian Jack
  Jacob Jake James Jamie Jane Jason Jay Jennifer Jeremy Jessica John Jonathan Jordan Joseph Joshua
  Justin Kate Kelly Kevin Kyle Laura Leon Lewis Lisa Louis Luke Madison Marco Marcus Maria Mark
  Martin Mary Matthew Max Michael Michelle Morgan Patrick Paul Peter Prince Rachel Richard River
  Robert Roman Rose Ruby Russell Ryan Sarah Scott Sean Simon Stephen Steven Sullivan Taylor Thomas
  Tyler Victoria Warren William`);

export const PLACES = words('store garden restaurant school hospital office house station');
export const GIFTS = words('ring kiss bone basketball computer necklace drink snack');

/** What can stand in a box. Disjoint from the gifts and the categories, so that one word has one habit. */
export const THINGS = words(`
  book cup pen key lamp shoe hat coin map clock brush spoon plate candle towel pillow mirror basket
  bottle needle thread button ladder hammer scissors camera radio letter stamp ticket blanket comb
  rope nail brick glass fork knife soap toy`);

export const LETTERS = words('A B C D E F G H I J K L M N O P Q R S T U V W X Y Z');

export const DAYS = words('Monday Tuesday Wednesday Thursday Friday Saturday Sunday');
export const MONTHS = words(`January February March April May June July August September October
  November December`);
export const NUMBER_WORDS = words(`one two three four five six seven eight nine ten eleven twelve
  thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty`);
export const NUMBERS: readonly string[] = Array.from({ length: 101 }, (_, n) => String(n));

/** Members by the plural with which a question names the category. */
export const CATEGORIES: Readonly<Record<string, readonly string[]>> = {
  animals: words('cat dog horse cow pig sheep goat lion tiger bear wolf fox rabbit mouse'),
  fruits: words('apple pear peach plum grape mango lemon banana cherry melon fig kiwi'),
  liquids: words('beer tea soda water coffee milk wine juice oil honey ink soup'),
  vehicles: words('car bus truck bike scooter train boat ship plane tram taxi van'),
  countries: words('USA Canada UK Australia India France Spain Italy Japan Brazil Egypt Peru'),
  colours: words('red blue green yellow black white pink brown purple grey gold silver'),
  sports: words('tennis golf rugby hockey cricket boxing rowing skiing judo chess polo sailing'),
  tools: words('saw drill axe chisel wrench pliers shovel rake spade trowel crowbar clamp'),
};

/** The pool of repeated random sequences: every word above, each once. */
export const POOL: readonly string[] = [
  ...new Set([
    ...NAMES,
    ...PLACES,
    ...GIFTS,
    ...THINGS,
    ...LETTERS,
    ...DAYS,
    ...MONTHS,
    ...NUMBER_WORDS,
    ...NUMBERS,
    ...Object.values(CATEGORIES).flat(),
    ...Object.keys(CATEGORIES),
  ]),
];
