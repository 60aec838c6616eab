import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Observer } from '../labMock';
import { Machine, MachinePicker, MachinePickerProps } from './MachinePicker';

const room = vi.spyOn(Element.prototype, 'clientWidth', 'get');
vi.stubGlobal('ResizeObserver', Observer);
beforeEach(() => void room.mockReturnValue(800));
afterEach(cleanup);

const nothing = () => Promise.resolve();
const wish = { memory: '', price: '', available: false, text: '', limit: '', by: 'price_per_hour', descending: false };
const a100: Machine = {
  ...{ profile: 'gpu.a100', gpu: 'A100', memory_gib: '80', gpus: '1', vcpus: '–', ram_gib: '–' },
  ...{ price_per_hour: '1.59', worst: '0.2650 credits', allowed: 'yes', free: 'yes' }
};

function show(part: Partial<MachinePickerProps> = {}) {
  const callbacks = { onWish: vi.fn(), onChoose: vi.fn(), onCheapest: vi.fn(nothing), onDefault: vi.fn(nothing) };
  const traits = { wish, rows: [a100], total: '1 of 7 machines.', value: 'gpu.l40s', default: 'gpu.l40s', problem: '' };
  render(<MachinePicker {...traits} {...callbacks} {...part} />);
  return callbacks;
}

test('what is typed is asked for beside what was asked for before', () => {
  const { onWish } = show({ wish: { ...wish, price: '2' } });
  fireEvent.input(screen.getByLabelText(/GPU memory/), { target: { value: '40 GB' } });
  expect(onWish).toHaveBeenCalledWith({ ...wish, price: '2', memory: '40 GB' });
});

test('a heading sorts by its column, and the other way round when it does already', () => {
  const { onWish } = show();
  fireEvent.click(screen.getByRole('button', { name: 'Memory' }));
  expect(onWish).toHaveBeenLastCalledWith({ ...wish, by: 'memory_gib' });
  fireEvent.click(screen.getByRole('button', { name: 'Price/h' }));
  expect(onWish).toHaveBeenLastCalledWith({ ...wish, descending: true });
  expect(screen.getByRole('columnheader', { name: 'Price/h' }).getAttribute('aria-sort')).toBe('ascending');
});

test('a machine is chosen by its radio button, and says what it costs at most', () => {
  const { onChoose } = show();
  fireEvent.click(screen.getByRole('radio', { name: 'A100' }));
  expect(onChoose).toHaveBeenCalledWith('gpu.a100');
  screen.getByRole('cell', { name: '0.2650 credits' });
});

test('what is not understood is said, and the default is not offered again', () => {
  show({ problem: 'Memory is not understood.' });
  expect(screen.getByRole('alert').textContent).toContain('Memory is not understood.');
  expect(screen.getByRole<HTMLButtonElement>('button', { name: /is the default of this notebook/ }).disabled).toBe(
    true
  );
});

test('what says nothing of any machine has no column, and what is free is a word', () => {
  show({ rows: [a100, { ...a100, profile: 'gpu.h100', gpu: 'H100', free: 'no' }] });
  const heads = screen.getAllByRole('columnheader').map(head => head.textContent);
  expect(heads).toEqual(['Machine', 'Memory', 'Price/h', 'At most', 'Now']);
  expect(screen.getAllByRole('cell').map(cell => cell.textContent.trim())).toEqual([
    ...['80 GiB', '1.59 0.0265 credits/min', '0.2650 credits', 'available'],
    ...['80 GiB', '1.59 0.0265 credits/min', '0.2650 credits', 'taken']
  ]);
});

test('where little room is, each machine is a card; the default has a star', () => {
  room.mockReturnValue(250);
  const actions = <button type="button">Run on it</button>;
  show({ where: 'everywhere', value: 'gpu.a100', default: 'gpu.a100', actions, wish: { ...wish, limit: '10 min' } });
  const card = screen.getByRole('listitem').textContent;
  for (const words of [
    'A100',
    'Default machine',
    '1.59 credits/h',
    '0.0265 credits/min',
    '80 GiB',
    'available',
    'at most 0.2650'
  ]) {
    expect(card).toContain(words);
  }
  screen.getByRole('button', { name: 'Run on it' });
  screen.getByRole('button', { name: 'A100 is the default for all notebooks' });
});

test('filters are behind a funnel, which counts those that are set and is open then', () => {
  show();
  const funnel = screen.getByRole('button', { name: 'Filters' });
  expect(screen.queryByRole('textbox', { name: 'Name' })).toBeNull();
  fireEvent.click(funnel);
  screen.getByRole('textbox', { name: 'Name' });
  cleanup();
  show({ wish: { ...wish, memory: '40 GB', available: true } });
  screen.getByRole('button', { name: 'Filters (2)', expanded: true });
});
