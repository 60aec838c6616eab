import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Machine, MachinePicker, MachinePickerProps } from './MachinePicker';

afterEach(cleanup);

const nothing = () => Promise.resolve();
const wish = { memory: '', price: '', available: false, text: '', limit: '', by: 'price_per_hour', descending: false };
const a100: Machine = {
  ...{ profile: 'gpu.a100', gpu: 'A100', memory_gib: '80', gpus: '1', vcpus: '–', ram_gib: '–' },
  ...{ price_per_hour: '1.59', worst: '0.2650 credits', allowed: 'yes', free: 'yes' }
};

function show(part: Partial<MachinePickerProps> = {}) {
  const heard = { onWish: vi.fn(), onChoose: vi.fn(), onCheapest: vi.fn(nothing), onDefault: vi.fn(nothing) };
  const traits = { wish, rows: [a100], total: '1 of 7 machines.', value: 'gpu.l40s', default: 'gpu.l40s', problem: '' };
  render(<MachinePicker {...traits} {...heard} {...part} />);
  return heard;
}

test('what is typed is asked for beside what was asked for before', () => {
  const { onWish } = show({ wish: { ...wish, price: '2' } });
  fireEvent.input(screen.getByLabelText(/GPU memory/), { target: { value: '40 GB' } });
  expect(onWish).toHaveBeenCalledWith({ ...wish, price: '2', memory: '40 GB' });
});

test('a heading sorts by its column, and the other way round when it does already', () => {
  const { onWish } = show();
  fireEvent.click(screen.getByRole('button', { name: 'GPU' }));
  expect(onWish).toHaveBeenLastCalledWith({ ...wish, by: 'gpu' });
  fireEvent.click(screen.getByRole('button', { name: 'Price/h' }));
  expect(onWish).toHaveBeenLastCalledWith({ ...wish, descending: true });
  expect(screen.getByRole('columnheader', { name: 'Price/h' }).getAttribute('aria-sort')).toBe('ascending');
});

test('a machine is chosen by its radio button, and says what it costs at most', () => {
  const { onChoose } = show();
  fireEvent.click(screen.getByRole('radio', { name: 'gpu.a100' }));
  expect(onChoose).toHaveBeenCalledWith('gpu.a100');
  screen.getByRole('cell', { name: '0.2650 credits' });
});

test('what is not understood is said, and the default is not offered again', () => {
  show({ problem: 'Memory is not understood.' });
  expect(screen.getByRole('alert').textContent).toContain('Memory is not understood.');
  expect(screen.getByRole<HTMLButtonElement>('button', { name: /is the default here/ }).disabled).toBe(true);
});

test('where little room is, other columns come first, and the machine that is chosen is of more use', () => {
  const actions = <button type="button">Run on it</button>;
  show({ columns: ['profile', 'free'], where: 'everywhere', value: 'gpu.a100', actions });
  expect(screen.getAllByRole('columnheader').map(head => head.textContent)).toEqual(['Machine', 'Free now']);
  expect(screen.getAllByRole('cell').map(cell => cell.textContent)).toEqual(['yes']);
  screen.getByRole('button', { name: 'Run on it' });
  screen.getByRole('button', { name: 'Make gpu.a100 the default everywhere' });
});
