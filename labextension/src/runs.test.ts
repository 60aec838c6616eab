import { expect, test } from 'vitest';

import { isId, isMachine, receiptIn, receiptsIn, mergeRuns, stateLabel } from './runs';
import { computePoolBill, foldPools } from './pools';
import { ExecutionRecord, JournalRun, StatusContent } from './types';
import { moment } from './format';

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
const stored = {
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
  const [run] = mergeRuns({
    history: { executions: [billed], total_executions: 1, total_credits_spent: 0.5, limit: 1, offset: 0 },
    journal: { runs: [stored], before: null }
  });
  expect(run).toMatchObject({ state: 'completed', isActive: false, cellId: 'c1' });
  expect(computePoolBill(run, 0)).toEqual({ seconds: 30, cost: 0.5, costIs: 'billed' });
  expect(run.name).toBe('train.ipynb');
});

test('runs that go on come first, and one that has left that list has ended', () => {
  const lists = { journal: { runs: [stored], before: null }, running: [going] };
  expect(mergeRuns(lists).map(run => [run.id, run.isActive])).toEqual([
    ['b', true],
    ['a', false]
  ]);
});

test('a run costs from the start of its code, which its record shows, and not from the request', () => {
  const machines = { machine_types: [{ hardware_profile: 'gpu.a100', price_per_hour: 3.6 }] };
  const running = [{ ...going, status: 'running' }];
  const [unread] = mergeRuns({ running, machines });
  expect(computePoolBill(unread, moment('2026-01-01T09:01:00Z')!).cost).toBeNull();
  const record = { ...running[0], start_time: '2026-01-01T09:00:37Z' } as ExecutionRecord;
  const [run] = mergeRuns({ running, machines, records: new Map([['b', record]]) });
  const bill = computePoolBill(run, moment('2026-01-01T09:00:47Z')!);
  expect(bill).toEqual({ seconds: 10, cost: expect.closeTo(0.01, 6), costIs: 'estimated' });
});

test('a run of another machine costs by the clock of the server, whatever this one shows', () => {
  const status = { ahead: 120 } as StatusContent;
  const machines = { machine_types: [{ hardware_profile: 'gpu.a100', price_per_hour: 3.6 }] };
  const record = { ...going, status: 'running', start_time: '2026-01-01T09:00:37Z' } as ExecutionRecord;
  const serverTime = moment('2026-01-01T08:58:47Z')!; // 09:00:47 on the server
  const [run] = mergeRuns({ status, running: [record], machines, records: new Map([['b', record]]) });
  expect(computePoolBill(run, serverTime)).toEqual({ seconds: 10, cost: expect.closeTo(0.01, 6), costIs: 'estimated' });
  const history = { executions: [record], total_executions: 1, total_credits_spent: 0, limit: 1, offset: 0 };
  expect(computePoolBill(mergeRuns({ status, history, machines })[0], serverTime).seconds).toBe(10);
});

test('a state that every object has the name of is only a word', () => {
  expect(['constructor', 'toString', '__proto__', 'failed_user'].map(state => stateLabel(state))).toEqual([
    'constructor',
    'toString',
    '  proto  ',
    'failed'
  ]);
});

test('a name of others cannot turn the row that it is in', () => {
  const [run] = mergeRuns({ running: [{ ...going, run_name: 'train\u202e 10.0' } as typeof going] });
  expect(run.name).toBe('train 10.0');
});

test('what the journal keeps of a run that no list has is its bill', () => {
  const [run] = mergeRuns({
    journal: { runs: [{ ...stored, going_on: false, state: 'completed', seconds: 36, cost: null }], before: null }
  });
  expect(computePoolBill(run, 0)).toEqual({ seconds: 36, cost: expect.closeTo(0.025, 6), costIs: 'estimated' });
});

/** Values that would be more than a word in a line of a cell, a path or a file name. */
const ODD = [
  '',
  ' a',
  'a b',
  'a\nb',
  'a\n',
  '{1}',
  '$x',
  '../x',
  'a/b',
  'a.b',
  'a\\b',
  'ä',
  'a'.repeat(101),
  5,
  null,
  {},
  ['a']
];

test('a notebook that somebody sent puts no code into a cell: only an id is the id of a run', () => {
  expect(['3f0c2a9e-5b1d', 'run_1', 'a'.repeat(100)].every(isId)).toBe(true);
  expect(ODD.filter(isId)).toEqual([]);
  for (const execution_id of ODD) {
    expect(receiptIn({ lk_jupyter: { execution_id, state: 'completed' } })).toBeNull();
  }
});

test('a server or journal puts no code into a cell: rows with odd ids are not listed', () => {
  for (const execution_id of ODD as string[]) {
    const lists = {
      running: [{ ...going, execution_id }],
      history: {
        executions: [{ ...billed, execution_id }],
        total_executions: 1,
        total_credits_spent: 0,
        limit: 1,
        offset: 0
      },
      journal: { runs: [{ ...stored, execution_id }], before: null }
    };
    expect(mergeRuns(lists as unknown as Parameters<typeof mergeRuns>[0])).toEqual([]);
  }
});

test('whatever a notebook has in its metadata, it is a receipt or none', () => {
  const values = [...ODD, undefined, NaN, [], { toString: null }, true];
  for (const value of values) {
    for (const metadata of [value, { lk_jupyter: value }, { lk_jupyter: { execution_id: 'a', state: value } }]) {
      expect(typeof (receiptIn(metadata)?.state ?? '')).toBe('string');
    }
    const odd = { execution_id: 'a', state: value, machine: value, seconds: value, cost: value, cost_is: value };
    const { machine, seconds, cost, cost_is } = receiptIn({ lk_jupyter: odd })!;
    expect([machine, seconds, cost, cost_is].every(fact => typeof fact !== 'object')).toBe(true);
    expect(receiptsIn({ lk_jupyter: { runs: value } })).toEqual([]);
  }
});

test('the runs of a cell that started several have a receipt each', () => {
  const runs = [{ execution_id: 'a', state: 'completed', cost: '0.5', cost_is: 'billed' }, 5, { execution_id: 'b' }];
  expect(receiptsIn({ lk_jupyter: { runs } }).map(run => [run.execution_id, run.cost, run.cost_is])).toEqual([
    ['a', '0.5', 'billed'],
    ['b', undefined, undefined]
  ]);
  expect(receiptsIn({ lk_jupyter: runs[0] })).toHaveLength(1);
  expect(receiptsIn({})).toEqual([]);
});

test('a notebook that somebody sent names no machine that is code', () => {
  expect(['gpu.a100', 'cpu', 'on-demand.h100.8x'].every(isMachine)).toBe(true);
  expect(['', 'cpu\nimport os', 'cpu {1}', 'cpu $x', 'cpu --yes', 5, null].filter(isMachine)).toEqual([]);
});

test('runs of another server are left out, unless this server lists them', () => {
  const runs = [
    { ...stored, execution_id: 'here', base_url: 'http://127.0.0.1:1/', org: null },
    { ...stored, execution_id: 'gone', base_url: 'http://127.0.0.1:2', org: null },
    { ...stored, execution_id: 'a', base_url: 'http://127.0.0.1:2', org: null },
    { ...stored, execution_id: 'other', base_url: 'http://127.0.0.1:1', org: 'b-team' }
  ] as JournalRun[];
  const status = { base_url: 'http://127.0.0.1:1', organization: { slug: 'a-team' } } as StatusContent;
  const history = { executions: [billed], total_executions: 1, total_credits_spent: 0.5, limit: 1, offset: 0 };
  const rows = mergeRuns({ status, history, journal: { runs, before: null } });
  expect(rows.map(run => run.id).sort()).toEqual(['a', 'here']);
});

test('a run of the journal has its score, and the state of the cloud', () => {
  const ended = { ...billed, status: 'failed_user' };
  const summary = { mean_gpu_utilization_percent: 12, accuracy: 0.96123456 };
  const [run] = mergeRuns({
    history: { executions: [ended], total_executions: 1, total_credits_spent: 0.5, limit: 1, offset: 0 },
    journal: { runs: [{ ...stored, summary, state: 'aborted', going_on: false }], before: null }
  });
  expect(run).toMatchObject({ score: 'accuracy 0.9612', state: 'failed_user' });
});

test('the machines of an executor are one row with their price, their sums and all their runs', () => {
  const pool = '2 × A100, at most 0.53 credits';
  const machine = { ...stored, pool, group: 'g', seconds: 36, going_on: false, state: 'completed' };
  const runs = [
    { ...machine, execution_id: 'a', going_on: true, state: 'running' },
    { ...machine, execution_id: 'b' },
    { ...machine, execution_id: 'c', group: 'h' },
    { ...stored, execution_id: 'd', group: 'g' }
  ] as JournalRun[];
  const rows = foldPools(mergeRuns({ journal: { runs, before: null } }));
  expect(rows.map(({ id, members }) => [id, members?.map(member => member.id)])).toEqual([
    ['a', ['a', 'b']],
    ['d', undefined],
    ['c', ['c']]
  ]);
  expect(rows[0]).toMatchObject({ name: pool, runName: '2 × A100', isActive: true, pricePerHour: 2.5 });
  expect(computePoolBill(rows[0], 0).cost).toBeCloseTo(0.05);
});

test('the stopped machine of a session is released, another stopped run is cancelled', () => {
  expect(stateLabel('cancelled', 'session kernel-353ccd1d77a53e53')).toBe('released');
  expect(stateLabel('cancelled', 'train')).toBe('cancelled');
  expect(stateLabel('failed', 'session train')).toBe('failed');
});
