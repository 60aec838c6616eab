import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Balance, BalanceProps } from './Balance';

afterEach(cleanup);

const traits: Omit<BalanceProps, 'onSwitch'> = {
  org: 'mine',
  orgs: [
    ['mine', 'Mine'],
    ['team', 'The team']
  ],
  days: 2,
  left: '12.50 credits',
  running: '1 run',
  per_hour: '1.59 credits',
  runs_out: '2026-06-02T12:00+00:00',
  complete: true,
  suspended: false,
  burning: [['train.py', 'run', 'A100', '1.59 credits']],
  spent: '2.00 credits',
  by_day: [
    ['2026-06-01', '0.0000', 0],
    ['2026-06-02', '2.00', 1]
  ],
  by_kind: [['Runs', '2.00', 1]],
  by_hardware: [['A100', '2.00', 1]]
};

test('another organization can be chosen', () => {
  const onSwitch = vi.fn(() => Promise.resolve());
  render(<Balance {...traits} onSwitch={onSwitch} />);
  fireEvent.input(screen.getByLabelText('Organization'), { target: { value: 'team' } });
  expect(onSwitch).toHaveBeenCalledWith('team');
});

test('each bar has its figure in a table, and each day its credits', () => {
  const { container } = render(<Balance {...traits} onSwitch={() => Promise.resolve()} />);
  expect(screen.getByRole('table', { name: 'By hardware' }).textContent).toContain('A1002.00');
  expect([...container.querySelectorAll('title')].map(title => title.textContent)).toEqual([
    '2026-06-01: 0.0000 credits',
    '2026-06-02: 2.00 credits'
  ]);
});

test('that nothing was spent or runs is said in words', () => {
  const days: BalanceProps['by_day'] = [['2026-06-01', '0.0000', 0]];
  render(<Balance {...traits} runs_out="" burning={[]} by_day={days} onSwitch={() => Promise.resolve()} />);
  screen.getByText('No spending today.');
  screen.getByText('never at this rate');
});

test('the end is the latest that it can be while a price is not known, and nothing without any', () => {
  const { rerender } = render(<Balance {...traits} complete={false} onSwitch={() => Promise.resolve()} />);
  screen.getByText(/ at the latest$/);
  rerender(<Balance {...traits} complete={false} runs_out="" onSwitch={() => Promise.resolve()} />);
  screen.getByText('unknown');
});
