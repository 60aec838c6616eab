/** Rows of the table of runs: selection and order. */

export type Column = 'run' | 'state' | 'machine' | 'started' | 'took' | 'cost' | 'name';

export type TableRow = Record<Column, string> & {
  id: string;
  /** Further text to search: labels, notebook, reason. */
  words: string;
  ended: boolean;
  /** Numbers to sort a column by, in place of the text. */
  sort: Partial<Record<Column, number>>;
};

export interface Sorting {
  column: Column;
  down: boolean;
}

/** Return the rows that contain every word of the query, sorted. */
export function selectRows(rows: TableRow[], query: string, { column, down }: Sorting): TableRow[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const fitting = rows.filter(row => {
    const texts = [row.id, row.state, row.machine, row.name, row.words].join(' ').toLowerCase();
    return words.every(word => texts.includes(word));
  });
  const sign = down ? -1 : 1;
  return fitting.sort((a, b) => sign * compared(a, b, column));
}

/** Return the order after a click on a column: newest or largest first, then reversed. */
export function turned(sorting: Sorting, column: Column): Sorting {
  return { column, down: sorting.column === column ? !sorting.down : true };
}

function compared(a: TableRow, b: TableRow, column: Column): number {
  const [aKey, bKey] = [a.sort[column], b.sort[column]];
  return aKey !== undefined && bKey !== undefined ? aKey - bKey : a[column].localeCompare(b[column]);
}
