import { expect, test } from 'vitest';

import { MOST_OUTPUTS, Outputs } from './outputs';

const text = (words: string) => ({ data: { 'text/plain': words } });
const words = (outputs: Outputs) => outputs.list.map(one => one.data['text/plain']);

function collect(...displays: Parameters<Outputs['add']>[0][]): Outputs {
  const outputs = new Outputs();
  displays.forEach(one => outputs.add(one));
  return outputs;
}

test('outputs stand in order, an update in the place of what it is for', () => {
  const outputs = collect(
    { kind: 'display', id: 'a', ...text('1') },
    { kind: 'display', ...text('2') },
    { kind: 'update', id: 'a', ...text('3') },
    { kind: 'update', id: 'nobody', ...text('4') }
  );
  expect(words(outputs)).toEqual(['3', '2']);
});

test('an output that is shown anew keeps its place in the page, others are not touched', () => {
  const outputs = collect({ kind: 'display', id: 'a', ...text('1') }, { kind: 'display', ...text('2') });
  const [first, second] = outputs.list;
  outputs.add({ kind: 'update', id: 'a', ...text('3') });
  expect(outputs.list[0].key).toBe(first.key);
  expect(outputs.list[1]).toBe(second);
});

test('clearing takes all away at once, or when the next comes', () => {
  expect(words(collect({ kind: 'display', ...text('1') }, { kind: 'clear' }))).toEqual([]);
  const outputs = collect({ kind: 'display', ...text('1') }, { kind: 'clear', wait: true });
  expect(words(outputs)).toEqual(['1']);
  outputs.add({ kind: 'display', ...text('2') });
  expect(words(outputs)).toEqual(['2']);
});

test('of very many outputs the newest are kept, and the others counted', () => {
  const outputs = new Outputs();
  for (let number = 0; number < MOST_OUTPUTS + 3; number++) {
    outputs.add({ kind: 'display', ...text(`${number}`) });
  }
  expect([words(outputs)[0], outputs.omitted]).toEqual(['3', 3]);
});
