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
  trans = {
    __: (text, ...values: unknown[]) => words.__(text, ...values.map(plainValue)),
    _n: (one, many, count, ...values: unknown[]) => words._n(one, many, count, ...values.map(plainValue))
  };
}

function format(text: string, ...values: unknown[]): string {
  return text.replace(/%(\d+)/g, (_, place: string) => String(plainValue(values[Number(place) - 1])));
}

/** Signs that turn the direction of text, or that nobody sees: with them, a name reverses the button around it. */
const TURNS =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0]|\udb40[\udc00-\udfff]/g;

/** A text of others without signs that turn the direction in which it is read: it would look like another one. */
export const unturned = (text: string): string => text.replace(TURNS, '');

function plainValue(value: unknown): unknown {
  return typeof value === 'string' ? unturned(value) : value;
}
