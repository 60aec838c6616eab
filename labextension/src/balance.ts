import { credits, machineName, momentLabel } from './format';
import { trans, unturned } from './trans';
import { BurnRateContent, BurningThing, GrantedBudget, MachineType, Workload } from './types';

/** Seconds of a century: a later end is shown as no end. */
const LONGEST = 100 * 365 * 86_400;

/** Return the spendable credits from either form of the answer; null before the first answer. */
export function readBalance(balance: object | undefined): number | null {
  const { remaining_credits: userCredits, balance: organizationCredits } = (balance ?? {}) as {
    remaining_credits?: number;
    balance?: string;
  };
  return userCredits ?? (organizationCredits === undefined ? null : Number(organizationCredits));
}

/** A budget whose credits are known. */
export type Budget = GrantedBudget & { credits: number };

/** Return the budget of a key at a broker; null for other keys. */
export function readBudget(balance: object | undefined): Budget | null {
  const budget = (balance as { budget?: GrantedBudget | null } | undefined)?.budget;
  return budget?.credits == null ? null : (budget as Budget);
}

/** Return the spendable credits in words, such as `3.20 of 10 credits left this week` for a budget. */
export function creditsWords(remaining: number, budget: Budget | null): string {
  if (!budget) {
    return trans.__('%1 credits', credits(remaining));
  }
  const amounts = [credits(remaining), String(Number(budget.credits.toFixed(4)))];
  switch (budget.period) {
    case 'week':
      return trans.__('%1 of %2 credits left this week', ...amounts);
    case 'month':
      return trans.__('%1 of %2 credits left this month', ...amounts);
    default:
      return trans.__('%1 of %2 credits left', ...amounts);
  }
}

/** Answers that decide the burn rate. */
interface Billable {
  burnRate?: BurnRateContent;
  running?: Workload[];
  machines?: { machine_types: MachineType[] };
}

/**
 * Return everything that is billed now: rented machines as the Jupyter server lists them, and the runs of the newest
 * list, which is read more often. A run of 20 s would otherwise have ended before it counts.
 */
export function currentBurnRate({ burnRate, running, machines }: Billable): BurnRateContent | undefined {
  if (!burnRate?.things || !running) {
    return burnRate;
  }
  const priced = new Map(burnRate.things.map(thing => [thing.id, thing]));
  const price = ({ hardware_profile: machine }: Workload) =>
    machines?.machine_types.find(({ hardware_profile }) => hardware_profile === machine)?.price_per_hour ?? null;
  const runs = running
    .filter(run => run.status?.toLowerCase() === 'running')
    .map(run => priced.get(run.execution_id) ?? runThing(run, price(run)));
  const things = [...runs, ...burnRate.things.filter(({ kind }) => kind !== 'run')];
  const sum = things.reduce((all, { per_hour }) => all + Number(per_hour ?? 0), 0);
  const complete = things.every(({ per_hour }) => per_hour !== null);
  return { ...burnRate, things, complete, per_hour: String(Number(sum.toFixed(6))) };
}

function runThing(run: Workload, price: number | null): BurningThing {
  const name = unturned(run.run_name || run.file_name || '');
  const hardware = machineName(run.hardware_profile ?? '');
  const { status: state } = run;
  return {
    kind: 'run',
    id: run.execution_id,
    name,
    hardware,
    state: state ?? '',
    per_hour: price === null ? null : String(price)
  };
}

/** Return the price of everything that is billed now, in credits per hour: the sum of the known prices. */
export function burnRateWords({ per_hour: sum, complete }: BurnRateContent): string {
  const perHour = trans.__('%1 credits/h', String(Number(sum)));
  return complete ? perHour : Number(sum) ? trans.__('at least %1', perHour) : trans.__('price unknown');
}

/** Return the time that the credits last at the current rate; null if nothing with a price is active. */
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

/** Return the time at which the credits end at the current rate; null if nothing with a price is active. */
export function endWords(
  balance: number | null,
  { per_hour: sum, complete }: BurnRateContent,
  now: number
): string | null {
  if (balance === null || !Number(sum)) {
    return null;
  }
  const seconds = Math.min((Math.max(0, balance) / Number(sum)) * 3600, LONGEST);
  const end = momentLabel(1000 * (now + seconds));
  return complete ? end : trans.__('%1 at the latest', end);
}
