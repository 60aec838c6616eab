import { trans } from './trans';
import { BurnRateContent } from './types';

/** Seconds of a century: an end that is further away is none. */
const LONGEST = 100 * 365 * 86_400;

/** Credits that can still be spent, from either form of the answer; null while it was not heard. */
export function readBalance(balance: object | undefined): number | null {
  const { remaining_credits: userCredits, balance: organizationCredits } = (balance ?? {}) as {
    remaining_credits?: number;
    balance?: string;
  };
  return userCredits ?? (organizationCredits === undefined ? null : Number(organizationCredits));
}

/** What all that is billed now costs an hour: the sum of the known prices, in words. */
export function burnRateWords({ per_hour: sum, complete }: BurnRateContent): string {
  const perHour = trans.__('%1/h', String(Number(sum)));
  return complete ? perHour : Number(sum) ? trans.__('at least %1', perHour) : trans.__('price unknown');
}

/** For how long the credits last if all that is billed now keeps running; null while nothing with a price is. */
export function timeRemaining(balance: number | null, { per_hour: sum, complete }: BurnRateContent): string | null {
  if (balance === null || !Number(sum)) {
    return null;
  }
  const hours = Math.max(0, balance) / Number(sum);
  const time =
    hours >= 8766
      ? trans.__('over a year')
      : hours >= 48
        ? trans.__('%1 days', Math.floor(hours / 24))
        : hours >= 1
          ? trans.__('%1 h', Math.floor(hours))
          : trans.__('%1 min', Math.floor(hours * 60));
  return complete ? trans.__('≈ %1', time) : trans.__('at most %1', time);
}

/** When the credits end if all that is billed now keeps running, in words; null while nothing with a price is. */
export function endWords(
  balance: number | null,
  { per_hour: sum, complete }: BurnRateContent,
  now: number
): string | null {
  if (balance === null || !Number(sum)) {
    return null;
  }
  const seconds = Math.min((Math.max(0, balance) / Number(sum)) * 3600, LONGEST);
  const end = new Date(1000 * (now + seconds)).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  return complete ? end : trans.__('%1 at the latest', end);
}
