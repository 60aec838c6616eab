import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { FormField, OptionsForm } from './OptionsForm';

afterEach(cleanup);

const field = (more: Partial<FormField>): FormField => ({
  ...{
    name: 'gpu',
    flag: '--gpu',
    kind: 'text',
    choices: [],
    placeholder: '',
    suggestions: [],
    help: 'GPU to run on.'
  },
  ...{ open: true, ...more }
});

function show(fields: FormField[], problems = {}) {
  const onEntries = vi.fn();
  render(<OptionsForm fields={fields} entries={{ name: 'x' }} problems={problems} line="" onEntries={onEntries} />);
  return onEntries;
}

test('what is typed is added to the other entries', () => {
  const onEntries = show([field({})]);
  fireEvent.input(screen.getByLabelText('--gpu'), { target: { value: 'A100' } });
  expect(onEntries).toHaveBeenCalledWith({ name: 'x', gpu: 'A100' });
});

test('a problem stands at its field and marks it', () => {
  show([field({})], { gpu: 'there is none' });
  expect(screen.getByLabelText('--gpu').getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByText('there is none')).toBeTruthy();
});

test('an option is found by a word of its help', () => {
  show([
    field({ name: 'a', flag: '--a', open: false, help: 'Seconds' }),
    field({ name: 'b', flag: '--b', open: false })
  ]);
  fireEvent.input(screen.getByLabelText('Find an option'), { target: { value: 'second' } });
  expect(screen.queryByLabelText('--a')).toBeTruthy();
  expect(screen.queryByLabelText('--b')).toBeNull();
});
