import { fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { expect, test, vi } from 'vitest';

import { Login } from './Login';

const nothing = () => Promise.resolve();

test('a key leaves the field as soon as it is sent', () => {
  const onSignIn = vi.fn(nothing);
  render(<Login server="https://cloud" account="" onSignIn={onSignIn} onLocal={nothing} onSignOut={nothing} />);
  const field: HTMLInputElement = screen.getByLabelText(/API key/);
  fireEvent.input(field, { target: { value: 'lk_x' } });
  fireEvent.submit(field.form!);
  expect(onSignIn).toHaveBeenCalledWith('lk_x');
  expect(field.value).toBe('');
});
