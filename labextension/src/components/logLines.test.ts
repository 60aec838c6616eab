import { expect, test } from 'vitest';

import { LogLines, pieces, Search } from './logLines';

const hits = (log: LogLines, query: string) => new Search(log.lines, query).hits();

test('a line goes on with the piece after it', () => {
  const log = new LogLines();
  log.add('one\ntw');
  log.add('o\nthree\n');
  expect(log.lines.slice(0, log.count)).toEqual(['one', 'two', 'three']);
  expect(hits(log, 'T')).toEqual([1, 2]);
});

test('a bar that rewrites its line shows its last state', () => {
  expect(pieces('10%\r20%\r')).toEqual([{ text: '20%', colour: 0, bold: false }]);
});

test('turned text is shown as it is written', () => {
  expect(pieces('rm \u202egpj.x\u2066').map(({ text }) => text)).toEqual(['rm gpj.x']);
});

test('a search marks few of the hits of a line that has nothing else', () => {
  const started = performance.now();
  expect(pieces('a'.repeat(10_000), 'a').length).toBeLessThan(1000);
  expect(performance.now() - started).toBeLessThan(200);
});

test('colours are kept, and what moves the cursor, sets titles or links is not', () => {
  expect(pieces('\x1b]0;title\x07a\x1b[2K\x1b[1;31mred\x1b[0mb')).toEqual([
    { text: 'a', colour: 0, bold: false },
    { text: 'red', colour: 1, bold: true },
    { text: 'b', colour: 0, bold: false }
  ]);
});

test('a million lines are taken and searched without waiting for it', () => {
  const log = new LogLines();
  const text = Array.from({ length: 10_000 }, (_, at) => `step ${at} loss 0.123\n`).join('');
  const start = performance.now();
  for (let at = 0; at < 100; at++) {
    log.add(text);
  }
  const duration = performance.now();
  expect(hits(log, 'step 9999 ').length).toBe(100);
  expect(duration - start).toBeLessThan(4000);
  expect(performance.now() - duration).toBeLessThan(4000);
  expect(log.count).toBe(1_000_000);
});

test('a search goes on with the lines that come, and looks through colours and signs of patterns', () => {
  const log = new LogLines();
  const search = new Search(log.lines, 'A(1)');
  log.add('a\x1b[31m(1)\nb\nxa(1');
  expect(search.hits()).toEqual([0]);
  log.add(')');
  expect(search.hits()).toEqual([0, 2]);
  log.add('\na.1\n');
  expect(search.hits()).toEqual([0, 2]);
});

test('what was searched for is marked, over colours too', () => {
  const line = pieces('x\x1b[31mab\x1b[0mc x', 'bc');
  expect(line.map(({ text, isMatch: found }) => (found ? `<${text}>` : text))).toEqual(['x', 'a', '<b>', '<c>', ' x']);
});

test('what a run tells the notebook is no line of the log, wherever it is cut', () => {
  const log = new LogLines();
  log.add('before\n\x1b]7411;n;1;1/1;QUJD;0\x07\nbetween\n\x1b]7411;n;2;1/1;QU');
  log.add('JD;0\x07\nafter\n');
  expect(log.lines.slice(0, log.count)).toEqual(['before', 'between', 'after']);
});

test('a line of a million characters is drawn by its beginning, and says so', () => {
  const line = pieces('x'.repeat(1_000_000));
  expect(line.map(({ text }) => text.length)).toEqual([10_000, 26]);
  expect(line[1].text).toBe(' … 990,000 more characters');
});

test('a line that has text between frames is one of the log', () => {
  const frame = '\x1b]7411;n;1;1/1+;QUJD;0\x07';
  const log = new LogLines();
  log.add(`${frame}accuracy 0.9${frame}\n${frame}\n`);
  expect(log.count).toBe(1);
  expect(pieces(log.lines[0])).toEqual([{ text: 'accuracy 0.9', colour: 0, bold: false }]);
});
