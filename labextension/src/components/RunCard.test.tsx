import { act, cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { RunCard, RunCardProps } from './RunCard';

afterEach(cleanup);

const RUNNING: RunCardProps = {
  title: '3f0c2a9e',
  run: { execution_id: 'e1', state: 'running', seconds: 42, machine: 'gpu.a100', notes: ['Started now'] },
  reason: '',
  local: false,
  ended: false,
  stopping: false,
  held: false,
  deaf: false,
  onStop: () => Promise.resolve(),
  onDetach: () => Promise.resolve()
};

test('a run is stopped once', () => {
  const onStop = vi.fn(() => Promise.resolve());
  const { rerender } = render(<RunCard {...RUNNING} onStop={onStop} />);
  fireEvent.click(screen.getByRole('button', { name: /Abort/ }));
  expect(onStop).toHaveBeenCalledTimes(1);
  rerender(<RunCard {...RUNNING} stopping />);
  expect(screen.getByRole('button', { name: /Abort/ })).toHaveProperty('disabled', true);
});

test('the first header of a notebook says that the cloud is local, and no other does', () => {
  const notes = ['Id e1', 'No GPU on this machine: a run on gpu.a100 uses the CPU here.'];
  const card = <RunCard {...RUNNING} run={{ ...RUNNING.run, notes }} local />;
  const { container } = render(
    <>
      <div className="jp-Notebook">
        {card}
        {card}
      </div>
      {card}
    </>
  );
  const chips = [...container.querySelectorAll('.lk-run-header')].map(each => each.querySelector('.lk-chip'));
  expect(chips.map(chip => chip?.textContent)).toEqual(['Local cloud, no GPU', undefined, 'Local cloud, no GPU']);
  expect(chips[0]!.getAttribute('title')).toBe(notes[1]);
  expect(screen.queryByText(notes[1])).toBeNull();
});

test('a run has the header of its cell, and its state once', () => {
  const { container, rerender } = render(<RunCard {...RUNNING} />);
  expect(container.textContent).toBe('RunningA1000:42Started now');
  rerender(<RunCard {...RUNNING} stopping />);
  expect(screen.getByRole('status').textContent).toBe('Stopping');
});

test('only a run that holds a cell can be let go', () => {
  const { rerender } = render(<RunCard {...RUNNING} />);
  expect(screen.queryByRole('button', { name: /Detach/ })).toBeNull();
  rerender(<RunCard {...RUNNING} held />);
  screen.getByRole('button', { name: /Detach/ });
});

test('a kernel that takes no clicks has words in place of buttons, and a run that has ended has neither', () => {
  const { container, rerender } = render(<RunCard {...RUNNING} deaf />);
  expect(screen.queryByRole('button')).toBeNull();
  expect(container.textContent).toContain('%lk_abort 3f0c2a9e');
  rerender(<RunCard {...RUNNING} deaf ended reason="run 3f0c2a9e ended with exit code 1" />);
  expect(container.textContent).not.toContain('%lk_abort');
  expect(container.textContent).toContain('exit code 1');
});

test('a click that nobody hears has words below it, until it is heard', async () => {
  vi.useFakeTimers();
  try {
    let hear = () => {};
    const onStop = () => new Promise<void>(resolve => (hear = resolve));
    const { container } = render(<RunCard {...RUNNING} onStop={onStop} />);
    fireEvent.click(screen.getByRole('button', { name: /Abort/ }));
    expect(container.textContent).not.toContain('%lk_abort');
    await act(() => vi.advanceTimersByTimeAsync(3000));
    expect(container.textContent).toContain("This button doesn't work while a cell runs in this kernel.");
    hear();
    await act(() => vi.advanceTimersByTimeAsync(0));
    expect(container.textContent).not.toContain('%lk_abort');
  } finally {
    vi.useRealTimers();
  }
});
