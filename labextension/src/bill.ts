/** What a run has taken and costs, by the server's stamps: the same as `lk_jupyter/runs/clock.py`, with the same examples. */
import { FINAL_STATES } from './states';
import { trans } from './trans';
import { ExecutionRecord } from './types';
import { credits, moment } from './format';

/** The part of a record that the bill depends on. */
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

/** Seconds and credits; null where the run has not begun or nobody can know. */
export type Bill = {
  seconds: number | null;
  cost: number | null;
  /** The server's figure, price and time, or the most where the server does not give the moments between which it bills. */
  costIs: CostIs | null;
};

export const NO_BILL: Bill = { seconds: null, cost: null, costIs: null };

/** What a run has taken and costs at a moment; when it was sent is told by the same clock, if it is known. */
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
    return NO_BILL; // it waits or is installed: that is not billed
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

/** From the most certain to the least. */
export const CERTAIN: CostIs[] = ['billed', 'estimated', 'at most'];

/** The sum of the known costs, as certain as the least certain of them. */
export function sumBills(bills: Bill[]): Bill {
  const priced = bills.filter(bill => bill.cost !== null);
  const least = Math.max(0, ...priced.map(bill => CERTAIN.indexOf(bill.costIs ?? 'estimated')));
  return {
    seconds: null,
    cost: priced.length ? priced.reduce((sum, bill) => sum + bill.cost!, 0) : null,
    costIs: priced.length ? CERTAIN[least] : null
  };
}

/** A cost in words, with its mark; null where there is none. */
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
