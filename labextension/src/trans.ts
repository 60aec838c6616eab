/** The words that users read, in their language: Lab's, once our first plugin has it; English in widgets. */
import type { TranslationBundle } from '@jupyterlab/translation';

type Words = Pick<TranslationBundle, '__' | '_n'>;

/** English as it stands in the source; `%1` is the first of the values, in plurals the number. */
export const ENGLISH: Words = {
  __: format,
  _n: (one, many, count, ...values: unknown[]) => format(count === 1 ? one : many, count, ...values)
};

/** Ask it when something is drawn, never when a module is loaded: the language comes later. */
export let trans: Words = ENGLISH;

/** Use the words of a language from now on. */
export function speak(words: Words): void {
  trans = words;
}

function format(text: string, ...values: unknown[]): string {
  return text.replace(/%(\d+)/g, (_, place: string) => String(values[Number(place) - 1]));
}
