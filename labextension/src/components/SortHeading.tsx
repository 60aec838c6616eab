import React from 'react';

import { Icon } from './Icon';

export interface SortHeadingProps {
  column: string;
  name: string;
  isFigure?: boolean;
  /** Whether the column is hidden where the table has little room. */
  isExtra?: boolean;
  title?: string;
  /** The column that the rows are sorted by, and their direction. */
  sorting: { column: string; down: boolean };
  onSort: () => void;
}

/** Return the classes of the cells of a column. */
export const cellClass = ({ isFigure, isExtra }: Pick<SortHeadingProps, 'isFigure' | 'isExtra'>) =>
  [isFigure && 'lk-figure', isExtra && 'lk-extra'].filter(Boolean).join(' ') || undefined;

/** The heading of a column, whose button sorts the rows. */
export function SortHeading({ column, name, isFigure, isExtra, title, sorting, onSort }: SortHeadingProps) {
  const isSorted = sorting.column === column;
  return (
    <th
      scope="col"
      className={cellClass({ isFigure, isExtra })}
      aria-sort={!isSorted ? 'none' : sorting.down ? 'descending' : 'ascending'}
    >
      <button type="button" className="lk-plain" title={title} onClick={onSort}>
        {name}
        {isSorted && <Icon name={sorting.down ? 'down' : 'up'} />}
      </button>
    </th>
  );
}
