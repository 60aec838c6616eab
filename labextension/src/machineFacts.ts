/** Facts on a machine, for the picker and for "Run on". */
import { credits } from './format';
import { trans } from './trans';
import { MachineRow } from './types';

/** Words of the server for unknown values. */
const UNKNOWN = ['', '–', 'none', 'unknown'];

export const hasValue = (words: string): boolean => !UNKNOWN.includes(words);

/** Return the availability of a machine as a word, and the kind of its dot. */
export function availability({ allowed, free }: Pick<MachineRow, 'allowed' | 'free'>): { kind: string; word: string } {
  if (allowed === 'no') {
    return { kind: 'no', word: trans.__('not in your quota') };
  }
  return free === 'yes'
    ? { kind: 'yes', word: trans.__('available') }
    : free === 'no'
      ? { kind: 'no', word: trans.__('taken') }
      : { kind: 'unknown', word: trans.__('availability unknown') };
}

/** Return the price of a minute, as most runs last a few minutes; null without a price. */
export function perMinute({ price_per_hour: price }: Pick<MachineRow, 'price_per_hour'>): string | null {
  return Number(price) ? credits(Number(price) / 60) : null;
}

/** Return the price of a machine in words. A machine without a published price may cost credits. */
export function priceWords({ price_per_hour: price }: Pick<MachineRow, 'price_per_hour'>): string {
  return price === 'free'
    ? trans.__('free of charge')
    : hasValue(price)
      ? trans.__('%1 credits/h', price)
      : trans.__('price unknown, may cost credits');
}

/** Return memory, price and availability in a line; each has its place, also if unknown. */
export function machineFacts(machine: MachineRow): string {
  const { kind, word } = availability(machine);
  const dot = { yes: '●', no: '○', unknown: '' }[kind];
  const memory = hasValue(machine.memory_gib) ? trans.__('%1 GiB', machine.memory_gib) : '–';
  return [memory, priceWords(machine), `${dot} ${word}`.trim()].join(' · ');
}
