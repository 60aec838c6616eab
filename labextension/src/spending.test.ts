import { expect, test, vi } from 'vitest';

import { spendingWords } from './spending';

// Lab's own parts need more of a browser than these tests have.
vi.mock('@jupyterlab/apputils', () => ({}));

const types = [
  { hardware_profile: 'gpu.a100', price_per_hour: 1.59 },
  { hardware_profile: 'gpu.h100', price_per_hour: 2.79 },
  { hardware_profile: 'cpu', price_per_hour: null }
];
const words = (
  line: string,
  machine: string | null = null,
  left: number | null = null,
  seconds: number | null = null
) => spendingWords([`%%lk_run ${line}\nprint(1)`], { types, machine, seconds }, left).join(' ');

test('a question names the machine, its price and the most that the cell costs', () => {
  expect(words('--gpu A100 --timeout 600')).toBe('It runs on A100 at 1.59/h. It costs at most 0.2650 credits.');
  expect(words('--gpu A100 --timeout 600 --max-cost 0.1')).toContain('at most 0.1000 credits');
  expect(words('--gpu "H100|A100"')).toBe(
    'It runs on H100|A100 at up to 2.79/h. It is billed by the second until it ends.'
  );
});

test('a cell without a time limit costs at most what the usual one does', () => {
  expect(words('--gpu A100', null, null, 60)).toBe('It runs on A100 at 1.59/h. It costs at most 0.0265 credits.');
  expect(words('--gpu A100 --sweep lr=1,2', null, null, 60)).toContain('It is billed by the second until it ends.');
});

test('several machines cost their sum', () => {
  expect(words('--gpu A100,H100 --timeout=600')).toBe(
    'It runs on A100 at 1.59/h, H100 at 2.79/h. It costs at most 0.7300 credits.'
  );
});

test('without a machine on its line a cell runs where it did before', () => {
  expect(words('', 'gpu.a100')).toContain('It runs on A100 at 1.59/h.');
  expect(words('--timeout 60 --machine cpu')).toBe('It runs on cpu. It is billed by the second until it ends.');
  expect(words('')).toContain('your default machine');
});

test('a balance that is too small is said', () => {
  expect(words('--gpu A100 --timeout 600', null, 0.01)).toContain('⚠ Only 0.0100 credits are left.');
  expect(words('--gpu A100 --timeout 600', null, 5)).toContain(' 5.00 credits are left.');
});

test('a line that somebody sent costs no more than the question says', () => {
  const billed = 'It is billed by the second until it ends.';
  expect(words('--gpu A100 --timeout 60 --timeout 360000')).toContain('It costs at most 159.00 credits.');
  expect(words('--gpu A100 --timeout 3600 --label "x --max-cost 0.01"')).toContain('at most 1.59 credits');
  expect(words("--gpu A100 --timeout 3600 --label='--gpu cpu'")).toContain('It runs on A100 at 1.59/h.');
  expect(words('--gpu "A100|H100" --timeout 3600')).toContain('at up to 2.79/h. It costs at most 2.79 credits.');
  expect(words('--gpu A100 --timeout soon', null, null, 60)).toContain(billed);
  for (const line of ["--timeout 60{'0' * 5}", "--timeout 60 {'--timeout 99999'}", '--timeout 60 $more']) {
    expect(words(`--gpu A100 ${line}`)).toContain('Its line is calculated when it runs');
    expect(words(`--gpu A100 ${line}`)).toContain(billed);
  }
});

test('several cells cost their sum', () => {
  const cells = ['%%lk_run --gpu A100 --timeout 3600\nx', '%%lk_run --gpu H100 --timeout 3600\nx'];
  expect(spendingWords(cells, { types, machine: null, seconds: null }, null).join(' ')).toBe(
    'It runs on A100 at 1.59/h, H100 at 2.79/h. It costs at most 4.38 credits.'
  );
});
