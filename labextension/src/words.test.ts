import { expect, test } from 'vitest';

import { credits, when } from './words';

test('a cost that is almost nothing is not told as nothing', () => {
  expect([0, 0.00004, 0.0017, 12.345].map(credits)).toEqual(['0.0000', '< 0.0001', '0.0017', '12.35']);
});

test('of today the time is told, of other days the date', () => {
  const noon = new Date(2026, 10, 25, 12, 5).getTime() / 1000;
  expect(when(noon, noon + 60)).toMatch(/12.05/);
  expect(when(noon, noon + 86_400)).toMatch(/25/);
});
