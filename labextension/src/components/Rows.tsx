import React, { ReactNode } from 'react';

import { trans } from '../trans';

export interface Row {
  key: string;
  title: string;
  facts: (string | null | undefined)[];
  actions?: ReactNode;
}

/** A list of things with what is known of each; words where there is none, or where it was not heard yet. */
export function Rows({ label, rows, none }: { label: string; rows: Row[] | undefined; none: string }) {
  if (!rows?.length) {
    return (
      <p className="lk-quiet" role="status">
        {rows ? none : trans.__('Asking the cloud …')}
      </p>
    );
  }
  return (
    <ul className="lk-list" aria-label={label}>
      {rows.map(row => (
        <li key={row.key}>
          <div className="lk-clip" title={row.title}>
            {row.title}
          </div>
          <div className="lk-quiet">{row.facts.filter(Boolean).join(' · ')}</div>
          {row.actions && <div className="lk-row lk-small">{row.actions}</div>}
        </li>
      ))}
    </ul>
  );
}
