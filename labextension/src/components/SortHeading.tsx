import React from 'react';

import { Icon } from './Icon';

export interface SortHeadingProps {
  column: string;
  name: string;
  isFigure?: boolean;
  title?: string;
  /** The column that the rows are sorted by, and their direction. */
  sorting: { column: string; down: boolean };
  onSort: () => void;
}

/** The heading of a column, whose button sorts the rows. */
export function SortHeading({ column, name, isFigure, title, sorting, onSort }: SortHeadingProps) {
  const isSorted = sorting.column === column;
  return (
    <th
      scope="col"
      className={isFigure ? 'lk-figure' : undefined}
      aria-sort={!isSorted ? 'none' : sorting.down ? 'descending' : 'ascending'}
    >
      <button type="button" className="lk-plain" title={title} onClick={onSort}>
        {name}
        {isSorted && <Icon name={sorting.down ? 'down' : 'up'} />}
      </button>
    </th>
  );
}
