import { expect, test } from 'vitest';

import { soFar } from './components/RunList';
import { runsOf } from './runs';
import { JournalRun } from './types';

const billed = {
  execution_id: 'a',
  created_at: '2026-01-01T10:00:00',
  execution_type: 'python',
  status: 'completed',
  hardware_profile: 'gpu.a100',
  file_name: 'train.py',
  start_time: '2026-01-01T10:00:01',
  end_time: '2026-01-01T10:00:31Z',
  billed: 0.5
};
const kept = {
  execution_id: 'a',
  notebook: '/home/me/train.ipynb',
  cell_id: 'c1',
  state: 'running',
  going_on: true,
  machine: 'gpu.a100',
  price_per_hour: '2.5',
  created_at: 1767261600,
  cost: null
} as JournalRun;
const going = {
  execution_id: 'b',
  status: 'Running',
  created_at: '2026-01-01T09:00:00Z',
  hardware_profile: 'gpu.a100'
};

test('the cloud tells how a run went, and the journal which cell it came from', () => {
  const [run] = runsOf({
    history: { executions: [billed], total_executions: 1, total_credits_spent: 0.5, limit: 1, offset: 0 },
    journal: { runs: [kept], before: null }
  });
  expect(run).toMatchObject({ state: 'completed', goingOn: false, seconds: 30, cost: 0.5, cellId: 'c1' });
  expect(run.name).toBe('train.ipynb');
});

test('runs that go on come first, and one that has left that list has ended', () => {
  const lists = { journal: { runs: [kept], before: null }, running: [going] };
  expect(runsOf(lists).map(run => [run.id, run.goingOn])).toEqual([
    ['b', true],
    ['a', false]
  ]);
});

test('cost counts on with the price while a run goes on, and is what was billed after', () => {
  const [run] = runsOf({
    running: [going],
    machines: { machine_types: [{ hardware_profile: 'gpu.a100', price_per_hour: 3.6 }] }
  });
  expect(soFar(run, run.since! + 100)).toMatchObject({ seconds: 100, estimated: true });
  expect(soFar(run, run.since! + 100).cost).toBeCloseTo(0.1);
});
