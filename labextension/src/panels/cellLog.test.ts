import { expect, test, vi } from 'vitest';

import { savedRun } from '../header';
import { RUN_MIME } from '../runs';
import { Listener, Position } from '../stream';
import { CellLog, CellOutputs, continued, findHeader, readCellLines } from './cellLog';

const ID = '3f0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44';
const HEADER = { [RUN_MIME]: { execution_id: ID, state: 'running', log_lines: 4 } };

/** Each connection: the lines to skip, and what the server sends. */
const connections: { after: Position | null; send: (listener: Listener) => void }[] = vi.hoisted(() => []);
vi.mock('../stream', () => ({
  PASSING: new Set(['unreachable']),
  REST: 0,
  follow: async (_: string, __: AbortSignal, listener: Listener, after: Position | null) => {
    const connection = connections.find(one => one.after === null)!;
    connection.after = after;
    connection.send(listener);
    return Promise.resolve({ return_code: 0, error: null });
  }
}));

interface Fake {
  output_type: string;
  text?: string;
  data?: object;
  metadata?: object;
}

/** The outputs of a cell, as far as a log uses them; text of one stream joins as in Lab. */
function fakeOutputs(...initial: Fake[]) {
  const list = [...initial];
  return {
    list,
    isDisposed: false,
    get length() {
      return list.length;
    },
    get: (at: number) => {
      const { output_type: type, data = {}, metadata = {} } = list[at];
      return { type, data, metadata, toJSON: () => list[at] };
    },
    set: (at: number, value: Fake) => (list[at] = value),
    add: (value: Fake) => {
      const last = list[list.length - 1];
      return last.output_type === 'stream' && value.output_type === 'stream'
        ? (last.text += value.text!)
        : list.push({ ...value });
    },
    toJSON: () => list,
    fromJSON: (values: Fake[]) => list.splice(0, list.length, ...values)
  };
}

const header = { output_type: 'display_data', data: HEADER };
const stream = (text: string) => ({ output_type: 'stream', text });
const figure = (number: number, text: string) => ({
  output_type: 'display_data',
  data: { 'text/plain': text },
  metadata: { lk_jupyter_output: number }
});
const display = (number: number, text: string, kind: 'display' | 'update' = 'display') => ({
  kind,
  number,
  data: { 'text/plain': text },
  metadata: {}
});
const follow = async (outputs: ReturnType<typeof fakeOutputs>, ...sends: ((listener: Listener) => void)[]) => {
  connections.splice(0, connections.length, ...sends.map(send => ({ after: null, send })));
  const log = new CellLog(outputs as unknown as CellOutputs, savedRun(HEADER[RUN_MIME])!, () => false);
  await vi.waitFor(() => expect(log.isReading).toBe(false));
  return log;
};

test('lines are counted below the header of their own run, blank lines and an unfinished line are not', () => {
  const other = { output_type: 'display_data', data: { [RUN_MIME]: { execution_id: 'other', state: 'running' } } };
  const hidden = { output_type: 'display_data', data: { [RUN_MIME]: { execution_id: ID, hidden_lines: 7 } } };
  const parts = [stream('before\n'), header, stream('one\n\ntw'), hidden, stream('o\nthr'), other, stream('x\n')];
  const outputs = fakeOutputs(...parts) as unknown as CellOutputs;
  expect(findHeader(outputs, ID)).toBe(1);
  expect(findHeader(outputs, 'none')).toBe(-1);
  expect(readCellLines(outputs, 1)).toEqual({ lines: 9, output: 0, unfinished: 'thr' });
});

test('a log continues after the last complete line, and the unfinished line is completed', async () => {
  const outputs = fakeOutputs(header, stream('one\ntw'));
  const log = await follow(outputs, ({ onOutput }) => onOutput('two\nthree\n'));
  expect(connections[0].after).toMatchObject({ lines: 1, output: 0 });
  expect(outputs.list[1].text).toBe('one\ntwo\nthree\n');
  expect(log.lacksFigures).toBe(false);
});

test('a line that replaces an unfinished line is drawn over the line', () => {
  expect(continued('50 %', 'done\n')).toBe('\rdone\n');
  expect(continued('50 % of all', 'done\nnext\n')).toBe('\rdone       \nnext\n');
});

test('after the limit, lines are counted, and the last lines follow at the end', async () => {
  const outputs = fakeOutputs(header, stream('1\n2\n'));
  await follow(outputs, ({ onOutput }) => onOutput('3\n4\n5\n6\n7\n8\n9\n10\n11\n'));
  expect(outputs.list[1].text).toBe('1\n2\n3\n4\n');
  expect(outputs.list[2].data).toMatchObject({ [RUN_MIME]: { hidden_lines: 3 } });
  expect(outputs.list[3].text).toBe('8\n9\n10\n11\n');
});

test('figures continue after the last figure of the cell, each once, and updates replace them', async () => {
  const outputs = fakeOutputs(header, stream('1\n'), figure(1, 'first'), stream('2\n'), figure(2, 'second'));
  const log = await follow(outputs, ({ onOutput, onDisplay }) => {
    onDisplay(display(1, 'first, updated', 'update'));
    onOutput('3\n');
    onDisplay(display(3, 'third'));
    onDisplay(display(3, 'third'));
    onDisplay(display(3, 'third, updated', 'update'));
    onDisplay(display(9, 'of another cell', 'update'));
    onOutput('4\n');
  });
  expect(connections[0].after).toMatchObject({ lines: 2, output: 2 });
  const expected = ['1\n', 'first, updated', '2\n', 'second', '3\n', 'third, updated', '4\n'];
  const texts = outputs.list.slice(1).map(output => output.text ?? Object.values(output.data!)[0]);
  expect([texts, log.lacksFigures]).toEqual([expected, false]);
});

test('bars continue in their outputs, and bars that start later have an output below', async () => {
  const outputs = fakeOutputs(header, stream('1\n'), figure(-1, '10 %'), figure(1, 'first'));
  await follow(outputs, ({ onDisplay }) => {
    onDisplay(display(-1, '0 %'));
    onDisplay(display(-1, '100 %', 'update'));
    onDisplay(display(-2, '0 %'));
    onDisplay(display(-2, '50 %', 'update'));
  });
  expect(connections[0].after).toMatchObject({ lines: 1, output: 1 });
  const texts = outputs.list.slice(1).map(output => output.text ?? Object.values(output.data!)[0]);
  expect(texts).toEqual(['1\n', '100 %', 'first', '50 %']);
});

test('an output without content is reported, and a clear removes log and figures', async () => {
  const outputs = fakeOutputs(header, stream('1\n2\n'), figure(1, 'first'));
  const log = await follow(outputs, ({ onOutput, onDisplay }) => {
    onDisplay({ kind: 'display' });
    onDisplay({ kind: 'clear' });
    onOutput('3\n');
    onDisplay({ kind: 'display' });
  });
  expect(outputs.list.slice(1).map(({ text }) => text)).toEqual(['3\n']);
  expect(log.lacksFigures).toBe(true);
});

test('of a run in the background, the newest lines and eight outputs replace those of the kernel', async () => {
  const saved = { [RUN_MIME]: { execution_id: ID, state: 'running', log_tail: 2 } };
  const marked = (text: string, mark: string) => ({ ...figure(0, text), metadata: { lk_jupyter_background: mark } });
  const outputs = fakeOutputs(
    { ...header, data: saved },
    figure(0, 'notify'),
    marked('0\n1', 'log'),
    figure(-1, 'bars'),
    marked('old', 'outputs')
  );
  connections.splice(0, connections.length, {
    after: null,
    send: ({ onOutput, onDisplay }) => {
      onOutput('1\n2\n3\n');
      onDisplay(display(-2, 'newest bars', 'update'));
      Array.from({ length: 10 }, (_, at) => onDisplay(display(at + 1, `figure ${at + 1}`)));
    }
  });
  const log = new CellLog(outputs as unknown as CellOutputs, savedRun(saved[RUN_MIME])!, () => false);
  await vi.waitFor(() => expect(log.isReading).toBe(false));
  const texts = outputs.list.slice(1).map(({ data }) => (data as Record<string, string>)['text/plain']);
  const figures = Array.from({ length: 8 }, (_, at) => `figure ${at + 3}`);
  expect(texts).toEqual(['notify', '2\n3', 'newest bars', '', ...figures]);
});

test('a log without its header stops', async () => {
  const outputs = fakeOutputs(stream('other\n'));
  const log = await follow(outputs, ({ onOutput }) => onOutput('one\n'));
  expect([log.isReading, outputs.list.length]).toEqual([false, 1]);
});
