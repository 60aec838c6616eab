/** Messages in the user's language: the language of Lab once our first plugin has loaded, English in widgets. */
import type { TranslationBundle } from '@jupyterlab/translation';

type Words = Pick<TranslationBundle, '__' | '_n'>;

/** Return English messages; `%1` is the first value, and the number in plurals. */
export const ENGLISH: Words = {
  __: format,
  _n: (one, many, count, ...values: unknown[]) => format(count === 1 ? one : many, count, ...values)
};

/** Translate during rendering, never while a module loads: the language is set later. */
export let trans: Words = ENGLISH;

/** Use another language from now on. */
export function speak(words: Words): void {
  trans = {
    __: (text, ...values: unknown[]) => words.__(text, ...values.map(plainValue)),
    _n: (one, many, count, ...values: unknown[]) => words._n(one, many, count, ...values.map(plainValue))
  };
}

function format(text: string, ...values: unknown[]): string {
  return text.replace(/%(\d+)/g, (_, place: string) => String(plainValue(values[Number(place) - 1])));
}

/**
 * Invisible characters and characters that change the direction of text: in a name, they would reverse the button
 * around the name.
 */
const TURNS =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0]|\udb40[\udc00-\udfff]/g;

/** Remove characters that change the direction of a foreign text, which could disguise the text. */
export const unturned = (text: string): string => text.replace(TURNS, '');

function plainValue(value: unknown): unknown {
  return typeof value === 'string' ? unturned(value) : value;
}
