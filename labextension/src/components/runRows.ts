/** Rows of the table of runs: which are shown, and in which order. */

export type Column = 'run' | 'state' | 'machine' | 'started' | 'took' | 'cost' | 'name';

export type TableRow = Record<Column, string> & {
  id: string;
  /** What else is looked through: labels, notebook, reason. */
  words: string;
  ended: boolean;
  /** What stands for a column in an order, where its words would not do. */
  sort: Partial<Record<Column, number>>;
};

export interface Sorting {
  column: Column;
  down: boolean;
}

/** The rows that have every word of the query, in order. */
export function selectRows(rows: TableRow[], query: string, { column, down }: Sorting): TableRow[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const fitting = rows.filter(row => {
    const texts = [row.id, row.state, row.machine, row.name, row.words].join(' ').toLowerCase();
    return words.every(word => texts.includes(word));
  });
  const sign = down ? -1 : 1;
  return fitting.sort((a, b) => sign * compared(a, b, column));
}

/** The order after a click on a column: newest and largest first, then the other way round. */
export function turned(sorting: Sorting, column: Column): Sorting {
  return { column, down: sorting.column === column ? !sorting.down : true };
}

function compared(a: TableRow, b: TableRow, column: Column): number {
  const [aKey, bKey] = [a.sort[column], b.sort[column]];
  return aKey !== undefined && bKey !== undefined ? aKey - bKey : a[column].localeCompare(b[column]);
}
