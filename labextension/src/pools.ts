/** The machines of an executor as one row, in lists of runs. */
import { Bill, sumBills } from './bill';
import { RunRow } from './cloudTypes';
import { computeRowBill } from './runs';

/** Return the rows with one row for the machines of an executor, at the place of the first machine. */
export function foldPools(rows: RunRow[]): RunRow[] {
  const pools = new Map<string, RunRow[]>();
  for (const row of rows) {
    const id = row.pool && row.group ? row.group : row.id;
    pools.set(id, [...(pools.get(id) ?? []), row]);
  }
  return [...pools.values()].map(members => {
    const [first] = members;
    const perHour = members.filter(({ isActive }) => isActive).map(({ pricePerHour }) => pricePerHour);
    const pricePerHour = perHour.every(price => price !== null) ? perHour.reduce((sum, price) => sum + price, 0) : null;
    const [machines] = first.pool.split(', '); // the maximum price is in the tooltip: a row has no room
    return first.pool ? { ...first, name: first.pool, runName: machines, pricePerHour, members } : first;
  });
}

/** Compute duration and cost of a row at a moment of the Jupyter server's clock; of several machines, the sums. */
export function computePoolBill(row: RunRow, at: number): Bill {
  if (!row.members) {
    return computeRowBill(row, at);
  }
  const bills = row.members.map(member => computeRowBill(member, at));
  const seconds = bills.map(bill => bill.seconds).filter(each => each !== null);
  return { ...sumBills(bills), seconds: seconds.length ? Math.max(...seconds) : null };
}
