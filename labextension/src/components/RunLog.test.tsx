import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Observer } from '../labMock';
import { RunLog } from './RunLog';

afterEach(cleanup);

// the page of these tests has no sizes
vi.stubGlobal('ResizeObserver', Observer);

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
  await screen.findByText('Matches in 1 of 12,000 lines, now at line 12,000', {}, PATIENT);
  fireEvent.scroll(screen.getByRole('log'));
  expect(container.querySelector('mark')!.textContent).toBe('line 11999');
});

test('a log whose beginning is not kept says so', async () => {
  render(<RunLog total={7} live="" ended load={() => Promise.resolve({ first: 5, lines: ['a', 'b'] })} />);
  await screen.findByText('2 lines are shown; the log file has 5 earlier lines', {}, PATIENT);
});

test('an empty log says why', () => {
  const { rerender } = render(<RunLog total={0} live="" ended={false} load={load} />);
  screen.getByText('No output yet.');
  rerender(<RunLog total={0} live="" ended load={load} />);
  screen.getByText('No output.');
});
