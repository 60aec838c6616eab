import React from 'react';

import { significant, unturned } from '../format';
import { trans } from '../trans';

export interface GridProps {
  /** Label for screen readers. */
  label: string;
  /** Names and types of the columns. */
  columns: [name: string, kind: string][];
  /** Cells as text; an empty cell is null. */
  rows: string[][];
}

const FIGURES = /int|float|double|decimal|half|number/i;
const FRACTIONS = /float|double|decimal|half|number/i;

/** A data grid with rows of 24 pixels: numbers right-aligned with five significant digits, nulls counted. */
export function Grid({ label, columns, rows }: GridProps) {
  const sides = columns.map(([, kind]) => (FIGURES.test(kind) ? 'lk-figure' : undefined));
  const nulls = columns.map((_, at) => rows.filter(row => !row[at]).length);
  return (
    <div className="lk-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="lk-grid-table">
        <thead>
          <tr>
            {columns.map(([name, kind], at) => (
              <th key={at} scope="col" className={sides[at]}>
                {unturned(name)}{' '}
                <small className="lk-quiet">
                  {nulls[at] ? trans._n('%2, %1 null', '%2, %1 nulls', nulls[at], kind) : kind}
                </small>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, n) => (
            <tr key={n}>
              {columns.map(([, kind], at) => (
                <td key={at} className={sides[at]}>
                  <Cell text={unturned(row[at] ?? '')} isFraction={FRACTIONS.test(kind)} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell({ text, isFraction }: { text: string; isFraction: boolean }) {
  if (!text) {
    return <span className="lk-quiet">{trans.__('null')}</span>;
  }
  const words = isFraction ? significant(text) : text;
  return words === text ? <>{text}</> : <span title={text}>{words}</span>;
}
