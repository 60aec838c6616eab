import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test } from 'vitest';

import { RunLog } from './RunLog';
import { marked, matching } from './search';

afterEach(cleanup);

const PATIENT = { timeout: 4000 };
const LOG = Array.from({ length: 12_000 }, (_, at) => `line ${at}`);
const load = (start: number) => Promise.resolve({ first: start, lines: LOG.slice(start, start + 5000) });

test('a long log is brought page by page, and only what is seen of it is in the page', async () => {
  const { container } = render(<RunLog total={12_000} live="" ended load={load} />);
  await screen.findByText('12,000 lines', {}, PATIENT);
  expect(container.querySelectorAll('.lk-line').length).toBeLessThan(100);
});

test('a search shows the lines that have it, whatever their case and signs', async () => {
  const { container } = render(<RunLog total={12_000} live="" ended load={load} />);
  await screen.findByText('12,000 lines', {}, PATIENT);
  fireEvent.input(screen.getByRole('searchbox'), { target: { value: 'LINE 11999' } });
  await screen.findByText('1 of 12,000 lines', {}, PATIENT);
  expect(container.querySelector('mark')!.textContent).toBe('line 11999');
});

test('a log whose beginning is not kept says so', async () => {
  render(<RunLog total={7} live="" ended load={() => Promise.resolve({ first: 5, lines: ['a', 'b'] })} />);
  await screen.findByText('2 lines; 5 before them are in the log file', {}, PATIENT);
});

test('an empty log says why', () => {
  const { rerender } = render(<RunLog total={0} live="" ended={false} load={load} />);
  screen.getByText('Nothing written yet.');
  rerender(<RunLog total={0} live="" ended load={load} />);
  screen.getByText('The run wrote nothing.');
});

test('signs of patterns are searched for as they are', () => {
  expect(matching(['a.b', 'axb'], 'A.B')).toEqual([0]);
  expect(matching(['a'], '')).toBeNull();
  expect(marked('x(1) y(1)', '(1)')).toEqual(['x', '(1)', ' y', '(1)', '']);
});
