import { expect, test, vi } from 'vitest';

import { isUiCall, asUiCall } from './commands';
import { drawnSource } from './sourceDialog';
import { mayRun, spendingWords } from './spending';

/** The question on the screen: title, text, and the button that Enter presses. */
interface Dialogue {
  title: string;
  text: string;
  button: string;
}
const lab = vi.hoisted(() => ({ questions: [] as Dialogue[], accepts: false }));

// Lab's own parts need more of a browser than these tests have
vi.mock('@lumino/widgets', () => ({
  Widget: class {
    node: HTMLElement;
    constructor(options: { node: HTMLElement }) {
      this.node = options.node;
    }
  }
}));
vi.mock('@jupyterlab/apputils', () => ({
  Dialog: { cancelButton: () => 'Cancel', okButton: () => 'OK', warnButton: () => 'OK' },
  showDialog: ({ title, body, buttons, defaultButton = buttons.length - 1 }: any) => {
    lab.questions.push({ title, text: body.node?.textContent ?? body, button: buttons[defaultButton] });
    return Promise.resolve({ button: { accept: lab.accepts } });
  }
}));
vi.mock('@jupyterlab/services', () => ({
  ServerConnection: {
    makeSettings: () => ({ baseUrl: 'http://lab/' }),
    makeRequest: () => Promise.resolve(new Response('{"default": "gpu.h100", "default_timeout": 60}'))
  }
}));

const types = [
  { hardware_profile: 'gpu.a100', price_per_hour: 1.59 },
  { hardware_profile: 'gpu.h100', price_per_hour: 2.79 },
  { hardware_profile: 'cpu', price_per_hour: null }
];
const words = (
  line: string,
  machine: string | null = null,
  balance: number | null = null,
  seconds: number | null = null
) => spendingWords([`%%lk_run ${line}\nprint(1)`], { types, machine, seconds }, balance).join(' ');

test('a question names the machine, its price and the most that the cell costs', () => {
  expect(words('--gpu A100 --timeout 600')).toBe(
    'The code runs on A100 at 1.59 credits/h. The cost is at most 0.2654 credits.'
  );
  for (const timeout of ['10m', '600s', '0.1h 4min']) {
    expect(words(`--gpu A100 --timeout "${timeout}"`)).toContain('The cost is at most 0.2654 credits.');
  }
  expect(words('--gpu A100 --timeout 600 --max-cost 0.1')).toContain('at most 0.1000 credits');
  expect(words('--gpu "H100|A100"')).toBe(
    'The code runs on H100|A100 at up to 2.79 credits/h. The run is billed by the second until it ends.'
  );
});

test('a cell without a time limit costs at most what the usual one does', () => {
  expect(words('--gpu A100', null, null, 60)).toBe(
    'The code runs on A100 at 1.59 credits/h. The cost is at most 0.0269 credits.'
  );
  expect(words('--gpu A100 --sweep lr=1,2', null, null, 60)).toContain(
    'The run is billed by the second until it ends.'
  );
});

test('several machines cost their sum', () => {
  expect(words('--gpu A100,H100 --timeout=600')).toBe(
    'The code runs on A100 at 1.59 credits/h, H100 at 2.79 credits/h. The cost is at most 0.7312 credits.'
  );
});

test('without a machine on its line a cell runs where it did before', () => {
  expect(words('', 'gpu.a100')).toContain('The code runs on A100 at 1.59 credits/h.');
  expect(words('--timeout 60 --machine cpu')).toBe(
    'The code runs on cpu. The run is billed by the second until it ends.'
  );
  expect(words('')).toContain('your default machine');
});

test('a balance that is too small is said', () => {
  expect(words('--gpu A100 --timeout 600', null, 0.01)).toContain('⚠ Only 0.0100 credits are left.');
  expect(words('--gpu A100 --timeout 600', null, 5)).toContain(' 5.00 credits are left.');
});

test('a line that somebody sent costs no more than the question says', () => {
  const billed = 'The run is billed by the second until it ends.';
  expect(words('--gpu A100 --timeout 60 --timeout 360000')).toContain('The cost is at most 159.00 credits.');
  expect(words('--gpu A100 --timeout 3600 --label "x --max-cost 0.01"')).toContain('at most 1.59 credits');
  expect(words("--gpu A100 --timeout 3600 --label='--gpu cpu'")).toContain('The code runs on A100 at 1.59 credits/h.');
  expect(words('--gpu "A100|H100" --timeout 3600')).toContain(
    'at up to 2.79 credits/h. The cost is at most 2.79 credits.'
  );
  expect(words('--gpu A100 --timeout soon', null, null, 60)).toContain(billed);
  for (const line of ["--timeout 60{'0' * 5}", "--timeout 60 {'--timeout 99999'}", '--timeout 60 $more']) {
    expect(words(`--gpu A100 ${line}`)).toContain('The %%lk_run line contains variables');
    expect(words(`--gpu A100 ${line}`)).toContain(billed);
  }
});

test('several cells cost their sum', () => {
  const cells = ['%%lk_run --gpu A100 --timeout 3600\nx', '%%lk_run --gpu H100 --timeout 3600\nx'];
  expect(spendingWords(cells, { types, machine: null, seconds: null }, null).join(' ')).toBe(
    'The code runs on A100 at 1.59 credits/h, H100 at 2.79 credits/h. The cost is at most 4.38 credits.'
  );
});

const cloud = { data: { machines: { machine_types: types } }, refresh: () => Promise.resolve() } as any;

/** Return the question before cells run, if any, and the answer. */
async function clickAndRead(cells: [source: string, trusted: boolean][], isByUs = true, machine: string | null = null) {
  lab.questions = [];
  const clicked = cells.map(([source, trusted]) => ({ source, trusted }));
  const answer = await mayRun(cloud, clicked, { verb: 'Run', machine, isUiClick: isByUs });
  return { answer, question: lab.questions[0] ?? null };
}

test('a cell of a received notebook runs only after a question that shows its complete source', async () => {
  for (const source of [
    'import os',
    'get_ipython().run_cell_magic("lk_run", "", "1")',
    '\n\n%lk_vm create --gpu A100'
  ]) {
    const { answer, question } = await clickAndRead([[source, false]]);
    expect(answer).toBe(false);
    expect(question).toMatchObject({ title: 'Run this cell?', button: 'Cancel' });
    expect(question!.text).toContain('may start paid machines');
    expect(question!.text).toContain(source);
  }
  const { question } = await clickAndRead([
    ['1', true],
    ['2 # of a stranger', false]
  ]);
  expect(question!.text).toContain('2 # of a stranger');
});

test('a received cell that runs on the cloud has its price in the question, of the machine that it runs on', async () => {
  const named = await clickAndRead([['%%lk_run --gpu A100 --timeout 600\nx', false]]);
  expect(named.question!.text).toContain(
    'The code runs on A100 at 1.59 credits/h. The cost is at most 0.2654 credits.'
  );
  const unnamed = await clickAndRead([['%%lk_run\nx', false]], true, 'cpu'); // an output may contain a cheap machine
  expect(unnamed.question!.text).toContain('The code runs on H100 at 2.79 credits/h.');
});

test('a trusted cell is asked about only if it spends, and not with its source', async () => {
  expect(await clickAndRead([['import os', true]])).toEqual({ answer: true, question: null });
  const { question } = await clickAndRead([['%%lk_run --gpu A100\nsecond line', true]]);
  expect(question).toMatchObject({ title: 'Run on the cloud?', button: 'OK' });
  expect(question!.text).not.toContain('second line');
});

test('a link of a page to a command asks with the source, in a trusted notebook too', async () => {
  const { answer, question } = await clickAndRead([['import os', true]], false);
  expect([answer, question!.button]).toEqual([false, 'Cancel']);
  expect(question!.text).toContain('A link on this page requests this action.');
  expect(isUiCall(asUiCall({ id: 'x' }))).toBe(true);
  for (const args of [{}, { caller: undefined }, { caller: '' }, { caller: true }, { caller: ['x'] }]) {
    expect(isUiCall(args)).toBe(false);
  }
});

test('source in a question hides nothing of itself: what is not drawn appears as its number', () => {
  const hidden = '\u202e\u2066\u200b\u00a0\u00ad\ufeff\x07\x1b\x7f\u2028\u3164\u2800\ufe0f\u{e0041}\r\ud800';
  const box = drawnSource(`a\tb c\n${hidden}é日🙂<b>x</b>`);
  const numbers = [...hidden].map(sign => `U+${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`);
  expect([...box.querySelectorAll('mark')].map(mark => mark.textContent)).toEqual(numbers);
  expect(box.textContent).toBe(`a\tb c\n${numbers.join('')}é日🙂<b>x</b>`);
  expect(box.querySelector('b')).toBeNull();
});
