import { expect, test } from 'vitest';

import { BY_NAME, Folders, countWords, moved, Order, buildTree, turned } from './folders';

const item = (key: string) => ({ key, size: '', written: '' });
const listing = (keys: string[], more = {}) => ({
  items: keys.map(item),
  token: '',
  begins: '',
  is_read: true,
  ...more
});
const folders: Folders = {
  'd/': listing(['d/a.csv', 'd/deep/', 'd/z.csv'], { token: 'next' }),
  'd/deep/': listing(['d/deep/b.csv'])
};
const rows = buildTree(folders, 'd/', '');
const names = (rows: { name: string }[]) => rows.map(row => row.name);

test('columns put files in order, the largest and newest first, and folders before them', () => {
  const item = (key: string, bytes?: number, at?: number) => ({ key, size: '', written: '', bytes, at });
  const listed = { items: [item('a', 2, 9), item('b/'), item('c', 3, 1)], token: '', begins: '', is_read: true };
  const names = (order?: Order) => buildTree({ '': listed }, '', '', order).map(row => row.name);
  expect(names()).toEqual(['a', 'b/', 'c']);
  const bySize = turned(BY_NAME, 'size');
  expect(names(bySize)).toEqual(['b/', 'c', 'a']);
  expect(names(turned(bySize, 'size'))).toEqual(['b/', 'a', 'c']);
  expect(names(turned(bySize, 'written'))).toEqual(['b/', 'a', 'c']);
  expect(names(turned(BY_NAME, 'name'))).toEqual(['b/', 'c', 'a']);
});

test('open folders have their items below them, a level deeper, and more at the end', () => {
  expect(names(rows)).toEqual(['a.csv', 'deep/', 'b.csv', 'z.csv', '3 shown: show more']);
  expect(rows.map(row => row.level)).toEqual([1, 1, 2, 1, 1]);
});

test('an empty folder, one that is not read and a search without a hit say so in words', () => {
  const name = (listed: object) => names(buildTree({ '': listing([], listed) }, '', ''))[0];
  expect(name({})).toContain('Empty');
  expect(name({ is_read: false })).toContain('Reading');
  expect(buildTree({ '': listing([], { begins: 'x' }) }, '', '').map(row => row.kind)).toEqual(['all', 'words']);
  expect(names(buildTree({ '': listing(['a']) }, '', 'nothing'))[0]).toContain('No loaded name');
});

test('a search keeps what has the words and the folders above it, in any case', () => {
  const rows = buildTree(folders, 'd/', 'B.CSV');
  expect(names(rows).slice(0, 2)).toEqual(['deep/', 'b.csv']);
  expect(countWords(folders, rows, 'B.CSV')).toContain('1 of 4 loaded names');
});

test.each([
  [0, 'ArrowUp', 'a.csv'],
  [0, 'ArrowDown', 'deep/'],
  [1, 'ArrowRight', 'b.csv'],
  [2, 'ArrowLeft', 'deep/'],
  [0, 'End', '3 shown: show more'],
  [4, 'Home', 'a.csv'],
  [0, 'z', 'z.csv'],
  [0, 'ArrowRight', undefined],
  [1, 'ArrowLeft', undefined],
  [0, 'Enter', undefined]
])('from row %i the key %s leads to %s', (at, key, name) => {
  expect(moved(rows, at, key)?.name).toBe(name);
});

test('names that look like those of objects are only names', () => {
  expect(buildTree({ '': listing(['constructor/', '__proto__']) }, '', '').map(row => row.isOpen)).toEqual([
    false,
    undefined
  ]);
});
