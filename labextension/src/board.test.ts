import { expect, test } from 'vitest';

import { BoardRow, longerLimit, savedBoard, sortRows } from './board';
import { columnDecimals, curvePath, savedCurves, valueLabel } from './components/scalars';

const RUN = { execution_id: 'aaaaaaaa-1', state: 'running', machine: 'gpu.a100', number: 1, values: { lr: 0.1 } };
const BOARD = { swept: ['lr'], score: { name: 'loss', highest: false }, names: ['loss'] };

test('a leaderboard is read, and data of other forms is left out', () => {
  const board = savedBoard({
    head: '2 runs',
    board: BOARD,
    runs: [{ ...RUN, score: 0.5, share: 7 }, { number: 2 }, 3]
  })!;
  expect(board.members.map(({ number, values, score, share }) => [number, values, score, share])).toEqual([
    [1, { lr: '0.1' }, 0.5, null]
  ]);
  expect(savedBoard({ head: '2 runs', runs: [RUN] })).toBeNull();
  expect(savedBoard({ head: 3, runs: [RUN], board: BOARD })).toBeNull();
  expect(savedBoard(null)).toBeNull();
});

test('a longer rerun has twice the limit, and never more than the longest', () => {
  expect([longerLimit(100, 600), longerLimit(400, 600), longerLimit(600, 600)]).toEqual([200, 600, null]);
  expect([longerLimit(100, null), longerLimit(null, 600)]).toEqual([200, null]);
});

test('all values of a column have the same decimals, except very large and small ones', () => {
  const values = [0.95678, 0.79, -3.1, 12, 1e-9];
  const decimals = columnDecimals(values);
  expect(values.map(value => valueLabel(value, decimals))).toEqual([
    '0.9568',
    '0.7900',
    '-3.1000',
    '12.0000',
    '1.0e-9'
  ]);
  expect(columnDecimals([3, 4])).toBe(0);
});

test('curves of an output are checked', () => {
  const curve = { name: 'loss', steps: [1, 2, 3], values: [3, 'x', 1] };
  expect(savedCurves([curve])).toEqual([{ name: 'loss', steps: [1, 2, 3], values: [3, null, 1] }]);
  expect(savedCurves([{ ...curve, steps: [2, 1, 3] }, { ...curve, steps: ['1'] }, { name: 1 }, null, 'x'])).toEqual([]);
  expect(savedCurves(Array.from({ length: 100 }, () => curve))).toHaveLength(20);
});

test('names of curves have no characters that change the direction of a text', () => {
  const [curve] = savedCurves([{ name: 'lo\u202ess', steps: [1], values: [1] }]);
  expect(curve.name).toBe('loss');
});

const row = (number: number, score: number | string | null, cost: number | null): BoardRow => ({
  ...{ machine: '', state: '', seconds: null, cost },
  member: { ...savedBoard({ head: '', board: BOARD, runs: [{ ...RUN, number, score }] })!.members[0] }
});
const numbers = (rows: BoardRow[]) => rows.map(({ member }) => member.number);

test('the best comes first, of equal runs the cheapest, and runs without a score last', () => {
  const rows = [row(1, null, 1), row(2, 0.5, 3), row(3, 0.5, 2), row(4, 0.1, null)];
  expect(numbers(sortRows(rows, { column: 'score', down: false }))).toEqual([4, 3, 2, 1]);
  expect(numbers(sortRows(rows, { column: 'score', down: true }))).toEqual([3, 2, 4, 1]);
  expect(numbers(sortRows(rows, { column: 'cost', down: false }))).toEqual([1, 3, 2, 4]);
  expect(numbers(sortRows(rows, { column: 'number', down: true }))).toEqual([4, 3, 2, 1]);
});

test('a score in words is no best score', () => {
  const rows = [row(1, 'unknown', 1), row(2, 10, 1), row(3, 9, 1), row(4, 'a', 1)];
  expect(numbers(sortRows(rows, { column: 'score', down: true })).slice(0, 2)).toEqual([2, 3]);
  expect(numbers(sortRows(rows, { column: 'score', down: false })).slice(0, 2)).toEqual([3, 2]);
});

test('a gap breaks a sparkline, and values have the digits that people compare', () => {
  expect(curvePath({ name: '', steps: [1, 2, 3], values: [1, null, 2] })).toBe('M0.0 22.0M100.0 2.0');
  expect([0.93812, 2.3e-5, 1234567, 3].map(value => valueLabel(value))).toEqual(['0.9381', '2.3e-5', '1.2e+6', '3']);
});
