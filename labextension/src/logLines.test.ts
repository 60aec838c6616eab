import { expect, test } from 'vitest';

import { LogLines, pieces } from './logLines';

test('a line goes on with the piece after it', () => {
  const log = new LogLines();
  log.add('one\ntw');
  log.add('o\nthree\n');
  expect(log.lines.slice(0, log.count)).toEqual(['one', 'two', 'three']);
  expect(log.find('T')).toEqual([1, 2]);
});

test('a bar that rewrites its line shows its last state', () => {
  expect(pieces('10%\r20%\r')).toEqual([{ text: '20%', colour: 0, bold: false }]);
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
  const taken = performance.now();
  expect(log.find('step 9999 ').length).toBe(100);
  expect(taken - start).toBeLessThan(4000);
  expect(performance.now() - taken).toBeLessThan(4000);
  expect(log.count).toBe(1_000_000);
});
