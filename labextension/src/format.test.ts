import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { bytes, credits, day, duration, significant, unturned, when } from './format';
import { ENGLISH, speak, trans } from './trans';

/** The tests of the Python code read the same file. */
const FIGURES = JSON.parse(readFileSync('../tests/figures.json', 'utf-8')) as Record<
  'credits' | 'duration' | 'size',
  [number, string][]
> & { significant: [string, string][] };

test.each(FIGURES.credits)('%s credits', (amount, label) => expect(`${credits(amount)} credits`).toBe(label));
test.each(FIGURES.duration)('%s seconds', (seconds, label) => expect(duration(seconds)).toBe(label));
test.each(FIGURES.size)('%s bytes', (count, label) => expect(bytes(count)).toBe(label));

test('of today the time is told, of other days the date', () => {
  const noon = new Date(2026, 10, 25, 12, 5).getTime() / 1000;
  expect(when(noon, noon + 60)).toMatch(/12.05/);
  expect(when(noon, noon + 86_400)).toMatch(/25/);
});

test.each(FIGURES.significant)('%s in data', (text, label) => expect(significant(text)).toBe(label));

test('days are named as people name them', () => {
  const noon = new Date(2026, 10, 25, 12, 5).getTime() / 1000;
  expect([day(noon - 60, noon), day(noon - 86_400, noon)]).toEqual(['Today', 'Yesterday']);
  expect(day(noon - 3 * 86_400, noon)).toMatch(/22/);
});

const TURNS = '\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u{e0041}';

test('a name keeps nothing that turns text or that nobody sees', () => {
  expect(unturned(`b${TURNS}ox`)).toBe('box');
  expect(unturned('👩‍👩‍👧 می‌خواهم naïve')).toBe('👩‍👩‍👧 می‌خواهم naïve');
});

test('a name turns no words around it, in any language', () => {
  expect(trans.__('Delete %1 permanently?', `b${TURNS}ox`)).toBe('Delete box permanently?');
  speak({ ...ENGLISH, __: (text, ...values) => text.replace('%1', String(values[0])) });
  expect(trans.__('Stop %1', '\u202exob')).toBe('Stop xob');
  speak(ENGLISH);
});
