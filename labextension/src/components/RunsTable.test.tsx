import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { selectRows, TableRow, turned } from './runRows';
import { RunsTable } from './RunsTable';

afterEach(cleanup);

function row(run: string, changes: Partial<TableRow> = {}): TableRow {
  const words = {
    run,
    state: '✓ completed',
    machine: 'gpu.a100',
    started: '',
    took: '',
    cost: '',
    name: '',
    words: ''
  };
  return { id: run, ended: true, sort: {}, ...words, ...changes };
}

const ROWS = [
  row('aaaa', { name: '<b>bold</b>', sort: { cost: 9 } }),
  row('bbbb', { state: '● running', ended: false, words: 'night', sort: { cost: 10 } })
];

function table(changes: object = {}) {
  const nothing = () => Promise.resolve('');
  const compared = () =>
    Promise.resolve({ titles: ['aaaa', 'bbbb'], facts: [], curves: [[], []], code: ['-print(1)', '+print(2)'] });
  return render(
    <RunsTable
      rows={ROWS}
      note=""
      onOpen={nothing}
      onAbort={nothing}
      onPrice={() => Promise.resolve('gpu.a100 at 1.59 credits/h, at most 0.0265 credits (time limit 60 s)')}
      onRerun={nothing}
      onCompare={compared}
      {...changes}
    />
  );
}

test('a state is written once, with an icon in the place of its sign', () => {
  const { container } = table();
  const cell = screen.getByText('completed');
  expect(cell.querySelector('.lk-icon-done')).not.toBeNull();
  expect(container.textContent).not.toContain('✓');
});

test('every word of a filter must be in a row, its labels included', () => {
  const order = { column: 'started' as const, down: true };
  expect(selectRows(ROWS, 'A100 night', order).map(row => row.run)).toEqual(['bbbb']);
  expect(selectRows(ROWS, 'h100', order)).toEqual([]);
});

test('figures are ordered as figures', () => {
  expect(selectRows(ROWS, '', { column: 'cost', down: true }).map(row => row.run)).toEqual(['bbbb', 'aaaa']);
  expect(turned({ column: 'cost', down: true }, 'cost')).toEqual({ column: 'cost', down: false });
});

test('what costs is asked once more, with its machine, its price and the most that it costs', async () => {
  const onRerun = vi.fn(() => Promise.resolve(''));
  table({ onRerun });
  fireEvent.click(screen.getByRole('button', { name: 'Rerun aaaa' }));
  const question = await screen.findByRole('alertdialog');
  expect(question.textContent).toContain(
    'Rerun aaaa on gpu.a100 at 1.59 credits/h, at most 0.0265 credits (time limit 60 s)?'
  );
  expect(onRerun).not.toHaveBeenCalled();
  fireEvent.click(screen.getByRole('button', { name: 'Rerun' }));
  expect(onRerun).toHaveBeenCalledWith('aaaa');
  expect(screen.queryByRole('alertdialog')).toBeNull();
});

test('what ends something is asked once more', () => {
  const onAbort = vi.fn(() => Promise.resolve(''));
  table({ onAbort });
  fireEvent.click(screen.getByRole('button', { name: 'Abort run bbbb' }));
  fireEvent.click(screen.getByRole('button', { name: 'Cancel' }));
  expect(onAbort).not.toHaveBeenCalled();
  fireEvent.click(screen.getByRole('button', { name: 'Abort run bbbb' }));
  fireEvent.click(screen.getByRole('button', { name: 'Abort' }));
  expect(onAbort).toHaveBeenCalledWith('bbbb');
});

test('only what goes on can be stopped, and names are text', () => {
  const { container } = table();
  expect(screen.queryByRole('button', { name: 'Abort run aaaa' })).toBeNull();
  screen.getByRole('button', { name: 'Abort run bbbb' });
  expect(container.querySelector('b')).toBeNull();
});

test('two that are marked are compared', async () => {
  table();
  fireEvent.click(screen.getByLabelText('Mark run aaaa'));
  fireEvent.click(screen.getByLabelText('Mark run bbbb'));
  fireEvent.click(screen.getByRole('button', { name: /Compare/ }));
  const code = await screen.findByText(/\+print\(2\)/, {}, { timeout: 4000 });
  expect(code.textContent).toContain('-print(1)');
});
