import { expect, test } from 'vitest';

import { burnRateWords, creditsWords, currentBurnRate, endWords, readBudget } from './balance';

const rate = (per_hour: string, complete: boolean) => ({ things: [], per_hour, complete, label: '' });

test('the known prices are summed up, and said to be the least when one is not known', () => {
  expect(burnRateWords(rate('4.380', true))).toBe('4.38 credits/h');
  expect(burnRateWords(rate('1.59', false))).toBe('at least 1.59 credits/h');
  expect(burnRateWords(rate('0', false))).toBe('price unknown');
});

test('the credits end when what is known has used them, at the latest where a price is not known', () => {
  const noon = Date.parse('2026-06-02T12:00:00Z') / 1000;
  const two = new Date(1000 * (noon + 7200)).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  expect(endWords(4, rate('2', true), noon)).toBe(two);
  expect(endWords(4, rate('2', false), noon)).toBe(`${two} at the latest`);
  expect(endWords(4, rate('0', false), noon)).toBeNull();
  expect(endWords(null, rate('2', true), noon)).toBeNull();
});

test('runs of the newest list count at once, and a run that the list lacks no longer counts', () => {
  const vm = { kind: 'VM', id: 'v', name: 'box', hardware: 'A100', per_hour: '2.5' };
  const ended = { kind: 'run', id: 'a', name: 'a', hardware: 'A100', per_hour: '1.59' };
  const burnRate = { ...rate('4.09', true), things: [vm, ended] };
  const machines = { machine_types: [{ hardware_profile: 'gpu.a100', price_per_hour: 1.59 }] };
  const run = (id: string) => ({ execution_id: id, status: 'Running', hardware_profile: 'gpu.a100' });
  const running = [...['b', 'c', 'd', 'e', 'f'].map(run), { ...run('g'), status: 'pending' }];
  expect(burnRateWords(currentBurnRate({ burnRate, running, machines })!)).toBe('10.45 credits/h');
  expect(burnRateWords(currentBurnRate({ burnRate, running: [], machines })!)).toBe('2.5 credits/h');
  expect(burnRateWords(currentBurnRate({ burnRate, running })!)).toBe('at least 2.5 credits/h');
  expect(currentBurnRate({ running })).toBeUndefined();
});

test('the budget of a key shows what is left of it, and its period', () => {
  expect(creditsWords(41.2, readBudget({ remaining_credits: 41.2 }))).toBe('41.20 credits');
  const answer = (period?: 'week' | 'month') => readBudget({ budget: { credits: 10, period } });
  expect(creditsWords(3.2, answer('week'))).toBe('3.20 of 10 credits left this week');
  expect(creditsWords(3.2, answer('month'))).toBe('3.20 of 10 credits left this month');
  expect(creditsWords(0, answer())).toBe('0.0000 of 10 credits left');
});
