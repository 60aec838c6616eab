import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Rows } from './Rows';

afterEach(cleanup);

const row = (key: string, title: string, done: (what: string) => void) => ({
  ...{ key, title, facts: ['running', null, 'A100'] },
  acts: (['code', 'remove'] as const).map(icon => {
    return { icon, words: icon, name: `${icon} ${title}`, onAct: () => done(`${icon} ${key}`) };
  })
});

test('a list is one stop of the tab key, arrows reach each button, and each has a name of its own', () => {
  const done = vi.fn();
  const rows = [row('11111111-1', 'box', done), row('22222222-2', 'box', done), row('3', 'other', done)];
  render(<Rows label="VMs" none="" rows={rows} onMenu={vi.fn()} />);
  const buttons = screen.getAllByRole('button');
  const names = buttons.map(button => button.getAttribute('aria-label'));
  expect(new Set(names).size).toBe(6);
  expect(names).toContain('remove box (22222222)');
  expect(buttons.filter(button => button.tabIndex === 0)).toEqual([buttons[0]]);
  act(() => buttons[0].focus());
  const press = (key: string) => fireEvent.keyDown(document.activeElement!, { key });
  press('ArrowDown');
  press('ArrowRight');
  expect(document.activeElement).toBe(buttons[3]);
  press('ArrowRight');
  expect(document.activeElement).toBe(buttons[3]);
  fireEvent.click(buttons[3]);
  expect(done).toHaveBeenCalledWith('remove 22222222-2');
  press('End');
  expect(document.activeElement).toBe(buttons[4]);
  expect(buttons.filter(button => button.tabIndex === 0)).toEqual([buttons[4]]);
  press('Home');
  expect(document.activeElement).toBe(buttons[0]);
});

test('the context menu has what the buttons of its row do', () => {
  const onMenu = vi.fn();
  render(<Rows label="VMs" none="" rows={[row('1', 'box', vi.fn())]} onMenu={onMenu} />);
  const item = within(screen.getByRole('list', { name: 'VMs' })).getByRole('listitem');
  expect(item.textContent).toBe('boxrunning · A100');
  fireEvent.contextMenu(item, { clientX: 7, clientY: 9 });
  expect(onMenu.mock.calls[0][0].map(({ words }: { words: string }) => words)).toEqual(['code', 'remove']);
  expect(onMenu.mock.calls[0].slice(1)).toEqual([7, 9]);
});
