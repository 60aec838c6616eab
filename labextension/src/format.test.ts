import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { bytes, credits, day, duration, significant, when } from './format';

/** Read by the tests of the Python half too. */
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
