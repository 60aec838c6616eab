import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { Bill, computeBill, costWords, NO_BILL, Stamps, sumBills } from './bill';
import { moment } from './format';

interface Example {
  name: string;
  record: Stamps;
  price_per_hour: number | null;
  at?: string;
  sent_at?: string;
  bill: { seconds: number | null; cost: number | null; cost_is: Bill['costIs'] };
}

/** The tests of the Python code read the same file. */
const EXAMPLES = JSON.parse(readFileSync('../tests/bills.json', 'utf-8')) as Example[];

test.each(EXAMPLES)('$name', ({ record, price_per_hour: price, at, sent_at: sentAt, bill }) => {
  const computed = computeBill(record, price, moment(at) ?? 0, moment(sentAt));
  const close = (value: number | null) => (value === null ? null : expect.closeTo(value, 6));
  expect(computed).toEqual({ seconds: close(bill.seconds), cost: close(bill.cost), costIs: bill.cost_is });
});

const bill = (cost: number, costIs: Bill['costIs']): Bill => ({ seconds: 1, cost, costIs });

test('a cost is marked by what it is', () => {
  expect(costWords(bill(0.5, 'billed'))).toBe('0.5000 credits');
  expect(costWords(bill(0.5, 'estimated'))).toBe('≈ 0.5000 credits');
  expect(costWords(bill(0.5, 'at most'))).toBe('at most 0.5000 credits');
  expect(costWords(NO_BILL)).toBeNull();
});

test('a sum is as certain as its least certain part', () => {
  expect(sumBills([])).toEqual(NO_BILL);
  expect(costWords(sumBills([bill(1, 'billed'), NO_BILL]))).toBe('1.00 credits');
  expect(costWords(sumBills([bill(1, 'at most'), bill(1, 'billed'), bill(1, 'estimated')]))).toBe(
    'at most 3.00 credits'
  );
});
