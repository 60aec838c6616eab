import { expect, test } from 'vitest';

import { RunRow } from '../cloudTypes';
import { cellTitle, groupRuns, shortLine } from './runGroups';

const run = (id: string, notebook: string | null, cellId: string | null): RunRow =>
  ({ id, notebook, cellId, runName: '', line: `step(${id})`, name: id }) as RunRow;

test('runs are grouped by notebook and cell, in the order of the newest', () => {
  const runs = [
    run('a', 'notebooks/train.ipynb', 'one'),
    run('b', 'notebooks/eval.ipynb', 'one'),
    run('c', 'notebooks/train.ipynb', 'two'),
    run('d', null, null),
    run('e', 'notebooks/train.ipynb', 'one')
  ];
  const rows = groupRuns(runs).map(row =>
    typeof row === 'string' ? row : `${row.run.id}${row.isFirst ? '' : ' again'}`
  );
  expect(rows).toEqual(['train.ipynb', 'a', 'e again', 'c', 'eval.ipynb', 'b', 'Outside a notebook', 'd']);
});

test('two notebooks of one name have the folders that differ in their headings', () => {
  const paths = ['/data/one/train.ipynb', '/data/two/train.ipynb', '/data/eval.ipynb'];
  const rows = groupRuns(paths.map(path => run(path, path, 'x')));
  expect(rows.filter(row => typeof row === 'string')).toEqual(['one/train.ipynb', 'two/train.ipynb', 'eval.ipynb']);
});

test('a title has the number of the cell and a call without its arguments', () => {
  const fit = { ...run('a', 'n', 'c'), line: 'model.fit(images, labels, epochs=5)' };
  expect(cellTitle(fit, 5)).toBe('[5] model.fit(…)');
  expect(cellTitle({ ...fit, runName: 'digits' }, null)).toBe('digits');
  expect(shortLine('for epoch in tqdm(range(1000)):')).toBe('for epoch in tqdm(…):');
  expect(shortLine('epoch = 3')).toBe('epoch = 3');
});
