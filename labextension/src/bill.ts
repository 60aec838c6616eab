/**
 * Duration and cost of a run from the server's stamps, same as in `lk_jupyter/runs/clock.py`. Both read the same test
 * examples.
 */
import { FINAL_STATES } from './states';
import { trans } from './trans';
import { ExecutionRecord } from './types';
import { credits, moment } from './format';

/** The fields of a record that decide the bill. */
export type Stamps = Pick<
  ExecutionRecord,
  | 'status'
  | 'created_at'
  | 'execelet_start'
  | 'start_time'
  | 'job_start'
  | 'end_time'
  | 'job_end'
  | 'finish_time'
  | 'billed'
>;

export type CostIs = 'billed' | 'estimated' | 'at most';

/** Seconds and credits; null before the start, or if unknown. */
export type Bill = {
  seconds: number | null;
  cost: number | null;
  /**
   * The server's figure, an estimate from price and time, or an upper bound if the server lacks the stamps that bound
   * billing.
   */
  costIs: CostIs | null;
};

export const NO_BILL: Bill = { seconds: null, cost: null, costIs: null };

/** Compute duration and cost of a run at a moment. The submission time uses the same clock as the moment. */
export function computeBill(
  run: Stamps,
  pricePerHour: number | null,
  at: number,
  submittedAt: number | null = null
): Bill {
  const status = (run.status ?? '').toLowerCase();
  const ended = FINAL_STATES.includes(status);
  const created = moment(run.created_at);
  const [start, end] = [moment(run.start_time ?? run.job_start), moment(run.end_time ?? run.job_end)];
  const exact = start !== null && end !== null ? end - start : null;
  const billed = run.billed ?? null;
  if (ended && billed !== null) {
    return { seconds: exact, cost: billed, costIs: 'billed' };
  }
  if (!ended && start === null && status !== 'running') {
    return NO_BILL; // waiting and installing are free
  }
  const now = submittedAt === null || created === null ? at : created + at - submittedAt;
  const last = ended ? (end ?? moment(run.finish_time)) : now;
  const first = start ?? moment(run.execelet_start) ?? created;
  if (last === null || first === null) {
    return NO_BILL;
  }
  const seconds = Math.max(0, last - first);
  const counted = pricePerHour === null ? null : (seconds / 3600) * pricePerHour;
  const cost = billed === null ? counted : Math.max(billed, counted ?? 0);
  const isExact = start !== null && (end !== null || !ended);
  return {
    seconds: isExact || !ended ? seconds : null,
    cost,
    costIs: cost === null ? null : isExact ? 'estimated' : 'at most'
  };
}

/** From the most certain to the least certain. */
export const CERTAIN: CostIs[] = ['billed', 'estimated', 'at most'];

/** Return the sum of the known costs, as certain as the least certain cost. */
export function sumBills(bills: Bill[]): Bill {
  const priced = bills.filter(bill => bill.cost !== null);
  const least = Math.max(0, ...priced.map(bill => CERTAIN.indexOf(bill.costIs ?? 'estimated')));
  return {
    seconds: null,
    cost: priced.length ? priced.reduce((sum, bill) => sum + bill.cost!, 0) : null,
    costIs: priced.length ? CERTAIN[least] : null
  };
}

/** Return a cost as text with its certainty; null without a cost. */
export function costWords({ cost, costIs }: Bill): string | null {
  if (cost === null) {
    return null;
  }
  const amount = trans.__('%1 credits', credits(cost));
  return costIs === 'billed'
    ? amount
    : costIs === 'at most'
      ? trans.__('at most %1', amount)
      : trans.__('≈ %1', amount);
}
