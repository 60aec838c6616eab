/** The leaderboard of runs that were started together, as saved in an output; each value is checked. */
import { Curve, lastValue } from './components/scalars';
import { SavedRun, savedRun } from './header';
import { unturned } from './trans';

export interface Member {
  saved: SavedRun;
  /** Number of the run, from 1. */
  number: number;
  /** Swept name → value. */
  values: Record<string, string>;
  score: number | string | null;
  /** Labels such as `best accuracy`, `cheapest that finished` or `fastest`. */
  marks: string[];
  /** Share of the work that is done; null if unknown. */
  share: number | null;
  curves: Curve[];
}

export interface Board {
  head: string;
  swept: string[];
  score: { name: string; highest: boolean } | null;
  /** Names of the printed numbers, the name of the score first. */
  names: string[];
  /** The longest time limit in seconds; null if unknown. */
  longest: number | null;
  members: Member[];
  notes: string[];
}

const record = (value: unknown) => (value ?? {}) as Record<string, unknown>;
const texts = (value: unknown): string[] =>
  (Array.isArray(value) ? value : []).filter((text): text is string => typeof text === 'string').map(unturned);

/** Return the leaderboard saved in an output; null if the output contains other data. */
export function savedBoard(data: unknown): Board | null {
  const { head, runs, board, notes } = record(data);
  if (typeof head !== 'string' || !Array.isArray(runs) || typeof board !== 'object' || board === null) {
    return null;
  }
  const { swept, score, names, longest } = record(board);
  const { name, highest } = record(score);
  return {
    head: unturned(head),
    swept: texts(swept),
    score: typeof name === 'string' ? { name: unturned(name), highest: highest === true } : null,
    names: texts(names),
    longest: typeof longest === 'number' && Number.isInteger(longest) ? longest : null,
    members: runs.map(savedMember).filter(member => member !== null),
    notes: texts(notes)
  };
}

function savedMember(data: unknown): Member | null {
  const saved = savedRun(data);
  const { number, values, score, marks, share } = record(data);
  if (!saved || typeof number !== 'number' || !Number.isInteger(number)) {
    return null;
  }
  return {
    saved,
    number,
    values: Object.fromEntries(
      Object.entries(record(values)).map(([name, value]) => [unturned(name), unturned(String(value))])
    ),
    score: typeof score === 'number' ? score : typeof score === 'string' ? unturned(score) : null,
    marks: texts(marks),
    share: typeof share === 'number' && share >= 0 && share <= 1 ? share : null,
    curves: saved.curves
  };
}

/** Return twice a time limit, or the longest that is allowed, in seconds; null if no longer limit is known. */
export function longerLimit(limit: number | null, longest: number | null): number | null {
  if (limit === null) {
    return null;
  }
  const longer = Math.min(2 * limit, longest ?? Infinity);
  return longer > limit ? longer : null;
}

/** A column to sort by: `number`, `machine`, `state`, `time`, `cost`, `score`, `swept:NAME` or `curve:NAME`. */
export interface BoardSorting {
  column: string;
  down: boolean;
}

/** A row to sort: figures that only the server's data has, and the member. */
export interface BoardRow {
  member: Member;
  machine: string;
  state: string;
  seconds: number | null;
  cost: number | null;
}

/** Return the rows in the order of a column; rows without a value come last. */
export function sortRows<T extends BoardRow>(rows: T[], { column, down }: BoardSorting): T[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [sortValue(one, column), sortValue(other, column)];
    const order =
      a === null || b === null
        ? Number(a === null) - Number(b === null)
        : sign * (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
    const byCost = (one.cost ?? Infinity) - (other.cost ?? Infinity); // of equal runs, the cheapest is the best
    return order || (column === 'score' && byCost) || one.member.number - other.member.number;
  });
}

function sortValue({ member, machine, state, seconds, cost }: BoardRow, column: string): number | string | null {
  const [kind, name] = [column.split(':', 1)[0], column.slice(column.indexOf(':') + 1)];
  const curve = kind === 'curve' ? member.curves.find(each => each.name === name) : undefined;
  const swept = kind === 'swept' ? (member.values[name] ?? '') : '';
  const values: Record<string, number | string | null> = {
    number: member.number,
    score: typeof member.score === 'number' ? member.score : null, // words have no order
    time: seconds,
    cost,
    machine,
    state,
    curve: curve ? lastValue(curve) : null,
    swept: swept !== '' && Number.isFinite(Number(swept)) ? Number(swept) : swept
  };
  return values[kind] ?? null;
}
