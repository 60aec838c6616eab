import { expect, test } from 'vitest';

import {
  adviceIn,
  hintsIn,
  isRemote,
  mayAdd,
  onMachine,
  otherMagic,
  readMachine,
  withOption,
  withoutMagic
} from './magicLine';

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
  expect(withoutMagic(onMachine(cell, 'gpu.h100'))).toBe(cell);
});

test('the machine of a line is told without its quotes', () => {
  expect(readMachine('%%lk_run --gpu "A100|H100" --detach\n')).toBe('A100|H100');
  expect(readMachine('%%lk_runs')).toBeNull();
});

test('a cell of another magic is told', () => {
  expect(otherMagic('\n%%bash\nls')).toBe('%%bash');
  expect(otherMagic('%%lk_run\nx')).toBeNull();
});

test('an option is added to the line once, in the place of another value of it where it takes one', () => {
  expect(withOption('%%lk_run\nprint(y)', '--in y')).toBe('%%lk_run --in y\nprint(y)');
  expect(withOption('%%lk_run --in x --gpu A100 \nx', '--in y')).toBe('%%lk_run --in x --gpu A100 --in y\nx');
  expect(withOption('%%lk_run --timeout 60 -r a\nx', '--timeout 120')).toBe('%%lk_run -r a --timeout 120\nx');
  expect(withOption('%%lk_run --machine gpu.l40s\nx', '--gpu A100')).toBe('%%lk_run --gpu A100\nx');
  expect(withOption('%%lk_run --in y\nx', '--in y')).toBe('%%lk_run --in y\nx');
  expect(withOption('%%lk_run --fresh --gpu A100\nx', '--sync')).toBe('%%lk_run --gpu A100 --sync\nx');
  expect(withOption('%%lk_run --carry --gpu A100\nx', '--fresh')).toBe('%%lk_run --gpu A100 --fresh\nx');
  expect(withOption('%%lk_run --no-carry\nx', '--sync')).toBe('%%lk_run --sync\nx');
  expect(withOption('print(1)', '--in y')).toBe('print(1)');
});

test('an error with one possible fix offers its option, and an error with several fixes offers none', () => {
  const advice = (evalue: unknown, ename = 'UsageError') => adviceIn({ ename, evalue });
  expect(advice("-r auto: 'x' isn't installed here. Nothing was sent. Name the packages: -r x")).toEqual(['-r x']);
  expect(advice('The links last 20 s. Nothing was sent. Lower the limit: --timeout 20')).toEqual(['--timeout 20']);
  expect(advice('Nothing was sent. Add --sync. Again: --sync')).toEqual(['--sync']);
  expect(advice('Nothing was sent. Name the packages: -r x -r y')).toEqual([]);
  expect(advice("-r: 'a b' is no package. Nothing was sent. Example: -r torch")).toEqual([]);
  expect(advice('--timeout 7 is too much.')).toEqual([]);
  expect(advice('Nothing was sent. Send it anyway: --allow-secrets')).toEqual([]);
  expect(advice('Nothing was sent. Add --files ../../.ssh/id_rsa')).toEqual([]);
  expect(advice('Nothing was sent. Add -r x', 'ValueError')).toEqual([]);
  expect(advice(['Nothing was sent. ', 5])).toEqual([]);
  const question = 'This cell reads X (5 B). Nothing was sent. Choose one:\n%lk_config carry always --notebook\n';
  const lines = '%%lk_run --machine cpu --sync\n%%lk_run --machine cpu --fresh';
  expect(advice(question + lines)).toEqual(['--sync', '--fresh']);
  const hostile = 'Nothing was sent. ' + '--timeout '.repeat(1e6);
  expect(advice(hostile)).toEqual([]);
});

test('a notebook that somebody sent offers no other option than a hint has', () => {
  const options = [
    '--gpu A100',
    '--machine gpu.a100.8x',
    '-r opencv-python',
    '--in größe',
    '--carry',
    '--sync',
    '--timeout 120',
    '--max-cost 0.01'
  ];
  const files = ['--files data/train.csv', '--files "models/**/*.py"'];
  expect(hintsIn({ lk_jupyter_hints: [...options, ...files] })).toEqual([...options, ...files]);
  const odd = [
    "--in {open('RAN', 'w')}",
    '--in y\n!touch RAN',
    '--in $HOME',
    '--allow-secrets',
    '--max-cost 99999',
    '-r https://example.org/x.whl',
    '--files ../../.ssh/id_rsa',
    '--files ~/.ssh/id_rsa',
    '--files /etc/passwd',
    '(a+)+$ x',
    5,
    null
  ];
  for (const option of odd) {
    expect(hintsIn({ lk_jupyter_hints: [option] })).toEqual([]);
  }
  for (const option of ['--carry', { 0: '--carry', length: 1 }, null]) {
    expect(hintsIn({ lk_jupyter_hints: option })).toEqual([]);
  }
  expect(hintsIn(undefined)).toEqual([]);
  expect(hintsIn({ lk_jupyter_hints: Array(1e6).fill('--carry') }).length).toBeLessThan(20);
});

test('a hint limits the cost of a cell and never raises its limit', () => {
  const cell = '%%lk_run --gpu A100\ntrain()';
  expect(withOption(cell, '--max-cost 0.01')).toBe('%%lk_run --gpu A100 --max-cost 0.01\ntrain()');
  const offers = [
    '%%lk_run',
    '%%lk_run --max-cost 0.5',
    '%%lk_run --max-cost 0.01',
    '%%lk_run --max-cost=0.001',
    'print()'
  ];
  expect(offers.map(source => mayAdd(source, '--max-cost 0.01'))).toEqual([true, true, false, false, false]);
});
