import { expect, test, vi } from 'vitest';

import { onEnter } from './onEnter';

test('Enter in a field sends its form once', () => {
  document.body.innerHTML = '<div><form><input></form></div>';
  const onSubmit = vi.fn((event: Event) => event.preventDefault());
  document.querySelector('form')!.addEventListener('submit', onSubmit);
  document.querySelector('div')!.addEventListener('keydown', onEnter);
  const press = (key: string) =>
    document
      .querySelector('input')!
      .dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  press('a');
  expect(onSubmit).not.toHaveBeenCalled();
  press('Enter');
  expect(onSubmit).toHaveBeenCalledTimes(1);
});
