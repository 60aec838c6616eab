import { expect, test } from 'vitest';

import { here, isRemote, machineOf, onMachine, otherMagic } from './magicLine';

test('a plain cell gets a line of its own', () => {
  expect(onMachine('print(1)', 'gpu.a100')).toBe('%%lk_run --gpu A100\nprint(1)');
});

test('only the wish for a machine changes, however it was written', () => {
  for (const wish of ['--gpu A100', '--gpu=A100', '--machine gpu.a100', '--gpu "A100|H100"']) {
    expect(onMachine(`%%lk_run ${wish} -r torch --name "my run"\nx`, 'cpu')).toBe(
      '%%lk_run --machine cpu -r torch --name "my run"\nx'
    );
  }
});

test('an option that only begins like one of ours stays', () => {
  expect(onMachine('%%lk_run --gpus-x 2\nx', 'cpu')).toBe('%%lk_run --machine cpu --gpus-x 2\nx');
});

test('a line goes as it came, and the rest of the cell is untouched', () => {
  const cell = 'text = "%%lk_run --gpu A100"\n';
  expect(isRemote(cell)).toBe(false);
  expect(here(onMachine(cell, 'gpu.h100'))).toBe(cell);
});

test('the machine of a line is told without its quotes', () => {
  expect(machineOf('%%lk_run --gpu "A100|H100" --detach\n')).toBe('A100|H100');
  expect(machineOf('%%lk_runs')).toBeNull();
});

test('a cell of another magic is told', () => {
  expect(otherMagic('\n%%bash\nls')).toBe('%%bash');
  expect(otherMagic('%%lk_run\nx')).toBeNull();
});
